"""JPEGs, without the video libraries that who only handles finished pictures need not load."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import simplejpeg

Pixels = npt.NDArray[np.uint8]
"""Height x width x 3, RGB, full range."""

SMALLER_QUALITY = 85
"""JPEG quality of a picture that was made smaller."""


def encoded(pixels: Pixels, quality: int) -> bytes:
    """Pixels as a JPEG with colour at half the resolution. The same pixels give the same bytes.

    Args:
        pixels: The picture.
        quality: 1 to 100.
    """
    return cast("bytes", simplejpeg.encode_jpeg(pixels, quality, "RGB", "420"))


def smaller(jpeg: bytes, factor: int) -> bytes:
    """A JPEG with its sides divided by 2, 4 or 8, which the decoder does by itself. The same bytes give the same."""
    height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
    pixels = simplejpeg.decode_jpeg(jpeg, "RGB", **least)
    return encoded(pixels, SMALLER_QUALITY)
