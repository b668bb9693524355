"""Agreement of two lists of cuts."""

from __future__ import annotations

from collections.abc import Sequence


def f1(found: Sequence[float], true: Sequence[float], *, within_s: float) -> float:
    """F1 score of found cuts; each true cut is matched at most once, the nearest free one in time order.

    Args:
        found: Times of the found cuts (s), ascending.
        true: Times of the true cuts (s), ascending.
        within_s: Tolerance of a match (s).

    Returns:
        0 to 1; 1 if both lists are empty.
    """
    if not found and not true:
        return 1.0
    hits = i = j = 0
    while i < len(found) and j < len(true):
        if abs(found[i] - true[j]) <= within_s + 1e-6:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < true[j]:
            i += 1
        else:
            j += 1
    return 2 * hits / (len(found) + len(true))
