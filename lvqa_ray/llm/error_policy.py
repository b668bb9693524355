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
from typing import Literal

from lvqa_ray import errors
from lvqa_ray.errors import ApiError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is done about a class of error.

    Attributes:
        attempts: How often the same request is sent at most; ``None`` for the endpoint's ``max_attempts``.
        mend: What is changed about the request before it is sent once more, if anything can be.
        paid: Whether the endpoint may have counted tokens.
        kept: Whether the reply, if it was paid for, answers the same request from then on.
        row: What becomes of the row in the end: it ``fails``, it fails until a ``rerun``, or it has no outcome yet and
            is ``left`` to the next run.
        stops: Whether the run stops.
    """

    attempts: int | None = 1
    mend: Literal["", "fewer and smaller pictures", "more tokens", "no schema"] = ""
    paid: bool = False
    kept: bool = False
    row: Literal["fails", "rerun", "left"] = "fails"
    stops: bool = False


_AGAIN = Policy(attempts=None, row="rerun")
_STOP = Policy(row="left", stops=True)

POLICIES: Mapping[type[ApiError], Policy] = {
    errors.ApiError: Policy(),
    errors.RetryableError: _AGAIN,
    errors.RateLimited: _AGAIN,
    errors.Overloaded: _AGAIN,
    errors.Disconnected: Policy(attempts=None, row="rerun", paid=True),
    errors.TimedOut: Policy(attempts=None, row="rerun", paid=True),
    errors.MalformedReply: Policy(attempts=5, row="rerun", paid=True),
    errors.EmptyReply: Policy(attempts=2, row="rerun", paid=True),
    errors.Forbidden: Policy(attempts=2, row="rerun"),
    errors.StopRun: _STOP,
    errors.AuthFailed: _STOP,
    errors.QuotaExceeded: _STOP,
    errors.EndpointDown: _STOP,
    errors.EndpointRejects: _STOP,
    errors.NotFound: _STOP,
    errors.BudgetSpent: _STOP,
    errors.BadRequest: Policy(mend="no schema"),
    errors.TooLong: Policy(mend="fewer and smaller pictures", paid=True, kept=True),
    errors.ContentFiltered: Policy(paid=True, kept=True),
    errors.Refused: Policy(paid=True, kept=True),
    errors.DegenerateReply: Policy(paid=True),
    errors.TruncatedReply: Policy(mend="more tokens", paid=True, kept=True),
}

BROKEN_OFF = Policy(attempts=3, row="rerun", paid=True)
"""For `Overloaded` with a bill: the server broke off a reply that it counts, and may break off the next one too."""

KEPT: Mapping[str, type[ApiError]] = {kind.kind: kind for kind, policy in POLICIES.items() if policy.kept}
"""The classes whose replies stay in the journal, by their names there."""


def policy_of(error: ApiError) -> Policy:
    """What is done about an error."""
    if isinstance(error, errors.Overloaded) and error.bill is not None:
        return BROKEN_OFF
    return next(POLICIES[kind] for kind in type(error).__mro__ if kind in POLICIES)
