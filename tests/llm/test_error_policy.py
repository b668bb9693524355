"""The policy of each class of error, and the table that says what is done about it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from lvqa_ray import errors
from lvqa_ray.errors import ApiError, Bill
from lvqa_ray.llm import error_policy
from lvqa_ray.llm.error_policy import KEPT, policy_of

COUNTS = {"no": 1, "without": 1, "with": 1, "once": 2, "twice": 3, "four": 5, "up": None}
"""First word of the second column of the table -> maximum number of attempts of the same request."""


def classes(root: type[ApiError]) -> Iterator[type[ApiError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


def rows() -> dict[type[ApiError], tuple[str, bool, str]]:
    """The table of the docstring: of each class that it names, the last three columns."""
    lines = (error_policy.__doc__ or "").split("\n")
    _, first, last = (number for number, line in enumerate(lines) if line.startswith("="))
    cuts = [found.start() for found in re.finditer("=+", lines[first])]
    found = {}
    for line in lines[first + 1 : last]:
        name, again, kept, row = (line[start:end].strip() for start, end in zip(cuts, [*cuts[1:], None], strict=True))
        for kind in (errors.ContentFiltered, errors.Refused) if "," in name else (getattr(errors, name),):
            found[kind] = (again, kept == "yes", row)
    return found


TABLE = rows()


@pytest.mark.parametrize("kind", list(classes(ApiError)), ids=lambda kind: kind.__name__)
def test_the_table_says_what_the_code_does(kind: type[ApiError]) -> None:
    error = kind("why")
    policy = policy_of(error)
    assert (policy.attempts != 1) == issubclass(kind, errors.RetryableError)
    named = next((each for each in kind.__mro__ if each in TABLE), None)
    if named is None:
        assert kind is ApiError
        return
    again, kept, row = TABLE[named]
    assert policy.kept == kept
    assert kind.retryable == (row in {"fails until a rerun", "has no outcome; the next run processes it"})
    if kind is errors.Overloaded:  # the table is about one with a bill, the other is a RetryableError like any other
        assert policy.attempts is None
        error.bill = Bill(1, 1, None)
        policy = policy_of(error)
    at_most = COUNTS[re.findall("[a-z]+", again)[0]]
    if kind is not errors.TruncatedReply:  # retried with more tokens, which is another request
        assert policy.attempts == at_most


def test_names_in_the_journal_are_unique() -> None:
    leaves = [kind for kind in classes(ApiError) if kind.__subclasses__() == []]
    assert len({kind.kind for kind in leaves}) == len(leaves)
    assert all(KEPT[name].kind == name for name in KEPT)
