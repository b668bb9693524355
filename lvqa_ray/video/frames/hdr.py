"""Tone mapping of HDR to SDR: diffuse white becomes SDR white, greys keep their level, highlights are compressed.

Reference levels are those of ITU-R BT.2408: diffuse white is at 203 cd/m2 in PQ and at 75 % in HLG. HLG is converted
in scene light, as for a display with a system gamma of 1, which is about what BT.2100 gives for a display as bright as
an SDR one. The result is encoded for BT.1886, the display curve of SDR video.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from tempfile import NamedTemporaryFile
from typing import Any, cast

import cv2
import numpy as np
import numpy.typing as npt

from lvqa_ray.video.frames.jpeg import Pixels
from lvqa_ray.video.reader.display import PQ, UNSPECIFIED

WHITE_NITS = 203.0
HLG_WHITE = 0.75
GAMMA = 2.4
KNEE = 0.9
"""Light below this is not compressed (1 is diffuse white)."""

CUBE_SIDE = 49
"""Entries per axis of FFmpeg's lookup table."""

BT2020 = 9
"""FFmpeg's number of the colour primaries of BT.2020."""

_SHIFT = 4
_STEPS = 65536 >> _SHIFT

# Colours of BT.2020 in the primaries of BT.709 (ITU-R BT.2087).
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]], np.float32
)

Codes = npt.NDArray[np.uint16]
_Floats = npt.NDArray[np.float32]


def tone_mapped(codes: Codes, transfer: int, primaries: int) -> Pixels:
    """Tone-map HDR pixels to SDR.

    Args:
        codes: Height x width x 3, R'G'B' of 16 bits, full range.
        transfer: `PQ` or `HLG`.
        primaries: FFmpeg's number of the colour primaries; unspecified ones are taken for BT.2020.
    """
    light: _Floats = np.take(_linear(transfer), codes >> _SHIFT)
    if primaries in (BT2020, UNSPECIFIED):
        light = cast("_Floats", cv2.transform(light, _TO_709))
    np.maximum(light, 0, out=light)
    # Compress by the largest component of each pixel, which keeps the hue.
    brightest = light.max(axis=2)
    above = np.maximum(brightest - KNEE, 0)
    if above.any():
        compressed = KNEE + (1 - KNEE) * above / (above + (1 - KNEE))
        light *= np.where(above > 0, compressed / np.maximum(brightest, KNEE), 1).astype(np.float32)[..., None]
    # The table is indexed by the square root of light, for fine steps in dark areas.
    return np.take(_coded(), np.minimum(np.sqrt(light) * (_STEPS - 1) + 0.5, _STEPS - 1).astype(np.uint16))


@contextmanager
def lookup_table(transfer: int, primaries: int) -> Iterator[str]:
    """Write `tone_mapped` as a temporary ``.cube`` file for FFmpeg's filter ``lut3d``, and yield its path."""
    with NamedTemporaryFile("w", prefix="lvqa-", suffix=".cube", encoding="ascii") as file:
        file.write(_cube(transfer, primaries))
        file.flush()
        yield file.name


@cache
def _cube(transfer: int, primaries: int) -> str:
    axis = np.round(np.linspace(0, 65535, CUBE_SIDE)).astype(np.uint16)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    codes = np.stack([red, green, blue], axis=-1).reshape(-1, 1, 3)
    values = tone_mapped(codes, transfer, primaries).reshape(-1, 3) / 255
    lines = "\n".join(f"{r:.4f} {g:.4f} {b:.4f}" for r, g, b in values.tolist())
    return f"LUT_3D_SIZE {CUBE_SIDE}\n{lines}\n"


@cache
def _linear(transfer: int) -> _Floats:
    """Table from code to light, where diffuse white is 1."""
    code = (np.arange(_STEPS) + 0.5) / _STEPS
    light: npt.NDArray[Any]
    if transfer == PQ:
        power = code ** (32 / 2523)
        light = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        light = 10_000 * light ** (16384 / 2610) / WHITE_NITS
    else:
        light = _hlg_light(code) / _hlg_light(np.array(HLG_WHITE))
    return light.astype(np.float32)


def _hlg_light(code: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


@cache
def _coded() -> Pixels:
    """Table from the square root of light to SDR code."""
    return np.round(255 * np.linspace(0, 1, _STEPS) ** (2 / GAMMA)).astype(np.uint8)
