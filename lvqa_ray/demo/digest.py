"""A long film in short: some of its lines, word for word, spread evenly over it."""

from __future__ import annotations

import re

from lvqa_ray.demo.reel import CAPTION_LINE

_REQUEST = re.compile(r"\bSum them up\b.*\bat most (\d+) short lines\b", re.DOTALL)


def wanted(text: str) -> int:
    """How many lines a request for a summary allows; 0 for any other request."""
    match = _REQUEST.search(text)
    return int(match[1]) if match and CAPTION_LINE.search(text) else 0


def digest(text: str, most: int) -> str:
    """Every so many-th caption of a text, which then stands for those up to the next; what is left out is not told."""
    lines = CAPTION_LINE.findall(text)
    count = min(most, -(-len(lines) // 2))
    parts = [lines[n * len(lines) // count : (n + 1) * len(lines) // count] for n in range(count)]
    return "\n".join(f"From {part[0][0]} to {part[-1][1]}, {part[0][2]}" for part in parts)
