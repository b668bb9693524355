"""Error policy: what each class of error means for the request, the row and the run, as the table that the code reads.

=============== ======================================= ====== ===========================================
class           retried                                 kept   the row
=============== ======================================= ====== ===========================================
RetryableError  up to ``max_attempts``                  no     fails until a rerun
NoCapacity      up to a fallback, uncounted             no     fails until a rerun
BatchFailed     twice, in other batches                 no     fails until a rerun
Deferred        no: a later pass of the run has it      no     has no outcome; the next run processes it
MalformedReply  four times: each may be paid for        no     fails until a rerun
Overloaded      twice, if a reply was paid for          no     fails until a rerun
EmptyReply      once: it was paid for                   no     fails until a rerun
Forbidden       once (status 403 with a valid key)      no     fails until a rerun
StopRun         no: the run stops                       no     has no outcome; the next run processes it
TooLong         with fewer frames, then smaller ones    yes    fails if nothing fits
TruncatedReply  once, with twice the ``max_tokens``     yes    fails, after the fresh attempts of `ask`
filter, refuse  no                                      yes    fails
DegenerateReply no: the reply is in the cache           no     fails, after the fresh attempts of `ask`
BadRequest      without the schema, if it had one       no     fails
=============== ======================================= ====== ===========================================

*Kept* concerns paid replies: the reply stays in the cache and answers the same request in later runs, since a retry
would pay for the same again. ``engine.retry_failures`` retries such requests too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray import errors
from lvqa_ray.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Policy for a class of error.

    Attributes:
        attempts: Maximum number of attempts of the same request; ``None`` for the endpoint's ``max_attempts``.
        kept: Whether the reply, if it was paid for, answers the same request from then on.
    """

    attempts: int | None = 1
    kept: bool = False


_ONCE, _AGAIN, _KEPT = Policy(), Policy(attempts=None), Policy(kept=True)

POLICIES: Mapping[type[ApiError], Policy] = {
    errors.ApiError: _ONCE,
    errors.RetryableError: _AGAIN,
    errors.MalformedReply: Policy(attempts=5),
    errors.BatchFailed: Policy(attempts=3),
    errors.EmptyReply: Policy(attempts=2),
    errors.Forbidden: Policy(attempts=2),
    errors.TooLong: _KEPT,
    errors.ContentFiltered: _KEPT,
    errors.Refused: _KEPT,
    errors.TruncatedReply: _KEPT,
}
"""A class without a policy has that of its nearest base class."""

BROKEN_OFF = Policy(attempts=3)
"""For `Overloaded` with a bill: the server aborted a reply that it charges, and may abort the next one too."""

KEPT: Mapping[str, type[ApiError]] = {kind.kind: kind for kind, policy in POLICIES.items() if policy.kept}
"""Classes of errors whose replies stay in the cache, by their names in the journal."""


def policy_of(error: ApiError) -> Policy:
    """The policy for an error."""
    if isinstance(error, errors.BatchFailed) and error.status == 400:
        return _ONCE
    if isinstance(error, errors.Overloaded) and error.bill is not None:
        return BROKEN_OFF
    return next(POLICIES[kind] for kind in type(error).__mro__ if kind in POLICIES)
