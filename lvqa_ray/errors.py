"""The exception hierarchy of the package.

::

    LvqaError
    ├── ConfigError              the job or its environment is wrong; found before the first paid call
    ├── RunStopped               the run cannot continue after its first paid call; the same command resumes it
    ├── VideoError               this video cannot be used, and a retry will not help (kind: VideoFault)
    ├── FetchError               a remote file could not be fetched
    ├── ParseError               a reply is not in the requested format (kind: ParseFault)
    └── ApiError                 a call returned no answer
        ├── RetryableError       worth a retry
        │   ├── RateLimited      429
        │   │   └── NoCapacity   a cheaper tier has no capacity now: not billed, and not an attempt
        │   ├── Overloaded       5xx, 529
        │   ├── Disconnected     no connection, or it broke before the end of the reply
        │   ├── TimedOut         no reply within the deadline
        │   ├── MalformedReply   a reply that is no chat completion (HTML, no choices, null content)
        │   ├── BatchFailed      a file batch failed, or its result file lacks the request
        │   ├── EmptyReply       reasoning without an answer, or a reply that its server could not use
        │   └── Forbidden        403 for one request, from an endpoint that answers others with the same key
        ├── StopRun              no call can succeed until a person acts; the run stops and can be resumed
        │   ├── AuthFailed       401, 403
        │   ├── QuotaExceeded    402, insufficient_quota
        │   ├── EndpointDown     no answer for longer than the job allows
        │   ├── EndpointRejects  every request rejected for the same reason, none ever answered
        │   ├── NotFound         404: wrong path or model
        │   └── BudgetSpent      the job's own max_cost or max_requests is reached
        ├── Deferred             the request waits in a file batch; a later pass has its answer
        ├── BadRequest           other 4xx
        │   └── TooLong          the request does not fit the model's context
        ├── ContentFiltered      the endpoint's content filter blocked the request or the reply
        ├── Refused              the model declined
        ├── DegenerateReply      the reply repeats itself without end
        └── TruncatedReply       the reply hit the token limit

The transport chooses the class by code, type and HTTP status, and reads texts (`llm.transport.error_prose`) only if a
server gives nothing else. ``kind`` is the name in failure rows; ``retryable``: whether a later run should try again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol


class VideoFault(StrEnum):
    """Kinds of video errors. The input causes all of them, except a decoder that was killed from outside."""

    MISSING_FILE = "missing_file"
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    NOT_A_VIDEO = "not_a_video"
    NO_VIDEO_STREAM = "no_video_stream"
    NO_FRAMES = "no_frames"
    NO_DURATION = "no_duration"
    BAD_DIMENSIONS = "bad_dimensions"
    TRUNCATED = "truncated"
    ENCRYPTED = "encrypted"
    NO_CLIPS = "no_clips"
    TOO_MANY_CLIPS = "too_many_clips"
    DAMAGED = "damaged"
    BAD_SUBTITLES = "bad_subtitles"
    NO_RECOGNIZER = "no_recognizer"
    DECODER_CRASHED = "decoder_crashed"
    DECODER_TIMEOUT = "decoder_timeout"
    DECODER_MEMORY = "decoder_memory"


NOT_HAD = frozenset({VideoFault.MISSING_FILE, VideoFault.EMPTY_FILE, VideoFault.UNREADABLE, VideoFault.NOT_A_VIDEO})
"""Faults of the whole file. If the file was readable when its captions were made, it may become readable again."""


class ParseFault(StrEnum):
    """Kinds of parse errors in replies."""

    NO_QUESTION = "no_question"
    NO_OPTIONS = "no_options"
    BAD_OPTIONS = "bad_options"
    MISSING_OPTION = "missing_option"
    EMPTY_OPTION = "empty_option"
    DUPLICATE_OPTION = "duplicate_option"
    NO_ANSWER = "no_answer"
    BAD_ANSWER = "bad_answer"
    NO_REASONS = "no_reasons"
    BAD_STEP = "bad_step"
    SEVERAL_QUESTIONS = "several_questions"
    REFUSAL = "refusal"
    TRUNCATED = "truncated"
    BAD_JSON = "bad_json"
    EMPTY_REPLY = "empty_reply"
    BAD_TREE = "bad_tree"


class LvqaError(Exception):
    """Root of the hierarchy. The message is one sentence for the user and never contains a secret."""


class ConfigError(LvqaError):
    """The job, its input list or its endpoint is wrong; nothing has been paid yet."""


class RunStopped(LvqaError):
    """The run stops after its first paid call. Paid replies are cached, and the same command resumes the run."""


class VideoError(LvqaError):
    """A video that cannot be used.

    Args:
        kind: What is wrong.
        message: One sentence: what is wrong, where, and how to fix it.
        retryable: Whether a later run should try again even if the file has not changed (its permissions may have).
    """

    def __init__(self, kind: VideoFault, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, str(self), self.retryable)


class FetchError(LvqaError):
    """A remote file that could not be fetched.

    Args:
        kind: What went wrong, in snake case.
        message: One sentence, without parts of the URL that may be secret.
        retryable: Whether a later run should try again.
    """

    def __init__(self, kind: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable


class ParseError(LvqaError):
    """A reply that does not have the requested format.

    Args:
        kind: What is wrong.
        message: One sentence. A retry sends it to the model, so it is part of that request's cache key.
    """

    def __init__(self, kind: ParseFault, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, str(self))


class SaysWait(Protocol):
    """Rate-limit information of a reply."""

    def wait_s(self) -> float | None:
        """Seconds until the endpoint accepts another request, or ``None`` if it does now."""


class Bill(NamedTuple):
    """Billed usage of a reply; the fields are those of `records.Usage`."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class ApiError(LvqaError):
    """A call that returned no answer.

    Args:
        message: One sentence, free of secrets.
        status: HTTP status, if there was a reply.
        retry_after_s: Seconds the endpoint asks the client to wait, if given.

    Attributes:
        attempts: How often the request was sent.
        raw: Text of a reply that cannot be used, such as a truncated one.
        limits: Rate-limit information of the reply, if any; an `llm.rate_headers.RateInfo`.
        spared: Whether the endpoint was down for all requests, so that the attempt does not count for this one.
        bill: Cost of that reply; ``None`` without a reply.
        cached: Whether an earlier call paid the bill.
        retryable: Whether a later run should try again.
    """

    kind: ClassVar[str] = "api_error"
    retryable: bool = False

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.attempts = 1
        self.raw = ""
        self.limits: SaysWait | None = None
        self.spared = False
        self.bill: Bill | None = None
        self.cached = False


class RetryableError(ApiError):
    """Worth a retry, now or in a later run."""

    retryable = True


class RateLimited(RetryableError):
    """The endpoint's rate limit is reached (429)."""

    kind = "rate_limited"


class NoCapacity(RateLimited):
    """A cheaper tier of the endpoint has no capacity for the request now, or did not process it in time; not billed."""

    kind = "no_capacity"


class Overloaded(RetryableError):
    """The endpoint failed or is overloaded."""

    kind = "overloaded"


class Disconnected(RetryableError):
    """No connection, or it ended before the reply did."""

    kind = "disconnected"


class TimedOut(RetryableError):
    """No complete reply within the deadline."""

    kind = "timed_out"


class MalformedReply(RetryableError):
    """A 200 whose body is not a usable chat completion."""

    kind = "malformed_reply"


class BatchFailed(RetryableError):
    """A file batch was not accepted, failed its validation, or ended without a result for the request."""

    kind = "batch_failed"


class Deferred(ApiError):
    """The request waits in a file batch: the row has no outcome in this pass."""

    kind = "deferred"
    retryable = True


class EmptyReply(RetryableError):
    """A completion without an answer: only reasoning, or a call of a tool that was not offered."""

    kind = "empty_reply"


class Forbidden(RetryableError):
    """The endpoint forbids this request but answers others with the same key."""

    kind = "request_forbidden"


class StopRun(ApiError):
    """No call can succeed until a person acts. The run stops; a restart resumes it."""

    kind = "stopped"
    retryable = True


class AuthFailed(StopRun):
    """The endpoint does not accept the key."""

    kind = "auth_failed"


class QuotaExceeded(StopRun):
    """The account has no money or quota left."""

    kind = "quota_exceeded"


class EndpointDown(StopRun):
    """The endpoint has given no answer for longer than the job allows."""

    kind = "endpoint_down"


class EndpointRejects(StopRun):
    """The endpoint has rejected every request for the same reason, and has never given an answer."""

    kind = "endpoint_rejects"


class NotFound(StopRun):
    """The path or the model does not exist."""

    kind = "not_found"


class BudgetSpent(StopRun):
    """The run has reached its budget (`max_cost` or `max_requests`)."""

    kind = "budget_spent"


class BadRequest(ApiError):
    """The endpoint rejects this request, and will reject every retry."""

    kind = "bad_request"


class TooLong(BadRequest):
    """The request does not fit the model's context."""

    kind = "too_long"


class ContentFiltered(ApiError):
    """The endpoint's content filter blocked the request or the reply."""

    kind = "content_filtered"


class Refused(ApiError):
    """The model declined to answer."""

    kind = "refused"


class DegenerateReply(ApiError):
    """The reply repeats itself without end, or is far too long."""

    kind = "degenerate_reply"


class TruncatedReply(ApiError):
    """The reply hit the token limit before its end."""

    kind = "truncated_reply"
