"""What is told of a video as a whole, and what is said in it, as plain values for the page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

RESULT = "index task style text value model note error error_message retryable raw usage"
"""Columns of ``analysis/`` that the page shows."""
SAID = "index start_ms end_ms text"
"""Columns of ``subtitles/`` that it shows."""


def results(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The results of a video in their order; of its shots only why there are none, since the captions are shown."""
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


def said(rows: Iterable[Mapping[str, Any]]) -> list[list[Any]]:
    """Start and end (s) and text of each line of speech, in order."""
    lines = sorted(rows, key=lambda row: row["index"])
    return [[row["start_ms"] / 1000, row["end_ms"] / 1000, row["text"] or ""] for row in lines]


def title(made: Sequence[Mapping[str, Any]], ident: str) -> str:
    """By what a video without questions is listed: its first title, the beginning of its summary, or its id."""
    titles = [str(one["value"]["titles"][0]) for one in made if one["task"] == "titles" and one["value"]]
    texts = [one["text"] for one in made if one["text"] and one["task"] == "summary"]
    return next(iter([*titles, *(text[:LONGEST] for text in texts)]), ident)


LONGEST = 160
"""Characters of such a beginning."""
