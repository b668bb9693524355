"""What went wrong with a call, as one of our own errors: chosen by code, type and status.

Words choose only where a server gives nothing else, by the table in `llm.error_prose`.
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
    ContentFiltered,
    Disconnected,
    EmptyReply,
    MalformedReply,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RateLimited,
    Refused,
    TimedOut,
    TooLong,
    TruncatedReply,
)
from lvqa_ray.llm.rate_headers import RateInfo
from lvqa_ray.llm.transport.error_body import decoded, names_in, quote_of, words_in
from lvqa_ray.llm.transport.error_codes import BY_CODE, BY_PART, PRECEDENCE
from lvqa_ray.llm.transport.error_prose import PROSE
from lvqa_ray.records.safe_text import safe_text

QUOTE_CHARS = 200
"""Most characters of the endpoint's own words in a message of ours."""

LONGEST_CODE = 80
"""Characters; what is longer is a sentence."""
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
_SENTENCES: dict[type[ApiError], str] = {
    AuthFailed: "The endpoint does not accept the key",
    BadRequest: "The endpoint does not take the request",
    ContentFiltered: "The endpoint's content filter held the call back",
    EmptyReply: "The reply holds no answer",
    Disconnected: "The connection to the endpoint failed",
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
    r"|\b(?:sk|gsk|pk|hf|key)[-_][A-Za-z0-9_\-.*…]{6,}"  # keys by their usual prefixes, masked ones too
    r"|\bAIza[A-Za-z0-9_\-*]{10,}",
    re.IGNORECASE,
)


def as_api_error(exc: BaseException, *, secret: str) -> ApiError:
    """The error of ours that says what an exception of the client means.

    Args:
        exc: What the client raised.
        secret: The key; no trace of it is left in the message.

    Returns:
        A new error. It does not refer to ``exc``, which holds the whole request with its pictures and its key.
    """
    if isinstance(exc, ApiError):
        return exc
    return fault(_without_status(exc), str(_root(exc)), secret=secret)


def of_status(status: int, headers: Mapping[str, str], text: str, *, secret: str) -> ApiError:
    """The error of ours that an HTTP status other than success means.

    Args:
        status: The status.
        headers: Those of the reply.
        text: Its body.
        secret: The key; no trace of it is left in the message.
    """
    body = decoded(text)
    limits = RateInfo.of(headers)
    error = fault(
        class_of(status, body),
        quote_of(body),
        secret=secret,
        status=status,
        retry_after_s=limits.retry_after_s if limits else None,
    )
    error.limits = limits
    return error


def class_of(status: int | None, body: object, *, default: type[ApiError] = MalformedReply) -> type[ApiError]:
    """The class for a status and an error body: by its codes, then by its words, then by the status.

    Args:
        status: HTTP status, or ``None`` where only a body is known.
        body: The body, decoded where it is JSON.
        default: The class where nothing is known.
    """
    known = _by_names(status, names_in(body))
    unsure = status == 429 and known is QuotaExceeded  # DashScope gives a limit a minute the code of spent money
    if known not in {None, RateLimited, BadRequest} and not unsure:
        return known or default  # a limit that no request can keep has the code of any limit, so words decide there
    words = words_in(body)
    said = next((prose.kind for prose in PROSE if prose.matches(status, words)), None)
    if unsure and said is not RateLimited:
        return known or default
    return said or known or _by_status(status, default)


def classify(status: int | None, names: frozenset[str], *, default: type[ApiError] = MalformedReply) -> type[ApiError]:
    """The class for a status and for the codes and types in an error body; codes say more than the status.

    Args:
        status: HTTP status, or ``None`` where only a body is known.
        names: What `error_body.names_in` found in the body.
        default: The class where neither is known.
    """
    return _by_names(status, names) or _by_status(status, default)


def _by_names(status: int | None, names: frozenset[str]) -> type[ApiError] | None:
    found = {BY_CODE[name] for name in names if name in BY_CODE}
    if not found:
        parts = [name for name in names if " " not in name and len(name) <= LONGEST_CODE]
        found = {kind for kind, pattern in BY_PART for name in parts if pattern.search(name)}
    for kind in PRECEDENCE:
        if kind in found and (kind is not Overloaded or status is None):  # what is to be done says the status better
            return TooLong if kind is RateLimited and status == 413 else kind
    return None


def _by_status(status: int | None, default: type[ApiError]) -> type[ApiError]:
    if status is None:
        return default
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return Overloaded
    return BadRequest if status >= 400 else NotFound  # a redirect that leads nowhere is a wrong path


def fault(
    kind: type[ApiError], quote: str = "", *, secret: str, status: int | None = None, retry_after_s: float | None = None
) -> ApiError:
    """An error of this class with its sentence, the status, and the endpoint's words cut to `QUOTE_CHARS`."""
    said = " ".join(
        safe_text(redacted(quote, secret)).split()
    )  # redacted before it is cut: half a key is still a secret
    said = said if len(said) <= QUOTE_CHARS else said[: QUOTE_CHARS - 1] + "…"
    sentence = _SENTENCES.get(kind, "The call failed") + (f" ({status})" if status else "")
    return kind(f"{sentence}: {said}" if said else f"{sentence}.", status=status, retry_after_s=retry_after_s)


def redacted(text: str, secret: str) -> str:
    """The text with the key, and with whatever looks like one, replaced by ``***``."""
    return _TOKENS.sub("***", text.replace(secret, "***") if secret else text)


def _without_status(exc: BaseException) -> type[ApiError]:
    """Class of a failure that came without an HTTP status."""
    if isinstance(exc, httpx2.DecodingError):
        return MalformedReply
    # The SDK's aiohttp transport reports a connection that the server dropped as a timeout: only the cause tells them
    # apart. aiohttp's own timeouts are both, so they are asked for first.
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


def _root(exc: BaseException) -> BaseException:
    return list(_chain(exc))[-1]
