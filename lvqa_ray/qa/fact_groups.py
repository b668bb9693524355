"""Groups of questions about one video that rest on the same facts."""

from __future__ import annotations

from collections.abc import Sequence

from lvqa_ray.records import AnyQuestion

_SHARED = 0.5
"""Least share of cited clips."""


def fact_groups(questions: Sequence[tuple[str, AnyQuestion]]) -> list[str]:
    """The group of each question: the id of the first one whose cited clips are half shared with it, or its own.

    Args:
        questions: Id and question, with the clips of its steps.
    """
    firsts: list[tuple[str, frozenset[str]]] = []
    groups: list[str] = []
    for row_id, question in questions:
        cited = frozenset(clip for step in question.steps for clip in step.clip_ids)
        alike = next((name for name, other in firsts if cited and _overlap(cited, other) >= _SHARED), "")
        groups.append(alike or row_id)
        if not alike:
            firsts.append((row_id, cited))
    return groups


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """Shared clips as a share of all clips of both."""
    return len(one & other) / len(one | other)
