"""Every exception of the package, in one tree.

::

    LvqaError
    ├── ConfigError              the job or its surroundings are wrong; found before the first paid call
    ├── RunStopped               the run cannot go on after its first paid call; the same command resumes it
    ├── VideoError               this video cannot be used, and asking again will not help (kind: VideoFault)
    ├── FetchError               a remote file could not be had
    ├── ParseError               a reply is not in the format that was asked for (kind: ParseFault)
    └── ApiError                 a call did not give an answer
        ├── RetryableError       worth asking again
        │   ├── RateLimited      429
        │   ├── Overloaded       5xx, 529
        │   ├── Disconnected     no connection, or it broke before the end of the reply
        │   ├── TimedOut         no reply within the deadline
        │   ├── MalformedReply   a reply that is no chat completion (HTML, no choices, null content)
        │   ├── EmptyReply       a draft without an answer, or a reply that its server could not use
        │   └── Forbidden        403 for one request, by an endpoint that answers others with the same key
        ├── StopRun              no call can succeed until a person acts; the run stops and stays resumable
        │   ├── AuthFailed       401, 403
        │   ├── QuotaExceeded    402, insufficient_quota
        │   ├── EndpointDown     no answer for longer than the job allows
        │   ├── EndpointRejects  every request rejected for the same reason, and none ever answered
        │   ├── NotFound         404: wrong path or model
        │   └── BudgetSpent      the job's own max_cost or max_requests is reached
        ├── BadRequest           other 4xx
        │   └── TooLong          the request does not fit the model's context
        ├── ContentFiltered      the endpoint's filter held the request or the reply back
        ├── Refused              the model declined
        ├── DegenerateReply      the reply repeats itself without an end
        └── TruncatedReply       the reply ran into the token limit

Classes are chosen by code, type and status; words choose only where a server gives nothing else, by the one table in
`llm.transport.error_prose`. ``kind`` is the snake-case name that goes into a failure row; ``retryable`` says whether a
later run should try again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol


class VideoFault(StrEnum):
    """What is wrong with a video: all of these are the input's own fault, but for a decoder killed from outside."""

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
"""Faults of the file and of no span: one that was a video when its captions were made may be one again."""


class ParseFault(StrEnum):
    """Why a reply could not be read as a question."""

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
    """Root of the tree; its text is one sentence for the user and never holds a secret."""


class ConfigError(LvqaError):
    """The job, its input list or its endpoint is wrong; nothing has been paid for."""


class RunStopped(LvqaError):
    """The run stops after its first paid call; what is paid for is kept, and the same command goes on from there."""


class VideoError(LvqaError):
    """A video that cannot be used.

    Args:
        kind: What is wrong.
        message: One sentence: what, where, and what would mend it.
        retryable: Whether a later run should try again although the file has not changed: its permissions may have.
    """

    def __init__(self, kind: VideoFault, message: str, retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, str(self), self.retryable)


class FetchError(LvqaError):
    """A remote file that could not be had.

    Args:
        kind: What went wrong, in snake case.
        message: One sentence without what may be secret in the address.
        retryable: Whether a later run should try again.
    """

    def __init__(self, kind: str, message: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable


class ParseError(LvqaError):
    """A reply that does not have the asked-for format.

    Args:
        kind: What is wrong.
        message: One sentence that can be shown to the model in a second ask.
    """

    def __init__(self, kind: ParseFault, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.kind, str(self))


class SaysWait(Protocol):
    """What a reply says about the limits behind it."""

    def wait_s(self) -> float | None:
        """Seconds for which no request would be taken, or ``None`` if one would be now."""
        ...


class Bill(NamedTuple):
    """What the endpoint counted for a reply: prompt and reply tokens, and US dollars where a price is known."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None


class ApiError(LvqaError):
    """A call that gave no answer.

    Args:
        message: One sentence, free of secrets.
        status: HTTP status, if there was a reply.
        retry_after_s: Seconds the endpoint asks to wait, if it says so.

    Attributes:
        attempts: How often the request was sent before this was given up.
        raw: The text of a reply that came but cannot be used, such as a truncated one.
        limits: What the reply said about the endpoint's limits, if anything; an `llm.rate_headers.RateInfo`.
        spared: Whether the endpoint was down for everyone, so that the attempt does not count against the request.
        bill: What such a reply cost; ``None`` where there was none.
        cached: Whether the bill was paid by an earlier call.
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
    """Worth asking again, now or in a later run."""

    retryable = True


class RateLimited(RetryableError):
    """The endpoint asked us to slow down."""

    kind = "rate_limited"


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


class EmptyReply(RetryableError):
    """A completion without an answer: a draft alone, or a call of a tool that nobody offered."""

    kind = "empty_reply"


class Forbidden(RetryableError):
    """The endpoint forbids this request, and answers others with the same key."""

    kind = "request_forbidden"


class StopRun(ApiError):
    """No call can succeed until a person acts: the run stops, and goes on where it was when started again."""

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
    """The run has spent what the job allows it to."""

    kind = "budget_spent"


class BadRequest(ApiError):
    """The endpoint will not take this request, however often it is sent."""

    kind = "bad_request"


class TooLong(BadRequest):
    """The request does not fit the model's context."""

    kind = "too_long"


class ContentFiltered(ApiError):
    """The endpoint's content filter held back the request or the reply."""

    kind = "content_filtered"


class Refused(ApiError):
    """The model declined to answer."""

    kind = "refused"


class DegenerateReply(ApiError):
    """The reply repeats itself without an end, or is absurdly long."""

    kind = "degenerate_reply"


class TruncatedReply(ApiError):
    """The reply hit the token limit before its end."""

    kind = "truncated_reply"
