"""What each class of error means for the request, the row and the run: one table, which the code reads.

=============== ======================================= ====== ===========================================
class           asked again                             kept   the row
=============== ======================================= ====== ===========================================
RetryableError  by the endpoint's ``max_attempts``      no     fails until a rerun
MalformedReply  at most 5 times: each may be paid for   no     fails until a rerun
Overloaded      twice, where a reply was paid for       no     fails until a rerun
EmptyReply      once: it was paid for                   no     fails until a rerun
Forbidden       once; `Limited` tells it from the key   no     fails until a rerun
StopRun         no: the run stops                       no     has no outcome; the next run does it
TooLong         with fewer frames, then smaller ones    yes    fails, if nothing fits
TruncatedReply  once, with twice the ``max_tokens``     yes    fails; `ask` makes its fresh tries before
filter, refuse  no                                      yes    fails
DegenerateReply no: the reply itself is in the journal  no     fails; `ask` makes its fresh tries before
BadRequest      without the schema, if it had one       no     fails
=============== ======================================= ====== ===========================================

*Kept* is about a reply that was paid for: it stays in the journal and answers the same request in a later run, since
asking again would pay again for the same. ``engine.retry_failures`` asks again all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray import errors
from lvqa_ray.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about a class of error.

    Attributes:
        attempts: How often the same request is sent at most; ``None`` for the endpoint's ``max_attempts``.
        kept: Whether the reply, if it was paid for, answers the same request from then on.
    """

    attempts: int | None = 1
    kept: bool = False


_ONCE, _AGAIN, _KEPT = Policy(), Policy(attempts=None), Policy(kept=True)

POLICIES: Mapping[type[ApiError], Policy] = {
    errors.ApiError: _ONCE,
    errors.RetryableError: _AGAIN,
    errors.MalformedReply: Policy(attempts=5),
    errors.EmptyReply: Policy(attempts=2),
    errors.Forbidden: Policy(attempts=2),
    errors.TooLong: _KEPT,
    errors.ContentFiltered: _KEPT,
    errors.Refused: _KEPT,
    errors.TruncatedReply: _KEPT,
}
"""A class without a policy of its own has that of its parent."""

BROKEN_OFF = Policy(attempts=3)
"""For `Overloaded` with a bill: the server broke off a reply that it counts, and may break off the next one too."""

KEPT: Mapping[str, type[ApiError]] = {kind.kind: kind for kind, policy in POLICIES.items() if policy.kept}
"""The classes whose replies stay in the journal, by their names there."""


def policy_of(error: ApiError) -> Policy:
    """What is done about an error."""
    if isinstance(error, errors.Overloaded) and error.bill is not None:
        return BROKEN_OFF
    return next(POLICIES[kind] for kind in type(error).__mro__ if kind in POLICIES)
