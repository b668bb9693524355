"""Error mapping: the class of `errors` for a failed call, chosen by code, type and status.

Words of a message decide only if a server gives nothing else, by the table in `error_prose`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import aiohttp
import httpx2

from lvqa_ray.errors import (
    ApiError,
    AuthFailed,
    BadRequest,
    BatchFailed,
    ContentFiltered,
    Disconnected,
    EmptyReply,
    MalformedReply,
    NoCapacity,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    Refused,
    TimedOut,
    TooLong,
    TruncatedReply,
)
from lvqa_ray.llm.price_tiers import Tier
from lvqa_ray.llm.rate_headers import RateInfo
from lvqa_ray.llm.transport.error_body import decoded, names_in, quote_of, words_in
from lvqa_ray.llm.transport.error_codes import BY_CODE, BY_PART, PRECEDENCE
from lvqa_ray.llm.transport.error_prose import PROSE
from lvqa_ray.llm.transport.tier_faults import on_tier
from lvqa_ray.records.safe_text import safe_text

QUOTE_CHARS = 200
"""Maximum characters of the endpoint's own words in our message."""

LONGEST_CODE = 80
"""Maximum characters of a code; a longer one is a sentence."""
_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthFailed,
    402: QuotaExceeded,
    403: AuthFailed,
    404: NotFound,
    408: TimedOut,
    409: Overloaded,
    413: TooLong,
    429: RateLimited,
    446: ContentFiltered,  # Portkey: a guardrail denied the request
    451: ContentFiltered,
}
_GROQ_FULL = 498
"""Status of Groq's flex tier without capacity."""
_NO_CONNECTION = (httpx2.ConnectTimeout, httpx2.PoolTimeout, aiohttp.ConnectionTimeoutError)
_SENTENCES: dict[type[ApiError], str] = {
    AuthFailed: "The endpoint does not accept the key",
    BatchFailed: "The file batch failed",
    BadRequest: "The endpoint does not take the request",
    ContentFiltered: "The endpoint's content filter held the call back",
    EmptyReply: "The reply holds no answer",
    Disconnected: "The connection to the endpoint failed",
    NoCapacity: "The endpoint has no capacity for this tier now",
    MalformedReply: "The reply is not a chat completion",
    NotFound: "The endpoint does not know the path or the model",
    Overloaded: "The endpoint failed or is overloaded",
    QuotaExceeded: "The account has no quota left",
    RateLimited: "The endpoint asks to slow down",
    Refused: "The model declined to answer",
    TimedOut: "The endpoint did not answer in time",
    TooLong: "The request is too long for the model",
    TruncatedReply: "The reply ran into the token limit",
}
_TOKENS = re.compile(
    r"\bBearer\s+[^\s\"',;]+"  # an echoed header
    r"|\b(?:sk|gsk|pk|hf|key)[-_][A-Za-z0-9_\-.*…]{6,}"  # keys with their usual prefixes, masked ones too
    r"|\bAIza[A-Za-z0-9_\-*]{10,}",
    re.IGNORECASE,
)


def as_api_error(exc: BaseException, *, secret: str, waits: bool = False) -> ApiError:
    """Map an exception of the HTTP client to an error of `errors`.

    Args:
        exc: The exception.
        secret: The key, which is redacted from the message.
        waits: The endpoint keeps requests waiting for capacity, so no reply after a connection is `NoCapacity`.

    Returns:
        A new error. It does not refer to ``exc``, which holds the whole request with its images and its key.
    """
    if isinstance(exc, ApiError):
        return exc
    kind = _without_status(exc)
    if waits and kind is TimedOut and not any(isinstance(cause, _NO_CONNECTION) for cause in _chain(exc)):
        kind = NoCapacity
    return fault(kind, str(list(_chain(exc))[-1]), secret=secret)


def of_status(status: int, headers: Mapping[str, str], text: str, *, secret: str, tier: Tier = "standard") -> ApiError:
    """Map an HTTP error reply to an error of `errors`.

    Args:
        status: HTTP status.
        headers: Headers of the reply.
        text: Body of the reply.
        secret: The key, which is redacted from the message.
        tier: Tier of the request.
    """
    body = decoded(text)
    limits = RateInfo.of(headers)
    error = fault(
        class_of(status, body, tier=tier),
        quote_of(body),
        secret=secret,
        status=status,
        retry_after_s=limits.retry_after_s if limits else None,
    )
    error.limits = limits
    return error


def class_of(
    status: int | None, body: object, *, default: type[ApiError] = MalformedReply, tier: Tier = "standard"
) -> type[ApiError]:
    """The class for a status and an error body: by its codes, then by its words, then by the status.

    Args:
        status: HTTP status, or ``None`` if only a body is known.
        body: The body, parsed if it is JSON.
        default: The class if nothing matches.
        tier: Tier of the request; the standard tier knows no lack of capacity (`NoCapacity`).
    """
    return on_tier(_class_of(status, body, default, tiered=tier != "standard"), status, tier)


def _class_of(status: int | None, body: object, default: type[ApiError], *, tiered: bool) -> type[ApiError]:
    known = _by_names(status, names_in(body), tiered=tiered)
    unsure = status == 429 and known is QuotaExceeded  # DashScope uses one code for a limit per minute and spent money
    if known not in {None, RateLimited, BadRequest} and not unsure:
        return known or default  # the other codes need the words: "request too large" has the code of a rate limit
    words = words_in(body)
    prose = (each for each in PROSE if tiered or each.kind is not NoCapacity)
    by_words = next((each.kind for each in prose if each.matches(status, words)), None)
    if unsure and by_words is not RateLimited:
        return known or default
    if status == _GROQ_FULL and tiered:
        return by_words or known or NoCapacity
    return by_words or known or _by_status(status, default)


def _by_names(status: int | None, names: frozenset[str], *, tiered: bool) -> type[ApiError] | None:
    found = {BY_CODE[name] for name in names if name in BY_CODE} - (set() if tiered else {NoCapacity})
    if not found:
        parts = [name for name in names if " " not in name and len(name) <= LONGEST_CODE]
        found = {kind for kind, pattern in BY_PART for name in parts if pattern.search(name)}
    for kind in PRECEDENCE:
        if kind in found and (kind is not Overloaded or status is None):  # for server faults the status is more precise
            return TooLong if kind is RateLimited and status == 413 else kind
    return None


def _by_status(status: int | None, default: type[ApiError]) -> type[ApiError]:
    if status is None:
        return default
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return Overloaded
    return BadRequest if status >= 400 else NotFound  # a redirect without a target means a wrong path


def fault(
    kind: type[ApiError], quote: str = "", *, secret: str, status: int | None = None, retry_after_s: float | None = None
) -> ApiError:
    """An error of this class: its sentence, the status, and the endpoint's words cut to `QUOTE_CHARS`."""
    words = " ".join(safe_text(redacted(quote, secret)).split())  # redacted before cutting: half a key is a secret too
    words = words if len(words) <= QUOTE_CHARS else words[: QUOTE_CHARS - 1] + "…"
    sentence = _SENTENCES.get(kind, "The call failed") + (f" ({status})" if status else "")
    return kind(f"{sentence}: {words}" if words else f"{sentence}.", status=status, retry_after_s=retry_after_s)


def redacted(text: str, secret: str) -> str:
    """Replace the key, and everything that looks like a key, by ``***``."""
    return _TOKENS.sub("***", text.replace(secret, "***") if secret else text)


def _without_status(exc: BaseException) -> type[ApiError]:
    """Class of a failure without an HTTP status."""
    if isinstance(exc, httpx2.DecodingError):
        return MalformedReply
    # The SDK's aiohttp transport reports a connection that the server closed as a timeout; only the cause shows the
    # difference. aiohttp's own timeouts are instances of both, hence the order.
    causes = list(_chain(exc))
    if any(
        isinstance(cause, aiohttp.ClientConnectionError) and not isinstance(cause, TimeoutError) for cause in causes
    ):
        return Disconnected
    if any(isinstance(cause, TimeoutError | httpx2.TimeoutException) for cause in causes):
        return TimedOut
    if any(isinstance(cause, httpx2.HTTPError | aiohttp.ClientError | OSError) for cause in causes):
        return Disconnected
    return ApiError


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__
