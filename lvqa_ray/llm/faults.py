"""What went wrong with a call, as one of our own errors: chosen by status, code and type, never by words."""

from __future__ import annotations

import json
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
from lvqa_ray.llm.headers import RateInfo

QUOTE_CHARS = 200
"""Most characters of the endpoint's own words in a message of ours."""

_BY_CODE: dict[str, type[ApiError]] = {
    "insufficient_quota": QuotaExceeded,
    "billing_hard_limit_reached": QuotaExceeded,
    "arrearage": QuotaExceeded,  # DashScope, with status 400
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "data_inspection_failed": ContentFiltered,  # DashScope's compatible endpoint
    "datainspectionfailed": ContentFiltered,  # the same, as its own API spells it
    "flagged_input": ContentFiltered,  # OpenRouter, with status 403
    "context_length_exceeded": TooLong,
    "input_tokens": TooLong,  # vLLM names the parameter that is at fault, and has no code
    "api_key_invalid": AuthFailed,  # Gemini, with status 400
    "invalid_api_key": AuthFailed,
    "model_not_found": NotFound,
}
_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthFailed,
    402: QuotaExceeded,
    403: AuthFailed,
    404: NotFound,
    408: TimedOut,
    409: Overloaded,
    413: TooLong,
    429: RateLimited,
}
_SENTENCES: dict[type[ApiError], str] = {
    AuthFailed: "The endpoint does not accept the key",
    BadRequest: "The endpoint does not take the request",
    ContentFiltered: "The endpoint's content filter held the call back",
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
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    limits = RateInfo.of(headers)
    error = fault(
        classify(status, codes(body)),
        quote_of(body),
        secret=secret,
        status=status,
        retry_after_s=limits.retry_after_s if limits else None,
    )
    error.limits = limits
    return error


def classify(status: int | None, names: frozenset[str], *, default: type[ApiError] = MalformedReply) -> type[ApiError]:
    """The class for a status and for the codes and types in an error body; codes say more than the status.

    Args:
        status: HTTP status, or ``None`` where only a body is known.
        names: What `codes` found in the body.
        default: The class where neither is known.
    """
    for name in sorted(names):
        if name in _BY_CODE:
            return _BY_CODE[name]
    if status is None:
        return default
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return Overloaded
    return BadRequest if status >= 400 else NotFound  # a redirect that leads nowhere is a wrong path


def codes(body: object) -> frozenset[str]:
    """Machine-readable names in an error body, in lower case: code, type, status, parameter, reasons."""
    error = _error_object(body)
    found: list[object] = [error.get("code"), error.get("type"), error.get("status"), error.get("param")]
    details, metadata = error.get("details"), error.get("metadata")
    if isinstance(details, list):
        found += [detail.get("reason") for detail in details if isinstance(detail, Mapping)]
    if isinstance(metadata, Mapping) and "flagged_input" in metadata:
        found.append("flagged_input")
    return frozenset(name.lower() for name in found if isinstance(name, str))


def quote_of(body: object) -> str:
    """The endpoint's own words about an error."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else body  # a web page says nothing that fits a sentence
    error = _error_object(body)
    words = next((error[name] for name in ("message", "detail", "error") if isinstance(error.get(name), str)), "")
    return str(words)


def fault(
    kind: type[ApiError], quote: str = "", *, secret: str, status: int | None = None, retry_after_s: float | None = None
) -> ApiError:
    """An error of this class with its sentence, the status, and the endpoint's words cut to `QUOTE_CHARS`."""
    said = " ".join(redacted(quote, secret).split())  # redacted before it is cut: half a key is still a secret
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


def _error_object(body: object) -> Mapping[str, object]:
    if isinstance(body, list) and body:  # Gemini wraps its error in a list
        body = body[0]
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    return body if isinstance(body, Mapping) else {}
