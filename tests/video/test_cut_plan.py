from __future__ import annotations

from collections.abc import Sequence

import pytest

from lvqa_ray.video.cutting.smart_cut_plan import NotExactError, SmartCutPlan, Stamp, plan_cut


def stamps(shown: Sequence[int], idrs: Sequence[int]) -> list[Stamp]:
    """Packets in decoding order, one a tick; ``shown`` says when, two ticks after the earliest possible."""
    return [Stamp(pts + 2, dts, 1, dts in idrs) for dts, pts in enumerate(shown)]


def plan(packets: Sequence[Stamp], start: float, end: float) -> SmartCutPlan:
    return plan_cut(packets, start=start, end=end, slack=0.01, long_frame=1.5)


B_FRAMES = [0, 3, 1, 2, 4, 7, 5, 6, 8, 11, 9, 10]
"""Decoding order of three groups I P b b, and when each frame is shown."""


def test_head_and_tail_are_encoded_and_the_rest_copied() -> None:
    found = plan(stamps(B_FRAMES, [0, 4, 8]), 2 + 2, 2 + 10)
    assert (found.zero, found.end, found.key, found.stop, found.tail_key) == (4, 12, 4, 9, 8)
    assert [slot.frame for slot in found.head] == [4, 5]
    assert [slot.frame for slot in found.tail] == [11]
    assert [(slot.pts, slot.dts) for slot in found.head] == [(0, -2), (1, -1)]
    assert [(slot.pts, slot.dts) for slot in found.tail] == [(7, 5)]


def test_whole_groups_are_all_copied() -> None:
    found = plan(stamps(B_FRAMES, [0, 4, 8]), 2 + 4, 2 + 12)
    assert (found.head, found.key, found.stop, found.tail) == ((), 4, 12, ())


@pytest.mark.parametrize("end", range(8, 15))
@pytest.mark.parametrize("start", range(2, 7))
def test_every_frame_has_one_place_and_times_rise(start: int, end: int) -> None:
    packets = stamps(B_FRAMES, [0, 4, 8])
    found = plan(packets, start, end)
    copied = packets[found.key : found.stop]
    frames = [slot.frame for slot in found.head] + sorted(stamp.pts for stamp in copied)
    assert frames + [slot.frame for slot in found.tail] == list(range(start, end))
    decoded = [slot.dts for slot in found.head] + [stamp.dts - found.zero for stamp in copied]
    decoded += [slot.dts for slot in found.tail]
    assert decoded == sorted(set(decoded))
    assert all(slot.dts <= slot.pts for slot in found.head + found.tail)


@pytest.mark.parametrize(
    ("packets", "says"),
    [
        ([], "no key frame that stands alone lies within"),
        (stamps(B_FRAMES, [0]), "no key frame that stands alone lies within"),
        (stamps([0, 3, 1, 2, 6, 4, 5, 7], [0, 4]), "across the key frame"),
        (stamps([0, 3, 1, 1, 4, 7, 5, 6], [0, 4]), "share a time"),
        ([Stamp(2, 0, 1, True), Stamp(3, 0, 1, True)], "do not rise"),
    ],
)
def test_what_cannot_be_planned_says_why(packets: list[Stamp], says: str) -> None:
    with pytest.raises(NotExactError, match=says):
        plan(packets, 3, 12)
