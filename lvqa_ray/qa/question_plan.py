"""Which questions are asked for: how many of which category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

CATEGORIES: Mapping[str, str] = {
    "temporal": "the order of events, what comes before or after what, what changes between two moments",
    "goal": "the purpose behind what somebody does, the plan that several actions serve, its cause or its order",
    "spatial": "where people and things are, how they move through places, how places relate to each other",
    "plot": "how the story develops, how an early event bears on a late one, what a scene means for the whole",
    "causal": "why something happens, what it leads to, what would not have happened without it",
    "counting": "how often something happens or how many there are, over several separate moments",
    "object_state": "how a thing changes over the video: where it is, in what state, in whose hands",
    "dialogue": "who says what to whom, what is meant by it, and what comes of it",
}
"""What each category asks about, in the words of the prompt."""


def planned(quota: Mapping[str, int], duration_s: float, per_minute: float | None, most: int) -> tuple[str, ...]:
    """The category of every question to ask about a video, in order.

    Args:
        quota: Questions by category; with `per_minute`, the proportion of the categories.
        duration_s: Length of the video.
        per_minute: Questions per minute of video, ``None`` for just the quota.
        most: Most questions; only with `per_minute`.

    Returns:
        At least one; the categories take turns, so that any number of first ones is close to the proportion. The order
        in which `quota` names them makes no difference: jobs that say the same ask the same.
    """
    total = sum(quota.values())
    if per_minute is not None:
        total = max(1, min(most, round(per_minute * duration_s / 60)))
    given = dict.fromkeys(quota, 0)
    names = [*(name for name in CATEGORIES if name in quota), *sorted(set(quota) - set(CATEGORIES))]
    weights = {name: quota[name] for name in names if quota[name]}
    order: list[str] = []
    for _ in range(total):
        name = min(weights, key=lambda name: (given[name] + 1) / weights[name])
        given[name] += 1
        order.append(name)
    return tuple(order)


def attributed(plan: Sequence[str], said: Sequence[str], requested: Iterable[str]) -> list[str]:
    """The category of each question that was asked for, whether it was written or not.

    Args:
        plan: The categories that were asked for.
        said: What the reply calls each question, in any case; empty where it does not say, or has no such question.
        requested: The categories of all questions about the video: a reply may name these and no others.

    Returns:
        What the reply says, where that was requested, even if more often than it was. The others get what is left of
        the plan, each what stands at its place if that is still left: so a category that was written is never the one
        that is missing.
    """
    names = {name.casefold(): name for name in (*requested, *plan)}
    found = [names.get(name.casefold()) for name in said]
    left = Counter(plan) - Counter(name for name in found if name is not None)
    for place, wanted in enumerate(plan):
        if found[place] is None and left[wanted]:
            found[place] = wanted
            left[wanted] -= 1
    others = left.elements()
    return [next(others) if name is None else name for name in found]


def unrequested(said: Iterable[str], requested: Iterable[str]) -> list[str]:
    """What a reply calls questions, once each, although no such category was requested."""
    names = {name.casefold() for name in requested}
    return list(dict.fromkeys(" ".join(name.split())[:MOST] for name in said if name and name.casefold() not in names))


MOST = 40
"""Characters of such a name that a note repeats."""
