"""JPEG helpers that import no video library, so chat workers stay light."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import simplejpeg

Pixels = npt.NDArray[np.uint8]
"""Height x width x 3, RGB, full range."""

SMALLER_QUALITY = 85
"""JPEG quality of a downscaled image."""


def encoded(pixels: Pixels, quality: int) -> bytes:
    """Encode pixels as a 4:2:0 JPEG of quality 1 to 100. The same pixels give the same bytes."""
    return cast("bytes", simplejpeg.encode_jpeg(pixels, quality, "RGB", "420"))


def smaller(jpeg: bytes, factor: int) -> bytes:
    """Divide the sides of a JPEG by 2, 4 or 8, which the decoder does itself. Deterministic."""
    height, width, *_ = simplejpeg.decode_jpeg_header(jpeg)
    least = {"min_height": -(-height // factor), "min_width": -(-width // factor)}
    pixels = simplejpeg.decode_jpeg(jpeg, "RGB", **least)
    return encoded(pixels, SMALLER_QUALITY)
