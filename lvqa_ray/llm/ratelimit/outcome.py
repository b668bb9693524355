"""Token estimate of a request, and its outcome as the rate limiter sees it."""

from __future__ import annotations

import math
from enum import Enum
from typing import NamedTuple

from lvqa_ray.errors import (
    ApiError,
    BadRequest,
    BudgetSpent,
    Disconnected,
    NoCapacity,
    Overloaded,
    RateLimited,
    StopRun,
    TimedOut,
    TooLong,
)
from lvqa_ray.llm.messages import CHARS_PER_TOKEN, ChatReply, ChatRequest, Text

MEDIA_TOKENS = 800
"""Estimated tokens of an image, until the reply reports the real number."""
UNLIMITED_REPLY_TOKENS = 600
"""Estimated tokens of a reply without a limit."""
ABOUT_ONE_REQUEST = frozenset({403})
"""Statuses that mean a wrong key at first; once the key has worked, they concern one request."""
_CROWDED = frozenset({429, 503, 529})


class TokenEstimate(NamedTuple):
    """Tokens of one request: prompt and reply."""

    input: int = 0
    output: int = 0

    @property
    def total(self) -> int:
        """Prompt and reply together."""
        return self.input + self.output

    @classmethod
    def of(cls, request: ChatRequest) -> TokenEstimate:
        """A rough estimate for a request and its reply, replaced by the real number when the reply arrives."""
        tokens = 0
        for message in request.messages:
            for part in message.parts:
                tokens += math.ceil(len(part.text) / CHARS_PER_TOKEN) if isinstance(part, Text) else MEDIA_TOKENS
        return cls(tokens, UNLIMITED_REPLY_TOKENS if request.max_tokens is None else request.max_tokens)


class FailureScope(Enum):
    """What a failed request says about other requests."""

    OVERLOAD = "refused as one too many, or timed out"
    DOWN = "the endpoint cannot be reached, or fails"
    FULL = "its tier has no capacity"
    REQUEST = "the endpoint works; the request or its reply is at fault"
    NOT_SENT = "it was not sent"
    UNKNOWN = "nobody waited for its reply"


class RequestOutcome(NamedTuple):
    """Outcome of a request.

    Attributes:
        seconds: Latency.
        used: Tokens that the endpoint counted; ``None`` keeps the estimate.
        failed: Scope of the failure; ``None`` for an answer.
        stage: Stage of the request.
        kind: Kind of the error, for the counters; empty for an answer.
        stop: The error, if no other request can succeed either.
        wait_s: Pause for all requests, if the endpoint asks for one (s).
        rejected: Why the endpoint rejected the request; empty if it did not, or if that says nothing about others.
        paid: Whether a failed request brought a reply that was paid for.
        proven: Whether the endpoint is known to have answered before.
        keeps_place: Whether the lease is already reused for another request.
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
            used=used if used.total else None,  # 0: the endpoint reports no usage
            stage=request.stage,
            wait_s=reply.limits.wait_s() if reply.limits else None,
        )

    @classmethod
    def of_error(cls, request: ChatRequest, error: ApiError, seconds: float) -> RequestOutcome:
        """The outcome of a request that ended with an error."""
        unsent = isinstance(error, BudgetSpent)
        turned_away = (error.status or 0) >= 400  # such a reply costs no tokens
        used = TokenEstimate() if unsent or turned_away else None
        if error.bill is not None and error.bill.input_tokens + error.bill.output_tokens:
            used = TokenEstimate(error.bill.input_tokens, error.bill.output_tokens)
        waits = [error.retry_after_s, error.limits.wait_s() if error.limits else None]
        waits = (
            [] if isinstance(error, NoCapacity) else waits
        )  # other requests may find capacity, or go to another tier
        return cls(
            seconds=seconds,
            used=used,
            failed=_why(error),
            stage=request.stage,
            kind=error.kind,
            # A copy without cause and traceback, which would keep the request and its images alive.
            stop=type(error)(str(error), status=error.status) if isinstance(error, StopRun) else None,
            wait_s=max((wait for wait in waits if wait is not None), default=None),
            rejected=_rejection(request, error),
            paid=error.bill is not None,
        )


def _rejection(request: ChatRequest, error: ApiError) -> str:
    # A request that is too long says nothing about others; one rejected with a schema is sent again without it.
    if not isinstance(error, BadRequest) or isinstance(error, TooLong) or request.reply_schema is not None:
        return ""
    return str(error)


def _why(error: ApiError) -> FailureScope:
    if isinstance(error, BudgetSpent):
        return FailureScope.NOT_SENT
    if isinstance(error, NoCapacity):
        return FailureScope.FULL
    if isinstance(error, TimedOut | RateLimited) or error.status in _CROWDED:
        return FailureScope.OVERLOAD
    down = isinstance(error, Disconnected | Overloaded) and error.bill is None  # with a bill, the endpoint works
    return FailureScope.DOWN if down else FailureScope.REQUEST
