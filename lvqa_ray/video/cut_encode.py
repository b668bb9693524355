"""The picture of a clip, decoded and encoded again: exact to the frame."""

from __future__ import annotations

from collections.abc import Iterator

from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.records import Span
from lvqa_ray.video.source import EPSILON_S, Source, no_frames

LONG_FRAME = 1.5
"""Where the first frame within a span comes later than so many frame periods, the one before it opens the clip."""

_TURNS = {90: ("transpose=cclock",), 180: ("hflip", "vflip"), 270: ("transpose=clock",)}
"""Filters that undo a rotation, by its counter-clockwise degrees."""


class EncodedPicture:
    """Encodes the frames of a span to H.264, upright, 8-bit 4:2:0, sides made even, at the source's own times.

    Args:
        source: The open video.
        output: Where to add the stream.
        span: Which frames: those that appear within it. Where a frame stays on display for long, as in a slide show,
            the one that is on display when the span starts belongs to it, too.
        crf: Quality, 0 to 51.
        preset: x264's speed preset.

    Attributes:
        start_s: When the first frame of the clip appears.
        end_s: When the last one has been shown; right once `packets` has run out.

    Raises:
        VideoError: No frame of the span can be decoded.
    """

    def __init__(self, source: Source, output: OutputContainer, span: Span, *, crf: int, preset: str) -> None:
        self._source = source
        self._span = span
        self._frames = self._within()
        first = next(self._frames, None)
        if first is None:
            raise no_frames(f"{source.path} between {span.start_s:.3f} s and {span.end_s:.3f} s")
        self._first = first
        self.start_s = self.end_s = max(source.time_of(first), span.start_s)
        self._start_pts = (first.pts or 0) if self.start_s == source.time_of(first) else self._pts(self.start_s)
        self._graph = _upright(first, source)
        self._upright_first = self._turn(first)
        self._stream = self._open_stream(output, crf=crf, preset=preset)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Encode; yields packets ready to be muxed."""
        yield from self._stream.encode(self._timed(self._first, self._upright_first))
        for frame in self._frames:
            yield from self._stream.encode(self._timed(frame, self._turn(frame)))
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

    def _turn(self, frame: VideoFrame) -> VideoFrame:
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _timed(self, frame: VideoFrame, upright: VideoFrame) -> VideoFrame:
        upright.pts = max(0, (frame.pts or 0) - self._start_pts)
        upright.time_base = self._source.time_base
        upright.pict_type = 0  # let the encoder choose its own key frames
        self.end_s = min(self._source.end_of(frame), max(self._span.end_s, self.start_s + self._source.period_s))
        return upright

    def _pts(self, time_s: float) -> int:
        return round((self._source.start_s + time_s) / self._source.time_base)

    def _open_stream(self, output: OutputContainer, *, crf: int, preset: str) -> VideoStream:
        rate = self._source.fps or 25
        options = {"crf": str(crf), "preset": preset}
        stream = output.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height = self._upright_first.width, self._upright_first.height
        stream.pix_fmt = "yuv420p"
        stream.thread_count = 1
        context = stream.codec_context
        context.time_base = self._source.time_base
        context.colorspace = self._upright_first.colorspace
        context.color_range = self._upright_first.color_range
        context.color_primaries = self._upright_first.color_primaries
        context.color_trc = self._upright_first.color_trc
        return stream


def _upright(first: VideoFrame, source: Source) -> Graph:
    rotation = round(first.rotation / 90) * 90 % 360
    width, height = (first.height, first.width) if rotation in (90, 270) else (first.width, first.height)
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
