"""Rubric parser: reads yes/no lines per rubric point, or a score, from a reply."""

from __future__ import annotations

import re
from collections.abc import Collection

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.replies.thinking_tags import strip_thinking

_MARKS = re.compile(r"^[\s>#*_`•-]+|[*`]+|_+$")
_POINT = re.compile(r"(?P<name>[^:]+?)\s*:\s*(?P<said>yes|no)\b[\s.,;:–—-]*(?P<why>.*)", re.IGNORECASE)  # noqa: RUF001
_SCORE = re.compile(r"score\s*:\s*(?P<score>[01](?:[.,]\d+)?|[.,]\d+)\s*(?:/\s*1(?:\.0)?)?\.?", re.IGNORECASE)


def read_points(reply: str, names: Collection[str]) -> dict[str, str]:
    """Read the rubric points that a reply answers with yes, each with its reason.

    Each point is a line ``NAME: yes - why`` or ``NAME: no``; case, bullets and emphasis are ignored.

    Args:
        reply: The model's reply.
        names: All points of the rubric.

    Raises:
        ParseError: A point has no such line, or two that differ.
    """
    answers: dict[str, tuple[bool, str]] = {}
    for line in strip_thinking(reply).splitlines():
        match = _POINT.fullmatch(_MARKS.sub("", line).strip())
        name = _folded(match["name"]) if match else ""
        if match is None or name not in map(_folded, names):
            continue
        verdict = (match["said"].lower() == "yes", match["why"].strip())
        if answers.setdefault(name, verdict)[0] != verdict[0]:
            raise ParseError(ParseFault.BAD_ANSWER, f"The reply says yes and no to '{name}'.")
    if missing := [name for name in names if _folded(name) not in answers]:
        raise ParseError(ParseFault.NO_ANSWER, f"The reply has no line '{missing[0]}: yes' or '{missing[0]}: no'.")
    return {name: answers[_folded(name)][1] for name in names if answers[_folded(name)][0]}


def read_score(reply: str) -> float:
    """Read the last line ``SCORE: 0.9`` of a reply: a number from 0 to 1.

    Raises:
        ParseError: There is no such line.
    """
    for line in reversed(strip_thinking(reply).splitlines()):
        match = _SCORE.fullmatch(_MARKS.sub("", line).strip())
        if match is not None and (score := float(match["score"].replace(",", "."))) <= 1:
            return score
    raise ParseError(ParseFault.NO_ANSWER, "The reply has no line 'SCORE: ' with a number from 0 to 1.")


def _folded(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())
