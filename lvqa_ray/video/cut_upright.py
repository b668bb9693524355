"""Frames as the encoder of a clip takes them: upright, small enough, 8-bit 4:2:0, and SDR."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from lvqa_ray.video.display import UNSPECIFIED, orientation_of
from lvqa_ray.video.hdr import lookup_table
from lvqa_ray.video.picture import fit, matrix_of
from lvqa_ray.video.source import Source

_SCALER = "flags=bilinear+accurate_rnd"
_TAGS = "color_primaries=bt709:color_trc=bt709"


class Upright:
    """Turns and scales the frames of a video, which are all alike; their colours keep their tags, but for HDR.

    Args:
        first: One of the frames.
        source: The open video.
        short_side: Longest that the shorter side may be (px); ``None`` keeps the size.

    Attributes:
        pixel_aspect: Width of the pixels of the frames that come out, divided by the height.
    """

    def __init__(self, first: VideoFrame, source: Source, short_side: int | None) -> None:
        orientation, shown = orientation_of(first), source.presentation
        transfer = shown.hdr_transfer(first)
        self.pixel_aspect: Fraction = 1 / shown.pixel_aspect if orientation.transposed else shown.pixel_aspect
        width, height = (first.height, first.width) if orientation.transposed else (first.width, first.height)
        if short_side is not None:
            width, height = fit(width, height, short_side=short_side)
        even = f"scale={max(2, width // 2 * 2)}:{max(2, height // 2 * 2)}:{_SCALER}"
        self._graph = graph = Graph()
        graph.threads = 1
        # Told apart from the start, or the scaler takes the colours for others than they are and converts them.
        matrix = matrix_of(first) if transfer else first.colorspace
        colours = f":range={first.color_range}" if first.color_range in (1, 2) else ""
        colours += f":colorspace={matrix}" if matrix != UNSPECIFIED else ""
        given = f"video_size={first.width}x{first.height}:pix_fmt={first.format.name}:time_base={source.time_base}"
        with ExitStack() as stack:
            sdr: tuple[str, ...] = ()
            if transfer:
                table = stack.enter_context(lookup_table(transfer, first.color_primaries)).replace("'", r"'\''")
                to_709 = f"scale=out_color_matrix=bt709:out_range=tv:{_SCALER}"
                sdr = ("format=gbrp16le", f"lut3d=file='{table}':interp=tetrahedral", f"setparams={_TAGS}", to_709)
            nodes = [graph.add("buffer", given + colours)]
            for step in (*orientation.filters, even, *sdr, "format=yuv420p"):
                name, _, arguments = step.partition("=")
                nodes.append(graph.add(name, arguments or None))
            nodes.append(graph.add("buffersink"))
            graph.link_nodes(*nodes).configure()

    def __call__(self, frame: VideoFrame) -> VideoFrame:
        """A frame of the clip."""
        self._graph.vpush(frame)
        return self._graph.vpull()
