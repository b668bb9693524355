"""Re-encoding of a clip's video stream, frame-accurate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.records import Span
from lvqa_ray.video.cutting.upright import Upright
from lvqa_ray.video.reader.video_reader import VideoReader, no_frames
from lvqa_ray.video.spans import EPSILON_S

LONG_FRAME = 1.5
"""If the first frame of a span comes later than this many frame periods, the clip opens with the one before it."""

SPARSE_AFTER_S = 0.25
"""The same in seconds, for sparse recordings, whose mean frame period is meaningless."""

HELD_S = 2.0
"""A last frame that stays on display for longer than this is repeated at the end of the clip."""

COARSE, FINEST = Fraction(1, 10), Fraction(1, 1000)
"""A time base coarser than the first, as in an AVI with one frame per minute, is refined to the second."""

Codec = Literal["libx264", "libx265"]


_Timed = tuple[int, VideoFrame]
"""Presentation time of a frame in the clip's time base, and the frame."""

_OWN_OPTIONS = {"libx265": {"x265-params": "log-level=error:pools=none:frame-threads=1"}}
"""x265 has its own threads and log."""

_TAGS = {"libx265": "hvc1"}
"""Codec tags that players expect, where the muxer would choose another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Encoder settings of clips.

    Attributes:
        codec: The encoder.
        crf: Quality, 0 (best) to 51.
        preset: Its speed preset.
        fps: Constant frame rate; ``None`` keeps the source's frame times.
        short_side: Maximum length of the shorter side (px); ``None`` keeps the source's size.
    """

    codec: Codec = "libx264"
    crf: int = 23
    preset: str = "veryfast"
    fps: float | None = None
    short_side: int | None = None


def longest_wait_s(source: VideoReader) -> float:
    """Maximum delay of a span's first frame; beyond it the clip opens with the frame on display before (s)."""
    return min(LONG_FRAME * source.period_s, SPARSE_AFTER_S)


class EncodedPicture:
    """Video stream of a re-encoded clip: upright, 8-bit 4:2:0, even sides, HDR tone-mapped to SDR.

    Args:
        source: The open video.
        output: Container to which the stream is added.
        span: Span of the clip, with all frames that appear within it. If frames stay on display for long, as in a slide
            show, the frame on display at the start is included, and the last one is repeated at the end, because not
            all players and readers use the duration of a last frame.
        encoding: Encoder settings.

    Attributes:
        start_s: When the first frame of the clip appears (s).
        end_s: When its last frame leaves the display (s); final after `packets` is exhausted.

    Raises:
        VideoError: No frame of the span can be decoded.
    """

    def __init__(self, source: VideoReader, output: OutputContainer, span: Span, encoding: Encoding) -> None:
        self._source = source
        self._span = span
        self._encoding = encoding
        self._rate = Fraction(encoding.fps).limit_denominator(1001) if encoding.fps else None
        self._finer = math.ceil(source.time_base / FINEST) if source.time_base > COARSE else 1
        self._time_base = 1 / self._rate if self._rate else source.time_base / self._finer
        self._next_s: float | None = None
        self._frames = self._within()
        first = next(self._frames, None)
        if first is None:
            raise no_frames(f"{source.path} between {span.start_s:.3f} s and {span.end_s:.3f} s")
        self._first = first
        self.start_s = self.end_s = max(source.time_of(first), span.start_s)
        self._start_pts = self._pts_of(first) if self.start_s == source.time_of(first) else self._pts(self.start_s)
        self._upright = Upright(first, source, encoding.short_side)
        self._upright_first = self._upright(first)
        self._stream = self._open_stream(output)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Encode the frames; yields packets ready to be muxed."""
        durations: dict[int | None, int] = {}
        pts = end = 0
        for (pts, frame), following in _followed(self._evenly(self._rate) if self._rate else self._as_shown()):
            # For the last frame the encoder would use the mean period.
            durations[pts] = following[0] - pts if following else self._last_duration(pts)
            end = pts + durations[pts]
            frame.pts, frame.time_base = pts, self._time_base
            frame.pict_type = 0  # let the encoder choose its own key frames
            yield from _lasting(self._stream.encode(frame), durations)
        packets = list(_lasting(self._stream.encode(None), durations))
        if packets and end - pts > longest_wait_s(self._source) / self._time_base:
            # MP4 stores durations in decoding order, in which the last frame on display need not be the last.
            packets[-1].duration = max(packets[-1].duration or 0, end - (packets[-1].pts or 0))
        yield from packets

    def _as_shown(self) -> Iterator[tuple[int, VideoFrame]]:
        """Upright frames with their times in the clip, in its time base."""
        pts, upright = 0, self._upright_first
        yield pts, upright
        for frame in self._rest():
            pts, upright = self._pts_of(frame) - self._start_pts, self._upright(frame)
            yield pts, upright
        again = self._pts(self.end_s - min(self._source.period_s, SPARSE_AFTER_S)) - self._start_pts
        if (again - pts) * self._time_base > HELD_S:
            yield again, upright

    def _evenly(self, rate: Fraction) -> Iterator[tuple[int, VideoFrame]]:
        """Upright frames on display at a constant rate, with their numbers."""
        current, count = self._first, 0
        for frame in self._rest():
            due = self._ticks_before(self._source.time_of(frame), rate)
            if due > count:
                upright = self._upright(current)
                yield from ((number, upright) for number in range(count, due))
                count = due
            current = frame
        due = self._ticks_before(self.end_s, rate)
        upright = self._upright(current)
        yield from ((number, upright) for number in range(count, due))

    def _last_duration(self, pts: int) -> int:
        """Duration of the clip's last frame in its time base: one period, or until the span ends."""
        if self._rate:
            return 1
        period = round(min(self._source.period_s, SPARSE_AFTER_S) / self._time_base)
        return max(1, period, self._pts(self.end_s) - self._start_pts - pts)

    def _ticks_before(self, time_s: float, rate: Fraction) -> int:
        return math.ceil(round((time_s - self.start_s) * float(rate), 4))

    def _rest(self) -> Iterator[VideoFrame]:
        """Frames after the first; updates `end_s`."""
        last = self._first
        self.end_s = self._clamped(self._source.end_of(last))
        for frame in self._frames:
            if (frame.pts or 0) <= (last.pts or 0):
                continue  # after damage, a decoder may output a frame too late
            last = frame
            self.end_s = self._clamped(self._source.end_of(last))
            yield frame
        # Some containers only guess durations; the time of the next frame is reliable.
        until_s = self._source.final_end_of(last) if self._next_s is None else self._next_s
        if until_s - self.end_s > longest_wait_s(self._source) or until_s < self.end_s:
            self.end_s = self._clamped(until_s)

    def _clamped(self, time_s: float) -> float:
        """Limit an end time to the end of the span, but keep at least one frame period."""
        return min(time_s, max(self._span.end_s, self.start_s + min(self._source.period_s, SPARSE_AFTER_S)))

    def _within(self) -> Iterator[VideoFrame]:
        begin, end = self._span.start_s - EPSILON_S, self._span.end_s - EPSILON_S
        before: VideoFrame | None = None
        for frame in self._source.frames_from(self._span.start_s):
            time_s = self._source.time_of(frame)
            if time_s < begin:
                before = frame
                continue
            if before is not None and (time_s >= end or time_s - self._span.start_s > longest_wait_s(self._source)):
                yield before
            before = None
            if time_s >= end:
                self._next_s = time_s
                return
            yield frame
        if before is not None and self._source.final_end_of(before) > self._span.start_s + EPSILON_S:
            yield before

    def _pts(self, time_s: float) -> int:
        return round((self._source.start_s + time_s) / (self._source.time_base / self._finer))

    def _pts_of(self, frame: VideoFrame) -> int:
        return (frame.pts or 0) * self._finer

    def _open_stream(self, output: OutputContainer) -> VideoStream:
        codec, first = self._encoding.codec, self._upright_first
        options = {"crf": str(self._encoding.crf), "preset": self._encoding.preset, **_OWN_OPTIONS.get(codec, {})}
        stream = output.add_stream(codec, rate=self._rate or self._source.fps or 25, options=options)
        stream.width, stream.height = first.width, first.height
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        context = stream.codec_context
        if codec in _TAGS:
            context.codec_tag = _TAGS[codec]
        context.time_base = self._time_base
        if self._upright.pixel_aspect != 1 or self._source.stream.codec_context.sample_aspect_ratio:
            context.sample_aspect_ratio = self._upright.pixel_aspect
        context.colorspace = first.colorspace
        context.color_range = first.color_range
        context.color_primaries = first.color_primaries
        context.color_trc = first.color_trc
        return stream


def _followed(frames: Iterator[_Timed]) -> Iterator[tuple[_Timed, _Timed | None]]:
    """Pairs of each frame and the next one; ``None`` after the last."""
    current = next(frames, None)
    while current is not None:
        following = next(frames, None)
        yield current, following
        current = following


def _lasting(packets: Sequence[Packet[VideoStream]], durations: dict[int | None, int]) -> Iterator[Packet[VideoStream]]:
    for packet in packets:
        packet.duration = durations.pop(packet.pts, 0) or packet.duration
        yield packet
