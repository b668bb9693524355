"""What one request was believed to take, and what became of it, as the limits see it."""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

from lvqa_ray.errors import (
    ApiError,
    BadRequest,
    BudgetSpent,
    Disconnected,
    Overloaded,
    RateLimited,
    StopRun,
    TimedOut,
    TooLong,
)
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text

MEDIA_TOKENS = 800
"""Stand-in for the tokens of a picture until the reply says the true number."""
REPLY_TOKENS = 600
"""Stand-in for the tokens of a reply that has no limit of its own."""
ABOUT_ONE_REQUEST = frozenset({403})
"""Statuses that mean a wrong key at first, and once the key has worked, that this one request is forbidden."""
_CROWDED = frozenset({429, 503, 529})


class TokenEstimate(NamedTuple):
    """Tokens of one request, of its prompt and of its reply."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.input + self.output

    @classmethod
    def of(cls, request: ChatRequest) -> TokenEstimate:
        """A rough number of tokens for a request and its reply; the true one replaces it when the reply is there."""
        tokens = 0
        for message in request.messages:
            for part in message.parts:
                tokens += math.ceil(len(part.text) / 4) if isinstance(part, Text) else MEDIA_TOKENS
        return cls(tokens, REPLY_TOKENS if request.max_tokens is None else request.max_tokens)


class FailureScope(Enum):
    """Why a request has no answer, as far as it concerns other requests."""

    OVERLOAD = "turned away for there being too many, or not answered in time"
    DOWN = "the endpoint cannot be reached, or fails"
    REQUEST = "the endpoint works; the request or its reply is at fault"
    NOT_SENT = "it was not sent"
    UNKNOWN = "nobody waited for its end"


class RequestOutcome(NamedTuple):
    """What became of a request.

    Attributes:
        seconds: How long it took.
        used: Tokens that the endpoint counted; ``None`` keeps the estimate.
        failed: Why there is no answer; ``None`` if there is one.
        stage: Who asked.
        kind: Kind of the error, for the counters; empty for an answer.
        stop: The error, where no other request can succeed either.
        wait_s: Seconds that everyone has to wait, where the endpoint says so.
        rejected: Why the endpoint rejected the request as such; empty where it did not, or where that is no sign that
            it would reject others.
        paid: Whether a failed request brought a reply that was paid for.
        proven: Whether the endpoint is known to have answered before.
        keeps_place: Whether the place is in use for another request already.
    """

    seconds: float = 0.0
    used: TokenEstimate | None = None
    failed: FailureScope | None = None
    stage: str = ""
    kind: str = ""
    stop: StopRun | None = None
    wait_s: float | None = None
    rejected: str = ""
    paid: bool = False
    proven: bool = False
    keeps_place: bool = False

    @classmethod
    def answered(cls, request: ChatRequest, reply: ChatReply, seconds: float) -> RequestOutcome:
        """The outcome of a request with an answer."""
        used = TokenEstimate(reply.usage.input_tokens, reply.usage.output_tokens)
        return cls(
            seconds=seconds,
            used=used if used.total else None,  # 0: the endpoint does not say
            stage=request.stage,
            wait_s=reply.limits.wait_s() if reply.limits else None,
        )

    @classmethod
    def of_error(cls, request: ChatRequest, error: ApiError, seconds: float) -> RequestOutcome:
        """The outcome of a request that ended with an error."""
        unsent = isinstance(error, BudgetSpent)
        turned_away = (error.status or 0) >= 400  # before it cost tokens
        used = TokenEstimate() if unsent or turned_away else None
        if error.bill is not None and error.bill.input_tokens + error.bill.output_tokens:
            used = TokenEstimate(error.bill.input_tokens, error.bill.output_tokens)
        waits = [error.retry_after_s, error.limits.wait_s() if error.limits else None]
        return cls(
            seconds=seconds,
            used=used,
            failed=_why(error),
            stage=request.stage,
            kind=error.kind,
            # A copy without cause and traceback: they hold the request with its pictures.
            stop=type(error)(str(error), status=error.status) if isinstance(error, StopRun) else None,
            wait_s=max((wait for wait in waits if wait is not None), default=None),
            rejected=_rejection(request, error),
            paid=error.bill is not None,
        )


def _rejection(request: ChatRequest, error: ApiError) -> str:
    # Too long is the request's own fault, and one without a schema follows where that was what was rejected.
    if not isinstance(error, BadRequest) or isinstance(error, TooLong) or request.reply_schema is not None:
        return ""
    return str(error)


def _why(error: ApiError) -> FailureScope:
    if isinstance(error, BudgetSpent):
        return FailureScope.NOT_SENT
    if isinstance(error, TimedOut | RateLimited) or error.status in _CROWDED:
        return FailureScope.OVERLOAD
    down = isinstance(error, Disconnected | Overloaded) and error.bill is None  # with a bill it answers, if not well
    return FailureScope.DOWN if down else FailureScope.REQUEST
