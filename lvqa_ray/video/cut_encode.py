"""The picture of a clip, decoded and encoded again: exact to the frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.records import Span
from lvqa_ray.video.picture import fit
from lvqa_ray.video.source import EPSILON_S, Source, no_frames

Codec = Literal["libx264", "libx265"]

LONG_FRAME = 1.5
"""Where the first frame within a span comes later than so many frame periods, the one before it opens the clip."""

_TURNS = {90: ("transpose=cclock",), 180: ("hflip", "vflip"), 270: ("transpose=clock",)}
"""Filters that undo a rotation, by its counter-clockwise degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a clip is encoded.

    Attributes:
        codec: FFmpeg's name of the encoder.
        crf: Quality, 0 (best) to 51.
        preset: Speed preset of x264 and x265.
        fps: Frames a second, each the one on display at its time; ``None`` for the source's own frames and times.
        short_side: Most pixels of the shorter side; ``None`` for the source's.
    """

    codec: Codec = "libx264"
    crf: int = 23
    preset: str = "veryfast"
    fps: float | None = None
    short_side: int | None = None


class EncodedPicture:
    """Encodes the frames of a span, upright, 8-bit 4:2:0, sides made even.

    Args:
        source: The open video.
        output: Where to add the stream.
        span: Which frames: those that appear within it. Where a frame stays on display for long, as in a slide show,
            the one that is on display when the span starts belongs to it, too.
        encoding: How.

    Attributes:
        start_s: When the first frame of the clip appears.
        end_s: When the last one has been shown; right once `packets` has run out.

    Raises:
        VideoError: No frame of the span can be decoded.
    """

    def __init__(self, source: Source, output: OutputContainer, span: Span, encoding: Encoding) -> None:
        self._source = source
        self._span = span
        self._frames = self._within()
        first = next(self._frames, None)
        if first is None:
            raise no_frames(f"{source.path} between {span.start_s:.3f} s and {span.end_s:.3f} s")
        self._first = first
        self.start_s = self.end_s = max(source.time_of(first), span.start_s)
        self._start_pts = (first.pts or 0) if self.start_s == source.time_of(first) else self._pts(self.start_s)
        self._fps = None if encoding.fps is None else Fraction(encoding.fps).limit_denominator(1001)
        self._time_base = 1 / self._fps if self._fps else source.time_base
        self._graph = _upright(first, source, encoding.short_side)
        self._upright_first = self._turn(first)
        self._stream = self._open_stream(output, encoding)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Encode; yields packets ready to be muxed."""
        for frame, pts in self._at_rate(self._fps) if self._fps else self._at_own_times():
            frame.pts, frame.time_base = pts, self._time_base
            frame.pict_type = 0  # let the encoder choose its own key frames
            yield from self._stream.encode(frame)
        yield from self._stream.encode(None)

    def _within(self) -> Iterator[VideoFrame]:
        begin, end = self._span.start_s - EPSILON_S, self._span.end_s - EPSILON_S
        before: VideoFrame | None = None
        for frame in self._source.frames_from(self._span.start_s):
            time_s = self._source.time_of(frame)
            if time_s < begin:
                before = frame
                continue
            if before is not None and time_s - self._span.start_s > LONG_FRAME * self._source.period_s:
                yield before
            before = None
            if time_s >= end:
                return
            yield frame
        if before is not None and self._source.end_of(before) > self._span.start_s + EPSILON_S:
            yield before

    def _at_own_times(self) -> Iterator[tuple[VideoFrame, int]]:
        """The upright frames, each with its time in the clip."""
        yield self._upright_first, 0
        self._shown(self._first)
        latest = 0
        for frame in self._frames:
            pts = (frame.pts or 0) - self._start_pts
            if pts > latest:  # damage makes some decoders give frames out of order, which no file can hold
                yield self._turn(frame), pts
                self._shown(frame)
                latest = pts

    def _at_rate(self, fps: Fraction) -> Iterator[tuple[VideoFrame, int]]:
        """The upright frame on display at each tick of a constant rate, with the number of the tick."""
        tick = 0
        before: VideoFrame | None = None
        for frame, pts in self._at_own_times():
            while before is not None and tick / fps < pts * self._source.time_base - Fraction(EPSILON_S):
                yield before, tick
                tick += 1
            before = frame
        while before is not None and tick / fps < self.end_s - self.start_s - EPSILON_S:
            yield before, tick
            tick += 1

    def _turn(self, frame: VideoFrame) -> VideoFrame:
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _shown(self, frame: VideoFrame) -> None:
        self.end_s = min(self._source.end_of(frame), max(self._span.end_s, self.start_s + self._source.period_s))

    def _pts(self, time_s: float) -> int:
        return round((self._source.start_s + time_s) / self._source.time_base)

    def _open_stream(self, output: OutputContainer, encoding: Encoding) -> VideoStream:
        options = {"crf": str(encoding.crf), "preset": encoding.preset}
        if encoding.codec == "libx265":
            options["x265-params"] = "log-level=error:pools=none:frame-threads=1"
        stream = output.add_stream(encoding.codec, rate=self._fps or self._source.fps or 25, options=options)
        stream.width, stream.height = self._upright_first.width, self._upright_first.height
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        context = stream.codec_context
        if encoding.codec == "libx265":
            context.codec_tag = "hvc1"  # players by Apple know HEVC in an MP4 by no other name
        context.time_base = self._time_base
        context.colorspace = self._upright_first.colorspace
        context.color_range = self._upright_first.color_range
        context.color_primaries = self._upright_first.color_primaries
        context.color_trc = self._upright_first.color_trc
        return stream


def _upright(first: VideoFrame, source: Source, short_side: int | None) -> Graph:
    rotation = round(first.rotation / 90) * 90 % 360
    width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
    if short_side is not None:
        width, height = fit(width, height, short_side=short_side)
    even = f"scale={max(2, width // 2 * 2)}:{max(2, height // 2 * 2)}:flags=bilinear+accurate_rnd"
    graph = Graph()
    graph.threads = 1
    nodes = [graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=source.time_base)]
    for step in (*_TURNS.get(rotation, ()), even, "format=yuv420p"):
        name, _, arguments = step.partition("=")
        nodes.append(graph.add(name, arguments or None))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
