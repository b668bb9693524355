"""Image token estimate by model family, for planning; the endpoint's own count decides the bill.

Sources:

- OpenAI, "Images and vision: calculating costs". Tiles: fit into 2048 x 2048, then the shorter side down to 768, then
  a base plus a number for each 512 px tile (gpt-4o and 4.1: 85 + 170, gpt-5: 70 + 140, o1 and o3: 75 + 150,
  gpt-4o-mini: 2833 + 5667). Patches: 32 px squares, at most 1536, times 1.62 (gpt-4.1-mini, gpt-5-mini), 2.46
  (the nanos) or 1.72 (o4-mini).
- Qwen's model cards: one token for 28 x 28 px (Qwen2-VL, Qwen2.5-VL) or 32 x 32 px (Qwen3-VL).
- Google, "Understand and count tokens": 258 if both sides are at most 384 px, else 258 for each 768 px tile;
  Gemini 3 uses up to 1120 tokens an image by default ("Media resolution").
- Anthropic, "Vision": width x height / 750, after scaling down to at most about 1600 tokens.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial


@dataclass(frozen=True, slots=True)
class Family:
    """A family of models with the same formula.

    Attributes:
        name: Name for the user.
        tokens: Tokens of an image, from its width and height in pixels.
    """

    name: str
    tokens: Callable[[int, int], int]


def family_of(model: str) -> Family:
    """The family of a model by its name; an unknown model counts one token for 28 x 28 px."""
    name = model.lower().rpartition("/")[2]
    return next((family for pattern, family in _FAMILIES if re.match(pattern, name)), _UNKNOWN)


def _tiles(base: int, per_tile: int, width: int, height: int) -> int:
    width, height = _down(width, height, 2048 / max(width, height))
    width, height = _down(width, height, 768 / min(width, height))
    return base + per_tile * math.ceil(width / 512) * math.ceil(height / 512)


def _patches(multiplier: float, width: int, height: int) -> int:
    patches = _squares(32, width, height)
    return math.ceil(multiplier * min(patches, 1536))


def _squares(side: int, width: int, height: int) -> int:
    return math.ceil(width / side) * math.ceil(height / side)


def _gemini(width: int, height: int) -> int:
    return 258 if max(width, height) <= 384 else 258 * _squares(768, width, height)


def _claude(width: int, height: int) -> int:
    return min(1600, math.ceil(width * height / 750))


def _down(width: int, height: int, scale: float) -> tuple[int, int]:
    return (width, height) if scale >= 1 else (max(1, round(width * scale)), max(1, round(height * scale)))


_UNKNOWN = Family("unknown model, as 28 px squares", partial(_squares, 28))
_FAMILIES: list[tuple[str, Family]] = [
    (r"gpt-4o-mini", Family("OpenAI tiles, 2833 + 5667", partial(_tiles, 2833, 5667))),
    (r"(gpt-4\.1|gpt-5(\.\d)?)-nano", Family("OpenAI patches x 2.46", partial(_patches, 2.46))),
    (r"(gpt-4\.1|gpt-5(\.\d)?)-mini", Family("OpenAI patches x 1.62", partial(_patches, 1.62))),
    (r"o4-mini", Family("OpenAI patches x 1.72", partial(_patches, 1.72))),
    (r"gpt-5", Family("OpenAI tiles, 70 + 140", partial(_tiles, 70, 140))),
    (r"o[13]\b", Family("OpenAI tiles, 75 + 150", partial(_tiles, 75, 150))),
    (r"gpt-4|chatgpt-4o", Family("OpenAI tiles, 85 + 170", partial(_tiles, 85, 170))),
    (r"qwen3", Family("Qwen, 32 px squares", partial(_squares, 32))),
    (r"qwen|qvq", Family("Qwen, 28 px squares", partial(_squares, 28))),
    (r"gemini-3", Family("Gemini 3, 1120 a picture", lambda _width, _height: 1120)),
    (r"gemini", Family("Gemini, 258 a tile", _gemini)),
    (r"claude", Family("Claude, pixels / 750", _claude)),
]
