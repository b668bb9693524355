"""Video reader: packets and decoded frames of one file, with seeking and reliable times.

Times are seconds from the first frame, which is not always time 0 of the container. Undecodable parts are skipped and
noted as losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from typing import Any

import av
import av.error
from av.packet import Packet
from av.stream import Discard
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.reader.container import check_dimensions, check_file, frame_rate, open_container, picture_stream
from lvqa_ray.video.reader.container_formats import raise_if_out_of_memory
from lvqa_ray.video.reader.damage import DamageDetector
from lvqa_ray.video.reader.demux import Demuxer
from lvqa_ray.video.reader.display import Presentation
from lvqa_ray.video.reader.frame_dropping import NonRefSkipper
from lvqa_ray.video.reader.frame_skimming import SKIMMED, skip_unwanted_nonref
from lvqa_ray.video.reader.timing.avi_timestamps import TimestampFixer
from lvqa_ray.video.reader.timing.clock import Clock, clock_of
from lvqa_ray.video.reader.timing.completeness import is_complete
from lvqa_ray.video.reader.timing.stated_durations import INDEXLESS, held_end_s, promised_picture_s
from lvqa_ray.video.spans import EPSILON_S

FIRST_PICTURE_PACKETS = 500
"""Maximum packets to read for the first frame; a video without a frame by then counts as having none."""
STEPS_BACK_S = (0.0, 1.0, 5.0, 30.0, float("inf"))
"""Seek targets, as seconds before the wanted time, tried in order until a key frame is found; the last is the start."""


class VideoReader:
    """An open video file.

    Attributes:
        path: The file.
        container: FFmpeg's demuxer.
        demuxer: Reads and seeks in the container, on the timeline of the video.
        stream: The video stream; a cover image does not count.
        time_base: Seconds per unit of the stream's timestamps.
        fps: Frames per second; ``None`` if the file does not state it.
        presentation: Aspect ratio and transfer function that the stream states.
        period_s: Average duration of a frame (s); a guess if the file does not state it.
    """

    def __init__(self, path: str, *, threads: int, picture_only: bool) -> None:
        self.path = path
        self._threads = threads
        self._picture_only = picture_only
        self._last_pts: int | None = None
        self._skipper: NonRefSkipper | None = None
        self._is_unseekable = False
        self._clock: Clock | None = None
        self._open()
        self.presentation = Presentation.of(self.stream)
        self.time_base = Fraction(self.stream.time_base or Fraction(1, 1000))
        self._ticks, self._per_ticks = self.time_base.as_integer_ratio()
        self.fps = frame_rate(self.stream)
        self.period_s = float(1 / self.fps) if self.fps else 0.04
        self._start = self.stream.start_time or 0
        self._decode_delay = 0
        if self._clock:
            self._start = self._clock.key_times[0]
        if self._fixer.is_start_unsaid:
            self._find_start()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, not of the decoder: ``av1`` and not ``libdav1d``."""
        return self.stream.codec.canonical_name

    @property
    def is_joined(self) -> bool:
        """Whether the file's timestamps jump, as in concatenated recordings; see `timing.clock`."""
        return self._clock is not None

    @property
    def start_s(self) -> float:
        """Container time of the first frame (s)."""
        return float(self._start * self.time_base)

    @property
    def sound_start_s(self) -> float:
        """Container time of the audio that belongs to the first frame (s)."""
        return float((self._start - self._decode_delay) * self.time_base)

    def offset_of(self, frame: VideoFrame | Packet[VideoStream]) -> int:
        """Time at which a frame appears, in units of ``time_base`` from the first frame."""
        return (frame.pts or 0) - self._start

    def time_of(self, frame: VideoFrame | Packet[VideoStream]) -> float:
        """Time at which a frame appears, in seconds from the first frame."""
        return self.seconds_at(frame.pts or 0)

    def seconds_at(self, pts: int) -> float:
        """Convert a timestamp of the stream to seconds from the first frame."""
        # Integer division rounds once, as a Fraction does, at a tenth of the cost; this runs for every frame.
        return (pts - self._start) * self._ticks / self._per_ticks

    def end_of(self, frame: VideoFrame) -> float:
        """Time at which a frame leaves the display, in seconds from the first frame."""
        shown = frame.duration * self._ticks / self._per_ticks if frame.duration else self.period_s
        return self.time_of(frame) + shown

    def final_end_of(self, frame: VideoFrame | Packet[VideoStream]) -> float:
        """Time at which the last frame of the file leaves the display, in seconds from the first frame.

        It stays on display for as long as the header states, unless something after it was lost.
        """
        end_s = self.end_of_packet(frame) if isinstance(frame, Packet) else self.end_of(frame)
        if self._damage.is_damaged:
            return end_s
        header_s = promised_picture_s(self.stream) or 0.0
        if self.time_of(frame) < header_s < end_s and self.container.format.name not in INDEXLESS:
            return header_s
        is_still = self._count == 1 and self.offset_of(frame) == 0
        held_s = held_end_s(self.container, self.stream, self.start_s, self.time_of(frame), is_still=is_still)
        if held_s > end_s and (is_still or is_complete(self.path, self.container.format.name)):
            return held_s
        return end_s

    def end_of_packet(self, packet: Packet[Any]) -> float:
        """End time of a packet of any stream, in seconds from the first frame."""
        late = self._decode_delay if packet.stream_index == self.stream.index else 0
        stamp = packet.pts if packet.pts is not None else (packet.dts or 0) + late
        base = Fraction(packet.time_base)
        if packet.duration:
            shown = float(packet.duration * base)
        else:
            shown = self.period_s if packet.stream_index == self.stream.index else 0.0
        return float(stamp * base) - self.start_s + shown

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Video packets from the current position to the end, or to where the file becomes unreadable."""
        self._at_start = False
        try:
            packets = self._fixer.timed(self.demuxer.packets(self.stream))
            packets = self._fixer.settled(packets) if self._sought and self._fixer.settling_s else packets
            for packet in self._damage.note_gaps(packets):
                self._count += bool(packet.size)
                yield packet
        except av.FFmpegError as error:
            raise_if_out_of_memory(error)
            self._damage.file_unreadable()

    def all_packets(self) -> Iterator[Packet[Any]]:
        """Packets of all streams from the current position, as far as the file can be read."""
        self._at_start = False
        try:
            yield from self._fixer.timed(self.demuxer.packets())
        except av.FFmpegError as error:
            raise_if_out_of_memory(error)
            self._damage.file_unreadable()

    def frames(
        self, *, limit: int | None = None, wanted_s: Sequence[float] | None = None, skip_until_s: float | None = None
    ) -> Iterator[VideoFrame]:
        """Decode frames from the current position on, in display order; undecodable ones are skipped and noted.

        Args:
            limit: Stop after this many packets.
            wanted_s: If given, only the frames on display at these times (s, ascending) are guaranteed.
            skip_until_s: If given, non-reference frames up to this time (s) may be missing; see `passed_between` and
                `keep_from`.
        """
        packets: Iterator[Packet[VideoStream]] = islice(self.packets(), limit)
        self._skipper = None
        if wanted_s is not None and self.codec in SKIMMED:
            packets = skip_unwanted_nonref(
                packets, self.stream.codec_context, [self._ticks_at(time) for time in wanted_s]
            )
        if skip_until_s is not None and self.codec in SKIMMED and self._threads == 1:
            self._skipper = NonRefSkipper(self._ticks_at(skip_until_s))
            packets = self._skipper.packets(packets, self.stream.codec_context)
        for packet in packets:
            yield from self._decode(packet)
            if self._sought and self._is_unseekable:
                return
        # Flush the decoder: after `limit` or an error it still holds frames.
        yield from self._decode(None)

    def passed_between(self, before: VideoFrame, frame: VideoFrame) -> bool:
        """Whether frames are missing between two of `frames` because they were skipped, or did not decode."""
        return self._skipper is not None and self._skipper.passed_between(before.pts or 0, frame.pts or 0)

    def keep_from(self, frame: VideoFrame) -> None:
        """Skip fewer frames after this one of `frames`, up to the next key frame."""
        if self._skipper:
            self._skipper.keep_from(frame.pts or 0)

    def frames_from(
        self, time_s: float, *, wanted_s: Sequence[float] | None = None, skip_until_s: float | None = None
    ) -> Iterator[VideoFrame]:
        """Decode frames from the key frame at or before ``time_s`` on, or from the first one.

        Indexes hold decoding times, so a seek may end after the target: then it seeks further back. For ``wanted_s``
        and ``skip_until_s`` see `frames`.
        """
        for step_s in STEPS_BACK_S:
            if time_s <= step_s:
                self.rewind()
            else:
                self.seek(time_s - step_s)
            frames = self.frames(wanted_s=wanted_s, skip_until_s=skip_until_s)
            first = next(frames, None)
            if time_s <= step_s or (first is not None and self.time_of(first) <= time_s + EPSILON_S):
                break
        if first is not None:
            yield first
            yield from frames

    def seek(self, time_s: float) -> None:
        """Seek to the key frame at or before ``time_s``; a file without seeking stays at its position."""
        if self._is_unseekable:
            self.rewind()
            return
        self._at_start, self._sought = False, True
        self._last_pts = None
        self._damage = DamageDetector(self, time_s)
        self._count = 0
        offset = int((time_s - self._fixer.settling_s + EPSILON_S) / self.time_base)
        try:
            self.demuxer.seek(self._start + offset)
        except av.FFmpegError as error:
            raise_if_out_of_memory(error)

    def rewind(self) -> None:
        """Go to the first packet. Reopens the file, since some formats can seek to key frames only."""
        if not self._at_start:
            self.close()
            self._open()

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def _open(self) -> None:
        self.container = open_container(self.path)
        self.stream = picture_stream(self.path, self.container)
        check_dimensions(self.path, self.stream.codec_context.width, self.stream.codec_context.height)
        self.stream.thread_count = self._threads
        self._clock = self._clock or clock_of(self.path, self.container, self.stream)
        self.demuxer = Demuxer(self.container, self.stream, self._clock)
        self._fixer = TimestampFixer(self.container, self.stream)
        for other in self.container.streams:
            if self._picture_only and other.index != self.stream.index:
                other.discard = Discard.all
        self._at_start, self._sought = True, False
        self._last_pts = None
        self._damage = DamageDetector(self, 0.0)
        self._count = 0

    def _ticks_at(self, time_s: float) -> float:
        if math.isinf(time_s):
            return time_s
        return self._start + math.floor((time_s + EPSILON_S) / self.time_base)

    def _find_start(self) -> None:
        """Find the time of the first frame by decoding, and its delay after the first decoding time."""
        first_dts: int | None = None
        for packet in islice(self.packets(), FIRST_PICTURE_PACKETS):
            if first_dts is None or packet.is_keyframe:  # packets before it did not decode
                first_dts = packet.dts
            frame = next(self._decode(packet), None)
            if frame is not None:
                self._start = frame.pts or 0
                self._decode_delay = self._start - (first_dts or 0)
                break
        self.rewind()

    def _decode(self, packet: Packet[VideoStream] | None) -> Iterator[VideoFrame]:
        # In AVI and ASF a frame may have another time than its packet; an edit list discards others.
        if packet is not None and packet.is_keyframe and not (packet.is_discard or self._fixer.is_start_unsaid):
            self._damage.key_frame_sent(packet.pts)
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError as error:
            raise_if_out_of_memory(error)
            if packet is not None and not isinstance(error, EOFError):
                self._damage.packet_failed(packet)
            return
        for frame in frames:
            if frame.pts is None:  # see `TimestampFixer`
                frame.pts = frame.dts
            if frame.pts is None and self._sought and self._last_pts is None:  # its position is unknown
                self._is_unseekable = True
                return
            if frame.pts is None:  # raw streams have no timestamps: count from the last one
                step = max(1, round(self.period_s / self.time_base))
                frame.pts = self._start if self._last_pts is None else self._last_pts + step
            skipped = self._skipper is not None and self._skipper.passed_between(self._last_pts or 0, frame.pts)
            self._last_pts = frame.pts
            self._damage.frame_decoded(frame, skipped=skipped)
            if self._skipper:
                self._skipper.frame_decoded()
            yield frame


@contextmanager
def open_video(path: str, *, threads: int = 1, picture_only: bool = True) -> Iterator[VideoReader]:
    """Open a local video file for reading.

    Args:
        path: A local file.
        threads: Decoder threads; use one if many workers share a machine.
        picture_only: Let the demuxer skip all streams but the video stream.

    Yields:
        The open reader.

    Raises:
        VideoError: The file is missing, empty or not a video, has no video stream, or an absurd frame size.
    """
    check_file(path)
    source = VideoReader(path, threads=threads, picture_only=picture_only)
    try:
        yield source
    finally:
        source.close()


def no_frames(path: str) -> VideoError:
    """Make the error for a video without a decodable frame."""
    return VideoError(VideoFault.NO_FRAMES, f"No frame of {path} can be decoded; fetch the file again or re-encode it.")
