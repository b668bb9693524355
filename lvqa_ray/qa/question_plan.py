"""Question plan: how many questions of which category are requested."""

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
"""Prompt text for each category: what it asks about."""


def planned(quota: Mapping[str, int], duration_s: float, per_minute: float | None, most: int) -> tuple[str, ...]:
    """Plan the category of every question about a video, in order.

    Args:
        quota: Questions per category; with `per_minute`, the proportion of the categories.
        duration_s: Length of the video (s).
        per_minute: Questions per minute of video; ``None`` for exactly the quota.
        most: Maximum number of questions; only with `per_minute`.

    Returns:
        At least one category. Categories alternate, so every prefix is close to the proportion. The order of keys in
        `quota` has no effect, so equivalent jobs send the same requests.
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


def attributed(plan: Sequence[str], stated: Sequence[str], requested: Iterable[str]) -> list[str]:
    """Assign a category to each requested question, written or not.

    Args:
        plan: The requested categories.
        stated: Category of each question in the reply, in any case; empty if not stated or not written.
        requested: Categories of all questions about the video; other names in a reply do not count.

    Returns:
        The stated category if it was requested, even if it is stated too often. The other questions get the rest of
        the plan, at the same index where possible. So no category that was written counts as missing.
    """
    names = {name.casefold(): name for name in (*requested, *plan)}
    found = [names.get(name.casefold()) for name in stated]
    left = Counter(plan) - Counter(name for name in found if name is not None)
    for place, wanted in enumerate(plan):
        if found[place] is None and left[wanted]:
            found[place] = wanted
            left[wanted] -= 1
    others = left.elements()
    return [next(others) if name is None else name for name in found]


def unrequested(stated: Iterable[str], requested: Iterable[str]) -> list[str]:
    """Category names in a reply that were not requested, without duplicates."""
    names = {name.casefold() for name in requested}
    return list(
        dict.fromkeys(" ".join(name.split())[:MOST] for name in stated if name and name.casefold() not in names)
    )


MOST = 40
"""Maximum number of characters of such a name in a note."""
