"""From a decoded frame to JPEG bytes: upright, small enough, and in the right colours."""

from __future__ import annotations

from typing import cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lvqa_ray.video.jpeg import Pixels, encoded

PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})
"""The formats of 8 bits and half the colour each way, which almost all films have."""

_UNSPECIFIED_MATRIX = 2
_HD_HEIGHT = 576


class JpegEncoder:
    """Makes JPEGs of one size and quality out of frames. The same frame gives the same bytes.

    Args:
        short_side: Most pixels of the shorter side; smaller pictures are never enlarged.
        quality: JPEG quality, 1 to 100.
    """

    def __init__(self, *, short_side: int, quality: int) -> None:
        self._short_side = short_side
        self._quality = quality
        # For all frames: they keep their tables, and a thread of their own would only get in the way of other workers.
        self._scaler = VideoReformatter()
        self._colourer = VideoReformatter()

    def encode(self, frame: VideoFrame) -> bytes:
        """Turn, scale and encode a frame; its rotation, colour matrix and range are honoured."""
        return self.encode_pixels(self.pixels(frame))

    def encode_pixels(self, pixels: Pixels) -> bytes:
        """Encode RGB pixels as they are."""
        return encoded(pixels, self._quality)

    def pixels(self, frame: VideoFrame) -> Pixels:
        """Turn and scale a frame to RGB pixels."""
        width, height = fit(frame.width, frame.height, short_side=self._short_side)
        scaled = frame
        if (width, height) != (frame.width, frame.height) and frame.format.name in PLANAR_420:
            # Scaled first: that is half the samples, and few of them are then left to colour.
            scaled = self._scaler.reformat(
                frame,
                width=width,
                height=height,
                interpolation=Interpolation.BILINEAR | Interpolation.BITEXACT,
                threads=1,
            )
            scaled.color_range = frame.color_range
        rgb = self._colourer.reformat(
            scaled,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.BITEXACT,
            threads=1,
        )
        pixels = cast("Pixels", rgb.to_ndarray())
        quarter_turns = round(frame.rotation / 90) % 4  # counter-clockwise, as numpy counts
        return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels


def fit(width: int, height: int, *, short_side: int) -> tuple[int, int]:
    """Scale a size so that its shorter side is at most ``short_side`` pixels, keeping its shape.

    Returns:
        Width and height, each at least 1; the size as it is where it is small enough.
    """
    scale = short_side / min(width, height)
    if scale >= 1:
        return width, height
    return max(1, round(width * scale)), max(1, round(height * scale))


def _matrix(frame: VideoFrame) -> int:
    """FFmpeg's number of the frame's colour matrix; in a silent file 601 for SD and 709 above, as players have it."""
    if frame.colorspace != _UNSPECIFIED_MATRIX:
        return frame.colorspace
    return Colorspace.ITU709 if frame.height > _HD_HEIGHT or frame.width >= 1280 else Colorspace.ITU601
