"""View of a whole-video analysis and of the speech, as plain values for the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

RESULT_COLUMNS = "index task style text value model note error error_message retryable raw usage"
"""Columns of ``analysis/`` that the page shows."""
SPEECH_COLUMNS = "index start_ms end_ms text"
"""Columns of ``subtitles/`` that the page shows."""


def results(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of a video in order. The analysis task appears only if it failed: the page shows its captions anyway."""
    made = []
    for row in sorted(rows, key=lambda row: row["index"]):
        if row["task"] == "analysis" and not row["error"]:
            continue
        failure = None
        if row["error"]:
            failure = {"stage": row["task"], "kind": row["error"], "message": row["error_message"], "attempts": 1}
            failure |= {"retryable": row["retryable"], "raw": row["raw"] or ""}
        made.append(
            {
                "task": row["task"],
                "style": row["style"] or "",
                "text": row["text"] or "",
                "value": json.loads(row["value"]) if row["value"] else None,
                "note": row["note"] or "",
                "failure": failure,
            }
        )
    return made


def speech(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """Start and end (s) and text of each line of speech, in order."""
    lines = sorted(rows, key=lambda row: row["index"])
    return [[row["start_ms"] / 1000, row["end_ms"] / 1000, row["text"] or ""] for row in lines]


def title(made: Sequence[Mapping[str, Any]], ident: str) -> str:
    """List title of a video without questions: its first title, the beginning of its summary, or its id."""
    titles = [str(one["value"]["titles"][0]) for one in made if one["task"] == "titles" and one["value"]]
    texts = [one["text"] for one in made if one["text"] and one["task"] == "summary"]
    return next(iter([*titles, *(text[:SPEECH_EXCERPT_CHARS] for text in texts)]), ident)


SPEECH_EXCERPT_CHARS = 160
"""Length (characters) of the beginning of a summary used as a title."""
