"""The picture of a clip, decoded and encoded again: exact to the frame."""

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
from lvqa_ray.video.reader.video_reader import EPSILON_S, VideoReader, no_frames

LONG_FRAME = 1.5
"""Where the first frame within a span comes later than so many frame periods, the one before it opens the clip."""

LONGEST_WAIT_S = 0.25
"""So it does where that frame comes later than this: the mean period of a sparse recording says nothing."""

HELD_S = 2.0
"""A last frame that stays on display for longer than this is repeated at the end of the clip."""

COARSE, FINEST = Fraction(1, 10), Fraction(1, 1000)
"""A clock that ticks more slowly than the first, as in an AVI of a picture a minute, is divided down to the second."""

Codec = Literal["libx264", "libx265"]


_Timed = tuple[int, VideoFrame]
"""When a frame is shown in the clip, in its time base, and the frame."""

_QUIET = {"libx265": {"x265-params": "log-level=error:pools=none:frame-threads=1"}}
"""x265 has threads and a log of its own."""

_TAGS = {"libx265": "hvc1"}
"""What players look for, where it is not the muxer's choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How pictures are encoded.

    Attributes:
        codec: The encoder.
        crf: Quality, 0 (best) to 51.
        preset: Its speed preset.
        fps: Frames a second, evenly spaced; ``None`` keeps the source's own times.
        short_side: Longest that the shorter side may be (px); ``None`` keeps the source's size.
    """

    codec: Codec = "libx264"
    crf: int = 23
    preset: str = "veryfast"
    fps: float | None = None
    short_side: int | None = None


def longest_wait_s(source: VideoReader) -> float:
    """How long after the start of a span its first frame may appear before the frame on display opens the clip."""
    return min(LONG_FRAME * source.period_s, LONGEST_WAIT_S)


class EncodedPicture:
    """Encodes the frames of a span, upright, 8-bit 4:2:0, sides made even, HDR as SDR.

    Args:
        source: The open video.
        output: Where to add the stream.
        span: Which frames: those that appear within it. Where a frame stays on display for long, as in a slide show,
            the one that is on display when the span starts belongs to it, too, and the last one is repeated at the
            end, because not all players and readers heed the duration of a last frame.
        encoding: How.

    Attributes:
        start_s: When the first frame of the clip appears.
        end_s: When the last one has been shown; right once `packets` has run out.

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
        """Encode; yields packets ready to be muxed."""
        durations: dict[int | None, int] = {}
        pts = end = 0
        for (pts, frame), following in _followed(self._evenly(self._rate) if self._rate else self._as_shown()):
            # The encoder would take the mean period for the duration of the last one.
            durations[pts] = following[0] - pts if following else self._last_duration(pts)
            end = pts + durations[pts]
            frame.pts, frame.time_base = pts, self._time_base
            frame.pict_type = 0  # let the encoder choose its own key frames
            yield from _lasting(self._stream.encode(frame), durations)
        packets = list(_lasting(self._stream.encode(None), durations))
        if packets and end - pts > longest_wait_s(self._source) / self._time_base:
            # An MP4 states durations in the order of decoding, in which the last frame on display need not be the last.
            packets[-1].duration = max(packets[-1].duration or 0, end - (packets[-1].pts or 0))
        yield from packets

    def _as_shown(self) -> Iterator[tuple[int, VideoFrame]]:
        """Upright frames and when they appear in the clip, in the source's time base."""
        pts, upright = 0, self._upright_first
        yield pts, upright
        for frame in self._rest():
            pts, upright = self._pts_of(frame) - self._start_pts, self._upright(frame)
            yield pts, upright
        again = self._pts(self.end_s - min(self._source.period_s, LONGEST_WAIT_S)) - self._start_pts
        if (again - pts) * self._time_base > HELD_S:
            yield again, upright

    def _evenly(self, rate: Fraction) -> Iterator[tuple[int, VideoFrame]]:
        """The upright frames on display at equal distances, and their numbers."""
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
        """How long the last frame of the clip is shown, in its time base: a period, or until the span ends."""
        if self._rate:
            return 1
        period = round(min(self._source.period_s, LONGEST_WAIT_S) / self._time_base)
        return max(1, period, self._pts(self.end_s) - self._start_pts - pts)

    def _ticks_before(self, time_s: float, rate: Fraction) -> int:
        return math.ceil(round((time_s - self.start_s) * float(rate), 4))

    def _rest(self) -> Iterator[VideoFrame]:
        """The frames after the first; moves `end_s` along."""
        last = self._first
        self.end_s = self._no_later_than_the_span(self._source.end_of(last))
        for frame in self._frames:
            if (frame.pts or 0) <= (last.pts or 0):
                continue  # after damage, a decoder may let go of a frame whose turn is over
            last = frame
            self.end_s = self._no_later_than_the_span(self._source.end_of(last))
            yield frame
        # The duration of a frame is a guess in some containers; the next one ends it for certain.
        until_s = self._source.final_end_of(last) if self._next_s is None else self._next_s
        if until_s - self.end_s > longest_wait_s(self._source) or until_s < self.end_s:
            self.end_s = self._no_later_than_the_span(until_s)

    def _no_later_than_the_span(self, time_s: float) -> float:
        return min(time_s, max(self._span.end_s, self.start_s + min(self._source.period_s, LONGEST_WAIT_S)))

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
        options = {"crf": str(self._encoding.crf), "preset": self._encoding.preset, **_QUIET.get(codec, {})}
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
    """Each frame together with the one after it; ``None`` after the last."""
    current = next(frames, None)
    while current is not None:
        following = next(frames, None)
        yield current, following
        current = following


def _lasting(packets: Sequence[Packet[VideoStream]], durations: dict[int | None, int]) -> Iterator[Packet[VideoStream]]:
    for packet in packets:
        packet.duration = durations.pop(packet.pts, 0) or packet.duration
        yield packet
