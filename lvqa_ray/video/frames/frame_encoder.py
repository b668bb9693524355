"""JPEG encoder for decoded frames: applies rotation, scaling, colour matrix and tone mapping."""

from __future__ import annotations

from typing import cast

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lvqa_ray.video.frames.hdr import BT2020, Codes, tone_mapped
from lvqa_ray.video.frames.jpeg import Pixels, encoded
from lvqa_ray.video.reader.display import PLAIN, UNSPECIFIED, orientation_of

PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})
"""Pixel formats with 8 bits and 4:2:0 chroma subsampling, which almost all videos have."""

_HD_HEIGHT = 576
_BT2020_MATRIX = 9


class JpegEncoder:
    """Encodes frames as JPEGs of one size and quality. The same frame gives the same bytes.

    Args:
        short_side: Maximum length of the shorter side (px); smaller frames are not enlarged.
        quality: JPEG quality, 1 to 100.

    Attributes:
        presentation: Aspect ratio and transfer function that the stream states; set by the reader that opens it.
    """

    def __init__(self, *, short_side: int, quality: int) -> None:
        self.presentation = PLAIN
        self._short_side = short_side
        self._quality = quality
        # Shared by all frames, since they cache their tables. One thread each, since workers share the machine.
        self._scaler = VideoReformatter()
        self._colour_converter = VideoReformatter()

    def encode(self, frame: VideoFrame) -> bytes:
        """Rotate, scale and encode a frame; applies its rotation, colour matrix and colour range."""
        return self.encode_pixels(self.pixels(frame))

    def encode_pixels(self, pixels: Pixels) -> bytes:
        """Encode RGB pixels as they are."""
        return encoded(pixels, self._quality)

    def pixels(self, frame: VideoFrame) -> Pixels:
        """Rotate and scale a frame to RGB with square pixels; HDR is tone-mapped to SDR."""
        width, height = fit(*self.presentation.size(frame.width, frame.height), short_side=self._short_side)
        transfer = self.presentation.hdr_transfer(frame)
        scaled = frame
        if (width, height) != (frame.width, frame.height) and frame.format.name in PLANAR_420:
            # Scale before the conversion to RGB: 4:2:0 has half the samples, and few are left to convert.
            scaled = self._scaler.reformat(
                frame,
                width=width,
                height=height,
                interpolation=Interpolation.BILINEAR | Interpolation.BITEXACT,
                threads=1,
            )
            scaled.color_range = frame.color_range
        rgb = self._colour_converter.reformat(
            scaled,
            width=width,
            height=height,
            format="rgb48le" if transfer else "rgb24",
            src_colorspace=matrix_of(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.BITEXACT,
            threads=1,
        ).to_ndarray()
        pixels = tone_mapped(cast("Codes", rgb), transfer, frame.color_primaries) if transfer else cast("Pixels", rgb)
        return orientation_of(frame).applied(pixels)


def fit(width: int, height: int, *, short_side: int) -> tuple[int, int]:
    """Scale a size so that its shorter side is at most ``short_side`` pixels, keeping the aspect ratio.

    Returns:
        Width and height, each at least 1; the given size if it is small enough.
    """
    scale = short_side / min(width, height)
    if scale >= 1:
        return width, height
    return max(1, round(width * scale)), max(1, round(height * scale))


def matrix_of(frame: VideoFrame) -> int:
    """FFmpeg's number of a frame's colour matrix; if none is stated, BT.601 for SD, else BT.709, as in players."""
    if frame.colorspace == UNSPECIFIED and frame.color_primaries == BT2020:
        return _BT2020_MATRIX
    if frame.colorspace != UNSPECIFIED:
        return frame.colorspace
    return Colorspace.ITU709 if frame.height > _HD_HEIGHT or frame.width >= 1280 else Colorspace.ITU601
