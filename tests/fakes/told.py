"""Readable replies of the fake endpoint for whole-video tasks."""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.answers import text_of

STORY = "A block of light crosses a coloured wall, and then another one, in the other direction."
TITLES = ("A block of light", "Two walls", "What crosses the picture")
MAP = {"name": "Light", "children": [{"name": "Walls", "children": [{"name": "Red"}]}, {"name": "Blocks"}]}
_BY_PROMPT = (
    ("as a mind map", json.dumps(MAP)),
    ("titles for it", "\n".join(TITLES)),
    ("Write three things", json.dumps({"title": TITLES[0], "tags": ["light", "wall"], "highlights": [STORY]})),
    ("Write tags", "light\nwall\nblock\nmovement\ncolour"),
    ("Tell the whole story", STORY),
    ("Sum up the video", STORY),
    ("视频标注专员", STORY),
)


def told(body: dict[str, Any]) -> str | None:
    """The reply, or ``None`` for the usual one."""
    text = text_of(body)
    return next((answer for begins, answer in _BY_PROMPT if begins in text), None)
