"""Every class of error has its policy, and the policy says what the code does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lvqa_ray import errors
from lvqa_ray.errors import ApiError
from lvqa_ray.llm.error_policy import KEPT, POLICIES, policy_of


def classes(root: type[ApiError]) -> Iterator[type[ApiError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


def test_every_class_has_a_policy_of_its_own() -> None:
    assert set(POLICIES) == set(classes(ApiError))


@pytest.mark.parametrize("kind", POLICIES, ids=lambda kind: kind.__name__)
def test_a_policy_agrees_with_the_tree(kind: type[ApiError]) -> None:
    policy = policy_of(kind("why"))
    assert policy is POLICIES[kind]
    assert policy.stops == issubclass(kind, errors.StopRun)
    assert (policy.row == "left") == policy.stops
    assert (policy.row != "fails") == kind.retryable
    assert (policy.attempts != 1) == issubclass(kind, errors.RetryableError)
    if policy.kept:
        assert policy.paid
        assert policy.row == "fails"


def test_names_in_the_journal_are_unique() -> None:
    assert len({kind.kind for kind in POLICIES if kind.__subclasses__() == []}) == sum(
        kind.__subclasses__() == [] for kind in POLICIES
    )
    assert all(KEPT[name].kind == name for name in KEPT)
