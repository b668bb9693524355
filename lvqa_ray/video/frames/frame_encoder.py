"""From a decoded frame to JPEG bytes: upright, small enough, and in the right colours."""

from __future__ import annotations

from typing import cast

from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from lvqa_ray.video.frames.hdr import BT2020, Codes, tone_mapped
from lvqa_ray.video.frames.jpeg import Pixels, encoded
from lvqa_ray.video.reader.display import PLAIN, UNSPECIFIED, orientation_of

PLANAR_420 = frozenset({"yuv420p", "yuvj420p"})
"""The formats of 8 bits and half the colour each way, which almost all films have."""

_HD_HEIGHT = 576
_BT2020_MATRIX = 9


class JpegEncoder:
    """Makes JPEGs of one size and quality out of frames. The same frame gives the same bytes.

    Args:
        short_side: Most pixels of the shorter side; smaller pictures are never enlarged.
        quality: JPEG quality, 1 to 100.

    Attributes:
        presentation: What the stream says of the frames; set by the reader that opens it.
    """

    def __init__(self, *, short_side: int, quality: int) -> None:
        self.presentation = PLAIN
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
        """Turn and scale a frame to RGB pixels, which are square; HDR becomes SDR."""
        width, height = fit(*self.presentation.size(frame.width, frame.height), short_side=self._short_side)
        transfer = self.presentation.hdr_transfer(frame)
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
            format="rgb48le" if transfer else "rgb24",
            src_colorspace=matrix_of(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BILINEAR | Interpolation.BITEXACT,
            threads=1,
        ).to_ndarray()
        pixels = tone_mapped(cast("Codes", rgb), transfer, frame.color_primaries) if transfer else cast("Pixels", rgb)
        return orientation_of(frame).applied(pixels)


def fit(width: int, height: int, *, short_side: int) -> tuple[int, int]:
    """Scale a size so that its shorter side is at most ``short_side`` pixels, keeping its shape.

    Returns:
        Width and height, each at least 1; the size as it is where it is small enough.
    """
    scale = short_side / min(width, height)
    if scale >= 1:
        return width, height
    return max(1, round(width * scale)), max(1, round(height * scale))


def matrix_of(frame: VideoFrame) -> int:
    """FFmpeg's number of the frame's colour matrix; in a silent file 601 for SD and 709 above, as players have it."""
    if frame.colorspace == UNSPECIFIED and frame.color_primaries == BT2020:
        return _BT2020_MATRIX
    if frame.colorspace != UNSPECIFIED:
        return frame.colorspace
    return Colorspace.ITU709 if frame.height > _HD_HEIGHT or frame.width >= 1280 else Colorspace.ITU601
