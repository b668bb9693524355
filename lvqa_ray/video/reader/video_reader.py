"""An open video: its picture stream, its clock, and its frames in order, whatever the file has in store.

Times are seconds from the first picture, which is not always time 0 of the container. What does not decode is passed
over, and noted as a loss.
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
from lvqa_ray.video.reader import gaps
from lvqa_ray.video.reader.container import check_dimensions, check_file, frame_rate, open_container, picture_stream
from lvqa_ray.video.reader.decode_losses import note_loss
from lvqa_ray.video.reader.demux import Demuxer
from lvqa_ray.video.reader.display import Presentation
from lvqa_ray.video.reader.frame_dropping import NonRefSkipper
from lvqa_ray.video.reader.frame_skimming import SKIMMED, skip_unwanted_nonref
from lvqa_ray.video.reader.key_frames import KeyFrames
from lvqa_ray.video.reader.timing.avi_timestamps import TimestampFixer
from lvqa_ray.video.reader.timing.clock import Clock, clock_of
from lvqa_ray.video.reader.timing.completeness import is_complete
from lvqa_ray.video.reader.timing.stated_durations import INDEXLESS, held_end_s, promised_picture_s

EPSILON_S = 1e-6
SUSPICIOUS_FRAMES = 16
FIRST_LOOK = 500
"""Packets that are read at most for the first picture."""
STEPS_BACK_S = (0.0, 1.0, 5.0, 30.0, float("inf"))
"""Where to look for a key frame: at the wanted time, then ever further before it; the last step is the start."""


class VideoReader:
    """An open video file.

    Attributes:
        path: The file.
        container: FFmpeg's demuxer.
        demuxer: Reads and seeks in it, on the time line of the video.
        stream: The picture stream; a cover picture does not count as one.
        time_base: Seconds of one unit of the stream's times.
        fps: Frames a second, ``None`` where the file does not say.
        presentation: What the stream says of how its frames are shown.
        period_s: Seconds that a frame is shown, on average; a guess where the file does not say.
    """

    def __init__(self, path: str, *, threads: int, picture_only: bool) -> None:
        self.path = path
        self._threads = threads
        self._picture_only = picture_only
        self._last_pts: int | None = None
        self._sparing: NonRefSkipper | None = None
        self._is_placeless = False
        self._clock: Clock | None = None
        self._open()
        self.presentation = Presentation.of(self.stream)
        self.time_base = Fraction(self.stream.time_base or Fraction(1, 1000))
        self._ticks, self._per_ticks = self.time_base.as_integer_ratio()
        self.fps = frame_rate(self.stream)
        self.period_s = float(1 / self.fps) if self.fps else 0.04
        self._start = self.stream.start_time or 0
        self._late = 0
        if self._clock:
            self._start = self._clock.key_times[0]
        if self._slots.is_start_unsaid:
            self._find_start()

    @property
    def codec(self) -> str:
        """FFmpeg's name of the codec, which is not always that of the decoder: ``av1`` and not ``libdav1d``."""
        return self.stream.codec.canonical_name

    @property
    def is_joined(self) -> bool:
        """Whether the clock of the file jumps, as in recordings that were joined byte by byte, see `clock`."""
        return self._clock is not None

    @property
    def start_s(self) -> float:
        """The container's time of the first picture, in seconds."""
        return float(self._start * self.time_base)

    @property
    def sound_start_s(self) -> float:
        """The container's time of the sound that belongs to the first picture, in seconds."""
        return float((self._start - self._late) * self.time_base)

    def offset_of(self, frame: VideoFrame | Packet[VideoStream]) -> int:
        """When a frame appears, in units of ``time_base`` from the first picture."""
        return (frame.pts or 0) - self._start

    def time_of(self, frame: VideoFrame | Packet[VideoStream]) -> float:
        """When a frame appears, in seconds from the first picture."""
        # Dividing whole numbers rounds once, as a fraction does, at a tenth of its cost: each frame is asked for.
        return self.offset_of(frame) * self._ticks / self._per_ticks

    def end_of(self, frame: VideoFrame) -> float:
        """When a frame has been shown, in seconds from the first picture."""
        shown = frame.duration * self._ticks / self._per_ticks if frame.duration else self.period_s
        return self.time_of(frame) + shown

    def final_end_of(self, frame: VideoFrame | Packet[VideoStream]) -> float:
        """When the last frame of the file has been shown, in seconds from the first picture.

        It stays on display for as long as the file's header says, if nothing that follows it was lost.
        """
        end_s = self.end_of_packet(frame) if isinstance(frame, Packet) else self.end_of(frame)
        if self._is_damaged:
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
        """When what a packet of any stream holds has been shown or heard, in seconds from the first picture."""
        late = self._late if packet.stream_index == self.stream.index else 0
        stamp = packet.pts if packet.pts is not None else (packet.dts or 0) + late
        base = Fraction(packet.time_base)
        if packet.duration:
            shown = float(packet.duration * base)
        else:
            shown = self.period_s if packet.stream_index == self.stream.index else 0.0
        return float(stamp * base) - self.start_s + shown

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Picture packets from the current position to the end, or to where the file cannot be read any further."""
        self._fresh = False
        try:
            packets = self._slots.timed(self.demuxer.packets(self.stream))
            packets = self._slots.settled(packets) if self._sought and self._slots.settling_s else packets
            for packet in self._gaps_noted(packets):
                self._count += bool(packet.size)
                yield packet
        except av.FFmpegError as error:
            self._unreadable(error)

    def _gaps_noted(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Note what is lost between two packets, and what depends on it, up to the next key frame."""
        if self.container.format.name not in gaps.FORMATS:
            yield from packets
            return
        before: Packet[VideoStream] | None = None
        shown_s = 0.0
        lost_from_s: float | None = None
        for packet in packets:
            if packet.size and packet.pts is not None:
                time_s = self.time_of(packet)
                if before is not None and gaps.is_gap(shown_s, time_s, self.period_s):
                    is_whole = gaps.is_whole(self.path, self.container.format.name, before, packet)
                    lost_from_s = lost_from_s if is_whole else shown_s + self.period_s
                if lost_from_s is not None:
                    note_loss(lost_from_s, time_s if packet.is_keyframe else time_s + self.period_s)
                    lost_from_s = None if packet.is_keyframe else lost_from_s
                shown_s = time_s if before is None else max(shown_s, time_s)
                before = packet
            yield packet

    def all_packets(self) -> Iterator[Packet[Any]]:
        """Packets of all streams from the current position, as far as the file can be read."""
        self._fresh = False
        try:
            yield from self._slots.timed(self.demuxer.packets())
        except av.FFmpegError as error:
            self._unreadable(error)

    def frames(
        self, *, limit: int | None = None, wanted_s: Sequence[float] | None = None, spare_until_s: float | None = None
    ) -> Iterator[VideoFrame]:
        """Frames from the current position on, in display order; what does not decode is passed over and noted.

        Args:
            limit: Give up after so many packets.
            wanted_s: If given, only the frames on display at these times (s, rising) are sure to come.
            spare_until_s: If given, frames up to this time (s) that no other refers to need not come; see
                `passed_between` and `matters`.
        """
        packets: Iterator[Packet[VideoStream]] = islice(self.packets(), limit)
        self._sparing = None
        if wanted_s is not None and self.codec in SKIMMED:
            packets = skip_unwanted_nonref(
                packets, self.stream.codec_context, [self._ticks_at(time) for time in wanted_s]
            )
        if spare_until_s is not None and self.codec in SKIMMED and self._threads == 1:
            self._sparing = NonRefSkipper(self._ticks_at(spare_until_s))
            packets = self._sparing.packets(packets, self.stream.codec_context)
        for packet in packets:
            yield from self._decode(packet)
            if self._sought and self._is_placeless:
                return
        # After an early end the decoder still holds frames; after a proper one it has none left.
        yield from self._decode(None)

    def passed_between(self, before: VideoFrame, frame: VideoFrame) -> bool:
        """Whether frames are missing between two of `frames` because they were spared, or did not decode."""
        return self._sparing is not None and self._sparing.passed_between(before.pts or 0, frame.pts or 0)

    def keep_from(self, frame: VideoFrame) -> None:
        """Spare less after this one of `frames`, up to the next key frame."""
        if self._sparing:
            self._sparing.keep_from(frame.pts or 0)

    def frames_from(
        self, time_s: float, *, wanted_s: Sequence[float] | None = None, spare_until_s: float | None = None
    ) -> Iterator[VideoFrame]:
        """Frames from the last one that appears no later than ``time_s``, or from a little earlier, or from the first.

        ``wanted_s`` and ``spare_until_s`` are those of `frames`.

        Seeks to a key frame. Indexes hold decoding times, so that one may turn out to lie past the target: then it
        tries further back.
        """
        for step_s in STEPS_BACK_S:
            if time_s <= step_s:
                self.rewind()
            else:
                self.seek(time_s - step_s)
            frames = self.frames(wanted_s=wanted_s, spare_until_s=spare_until_s)
            first = next(frames, None)
            if time_s <= step_s or (first is not None and self.time_of(first) <= time_s + EPSILON_S):
                break
        if first is not None:
            yield first
            yield from frames

    def seek(self, time_s: float) -> None:
        """Go to the key frame at or before ``time_s``; files that cannot seek stay where they are."""
        if self._is_placeless:
            self.rewind()
            return
        self._fresh, self._sought = False, True
        self._last_pts = None
        self._suspicious, self._shown_s, self._keys = 0, time_s, KeyFrames()
        self._count, self._is_damaged = 0, False
        offset = int((time_s - self._slots.settling_s + EPSILON_S) / self.time_base)
        try:
            self.demuxer.seek(self._start + offset)
        except av.FFmpegError as error:
            _enough_memory(error)

    def rewind(self) -> None:
        """Go to the first packet. Opens the file anew, because some formats can seek to key frames but not to this."""
        if not self._fresh:
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
        self._slots = TimestampFixer(self.container, self.stream)
        for other in self.container.streams:
            if self._picture_only and other.index != self.stream.index:
                other.discard = Discard.all
        self._fresh, self._sought = True, False
        self._last_pts = None
        self._suspicious, self._shown_s, self._keys = 0, 0.0, KeyFrames()
        self._count, self._is_damaged = 0, False

    def _ticks_at(self, time_s: float) -> float:
        if math.isinf(time_s):
            return time_s
        return self._start + math.floor((time_s + EPSILON_S) / self.time_base)

    def _find_start(self) -> None:
        """Look when the first picture appears, and how long after it could have been decoded."""
        first_dts: int | None = None
        for packet in islice(self.packets(), FIRST_LOOK):
            if first_dts is None or packet.is_keyframe:  # those before it did not decode
                first_dts = packet.dts
            frame = next(self._decode(packet), None)
            if frame is not None:
                self._start = frame.pts or 0
                self._late = self._start - (first_dts or 0)
                break
        self.rewind()

    def _decode(self, packet: Packet[VideoStream] | None) -> Iterator[VideoFrame]:
        # In AVI and ASF a frame may have another time than its packet; others are left out by an edit list.
        if packet is not None and packet.is_keyframe and not (packet.is_discard or self._slots.is_start_unsaid):
            self._keys.give(packet.pts)
        try:
            frames = self.stream.decode(packet)
        except av.FFmpegError as error:
            _enough_memory(error)
            if packet is not None and not isinstance(error, EOFError):
                self._is_damaged = True
                begin_s = self._shown_s if packet.pts is None else self.time_of(packet)
                note_loss(begin_s, begin_s + self.period_s)
            return
        for frame in frames:
            if frame.pts is None:  # see `TimestampFixer`
                frame.pts = frame.dts
            if frame.pts is None and self._sought and self._last_pts is None:  # it could be anywhere
                self._is_placeless = True
                return
            if frame.pts is None:  # raw streams carry no times: count on from the last one
                step = max(1, round(self.period_s / self.time_base))
                frame.pts = self._start if self._last_pts is None else self._last_pts + step
            spared = self._sparing is not None and self._sparing.passed_between(self._last_pts or 0, frame.pts)
            self._last_pts = frame.pts
            self._check(frame, spared=spared)
            if self._sparing:
                self._sparing.frame_decoded()
            yield frame

    def _check(self, frame: VideoFrame, *, spared: bool) -> None:
        """Note a frame of which parts are wrong, with what is missing before and after it.

        Containers that find their way again after damage leave out what they do not understand, and say nothing: a gap
        soon after a wrong frame is taken for a loss, if it was not spared.
        """
        begin_s = self.time_of(frame)
        self._keys.frame_decoded(frame.pts or 0)
        if self._keys.lost_from is not None:
            note_loss(float((self._keys.lost_from - self._start) * self.time_base), self.end_of(frame))
        if frame.is_corrupt:
            self._suspicious = SUSPICIOUS_FRAMES
            note_loss(begin_s if spared else min(self._shown_s, begin_s), self.end_of(frame))
        elif self._suspicious:
            self._suspicious -= 1
            if begin_s - self._shown_s > self.period_s / 2 and not spared:
                note_loss(self._shown_s, begin_s)
        self._shown_s = self.end_of(frame)

    def _unreadable(self, error: av.FFmpegError) -> None:
        _enough_memory(error)
        self._is_damaged = True
        note_loss(self._shown_s, math.inf)


@contextmanager
def open_video(path: str, *, threads: int = 1, picture_only: bool = True) -> Iterator[VideoReader]:
    """Open a local video file for reading.

    Args:
        path: A local file.
        threads: Decoder threads; one, where many workers share a machine.
        picture_only: Let the demuxer skip all other streams unread.

    Yields:
        The open source.

    Raises:
        VideoError: The file is missing, empty, no video, without picture, or of an absurd size.
    """
    check_file(path)
    source = VideoReader(path, threads=threads, picture_only=picture_only)
    try:
        yield source
    finally:
        source.close()


def no_frames(path: str) -> VideoError:
    """Make the error for a video of which not one picture can be decoded."""
    return VideoError(
        VideoFault.NO_FRAMES, f"Not one picture of {path} can be decoded; fetch the file again or re-encode it."
    )


def _enough_memory(error: av.FFmpegError) -> None:
    """Pass a lack of memory on: it is no damage of the file."""
    if isinstance(error, MemoryError):
        raise MemoryError from error
