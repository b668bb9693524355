"""Reading and seeking in an open file, on the time line of its video: also where the clock of the file jumps."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from lvqa_ray.video.reader.timing.clock import Clock

SOUND_AHEAD_S = 2.0
"""How far ahead of its picture sound may stand in a file without an index."""


class Demuxer:
    """The packets of an open file.

    Args:
        container: FFmpeg's demuxer.
        picture: The picture stream.
        clock: The time line of a file whose clock jumps; ``None`` for others.
    """

    def __init__(self, container: InputContainer, picture: VideoStream, clock: Clock | None) -> None:
        self._container = container
        self._picture = picture
        self._clock = clock
        self._place = 0

    def packets(self, *streams: Stream) -> Iterator[Packet[Any]]:
        """Packets of some streams from the current position, or of all streams.

        Raises:
            FFmpegError: The file cannot be read any further.
        """
        packets = self._container.demux(*streams)
        return self._clock.on_time_line(packets, self._place) if self._clock else packets

    def seek(self, time: int) -> None:
        """Go to the key frame at or before a time, in units of the picture stream.

        Raises:
            FFmpegError: The file cannot be sought in.
        """
        if self._clock:
            self._place = self._clock.place_before(time)
            self._container.seek(self._place, unsupported_byte_offset=True, stream=self._picture)
        else:
            self._container.seek(time, stream=self._picture)

    def seek_sound(self, sound: AudioStream, time_s: float) -> None:
        """Go to where the sound of a time is, or to somewhat before it.

        Args:
            sound: Its stream.
            time_s: In the container's time.

        Raises:
            FFmpegError: The file cannot be sought in.
        """
        if self._clock:
            self.seek(int((time_s - SOUND_AHEAD_S) / (self._picture.time_base or 1)))
        else:
            base = Fraction(sound.time_base or Fraction(1, 1000))
            self._container.seek(max(round(time_s / base), sound.start_time or 0), stream=sound)
