"""Demuxer: reads and seeks in an open file on one continuous timeline, also where the file's timestamps jump."""

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
"""In a file without an index, audio packets may come this much earlier than the frames they belong to."""


class Demuxer:
    """Packets of an open file; ``clock`` is its timeline if its timestamps jump."""

    def __init__(self, container: InputContainer, picture: VideoStream, clock: Clock | None) -> None:
        self._container = container
        self._picture = picture
        self._clock = clock
        self._position = 0

    def packets(self, *streams: Stream) -> Iterator[Packet[Any]]:
        """Packets of the given streams (all, if none is given) from the current position.

        Raises:
            FFmpegError: The file cannot be read any further.
        """
        packets = self._container.demux(*streams)
        return self._clock.on_time_line(packets, self._position) if self._clock else packets

    def seek(self, time: int) -> None:
        """Seek to the key frame at or before a time, in units of the video stream.

        Raises:
            FFmpegError: The file does not support seeking.
        """
        if self._clock:
            self._position = self._clock.place_before(time)
            self._container.seek(self._position, unsupported_byte_offset=True, stream=self._picture)
        else:
            self._container.seek(time, stream=self._picture)

    def seek_sound(self, sound: AudioStream, time_s: float) -> None:
        """Seek to the audio of a container time, or to somewhat before it.

        Raises:
            FFmpegError: The file does not support seeking.
        """
        if self._clock:
            self.seek(int((time_s - SOUND_AHEAD_S) / (self._picture.time_base or 1)))
        else:
            base = Fraction(sound.time_base or Fraction(1, 1000))
            self._container.seek(max(round(time_s / base), sound.start_time or 0), stream=sound)
