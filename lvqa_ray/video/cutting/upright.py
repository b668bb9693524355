"""Filter graph for clip encoding: frames become upright, scaled, 8-bit 4:2:0 and SDR."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from lvqa_ray.video.frames.frame_encoder import fit, matrix_of
from lvqa_ray.video.frames.hdr import lookup_table
from lvqa_ray.video.reader.display import UNSPECIFIED, orientation_of
from lvqa_ray.video.reader.video_reader import VideoReader

_SCALER = "flags=bilinear+accurate_rnd"
_TAGS = "color_primaries=bt709:color_trc=bt709"


_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""Names that FFmpeg's scaler uses for the numbers of colour matrices."""
_FULL_RANGE = 2


class Upright:
    """Rotates and scales frames to the size and colour tags of the first one; HDR is tone-mapped.

    Concatenated recordings may mix SDR and HDR, sizes, colour matrices and orientations. Each kind gets its own filter
    graph to the same size and colours; a different aspect ratio gets black bars.

    Args:
        first: The first frame.
        source: The open video.
        short_side: Maximum length of the shorter side (px); ``None`` keeps the size.

    Attributes:
        pixel_aspect: Width of an output pixel divided by its height.
    """

    def __init__(self, first: VideoFrame, source: VideoReader, short_side: int | None) -> None:
        orientation, self._shown = orientation_of(first), source.presentation
        self._time_base = source.time_base
        aspect = self._shown.pixel_aspect
        self.pixel_aspect: Fraction = 1 / aspect if orientation.transposed else aspect
        self._shape = width, height = _turned(first)
        if short_side is not None:
            width, height = fit(width, height, short_side=short_side)
        self._size = max(2, width // 2 * 2), max(2, height // 2 * 2)
        is_hdr = bool(self._shown.hdr_transfer(first))
        self._matrix = "bt709" if is_hdr else _MATRICES.get(matrix_of(first), "bt709")
        self._range = "pc" if first.color_range == _FULL_RANGE and not is_hdr else "tv"
        self._first = self._kind(first)
        self._now = self._first
        self._graph = self._built(first)

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """Convert a frame."""
        if (kind := self._kind(frame)) != self._now:
            self._now = kind
            self._graph = self._built(frame)
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _kind(self, frame: VideoFrame) -> tuple[object, ...]:
        """Properties of a frame on which its filter graph depends."""
        colours = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
        return (frame.width, frame.height, frame.format.name, orientation_of(frame), *colours)

    def _built(self, frame: VideoFrame) -> Graph:
        transfer, is_first = self._shown.hdr_transfer(frame), self._now == self._first
        # State the colours explicitly, or the scaler assumes others and converts them.
        matrix = frame.colorspace if is_first and not transfer else matrix_of(frame)
        colours = f":range={frame.color_range}" if frame.color_range in (1, 2) else ""
        colours += f":colorspace={matrix}" if matrix != UNSPECIFIED else ""
        given = f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base={self._time_base}"
        to_first = f"out_color_matrix={self._matrix}:out_range={self._range}:{_SCALER}"
        width, height = self._size
        steps = [*orientation_of(frame).filters]
        if is_first or self._is_alike(frame):
            steps.append(f"scale={width}:{height}:{_SCALER if is_first or transfer else to_first}")
        else:
            within = "force_original_aspect_ratio=decrease:force_divisible_by=2"
            steps += [
                f"scale={width}:{height}:{within}:{_SCALER if transfer else to_first}",
                f"pad={width}:{height}:-1:-1",
            ]
        graph = Graph()
        graph.threads = 1
        with ExitStack() as stack:
            if transfer:
                table = stack.enter_context(lookup_table(transfer, frame.color_primaries)).replace("'", r"'\''")
                steps += ["format=gbrp16le", f"lut3d=file='{table}':interp=tetrahedral", f"setparams={_TAGS}"]
                steps.append(f"scale={to_first}")
            nodes = [graph.add("buffer", given + colours)]
            for step in (*steps, "format=yuv420p"):
                name, _, arguments = step.partition("=")
                nodes.append(graph.add(name, arguments or None))
            nodes.append(graph.add("buffersink"))
            graph.link_nodes(*nodes).configure()
        return graph

    def _is_alike(self, frame: VideoFrame) -> bool:
        """Whether a frame has the aspect ratio of the first one, except for rounding."""
        (width, height), (first_width, first_height) = _turned(frame), self._shape
        return abs(width * first_height - first_width * height) <= first_width * height / 50


def _turned(frame: VideoFrame) -> tuple[int, int]:
    """Width and height of a frame after rotation, in stored pixels."""
    if orientation_of(frame).transposed:
        return frame.height, frame.width
    return frame.width, frame.height
