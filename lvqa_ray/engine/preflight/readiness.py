"""Readiness check of an endpoint: whether it accepts the key and has the model.

The list of models is free and a hint. If it lacks the model or is not available, one small request with the parameters
of a run decides. Only errors that every request would meet stop a run: an unknown model or path, a refused key or
request, an account without quota, or a server that is no chat endpoint. Temporary errors, such as a rate limit, do not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from pydantic import SecretStr

from lvqa_ray.engine.preflight.tier_check import check_tier
from lvqa_ray.errors import (
    ApiError,
    AuthFailed,
    BadRequest,
    ConfigError,
    Disconnected,
    EndpointDown,
    MalformedReply,
    NotFound,
    QuotaExceeded,
    RetryableError,
    TimedOut,
)
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest
from lvqa_ray.llm.transport.base_urls import likely_base_url
from lvqa_ray.llm.transport.certificates import own_certificates
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.model_list import MODELS_SHOWN, ModelList
from lvqa_ray.llm.transport.proxies import proxy_for
from lvqa_ray.llm.transport.proxy_faults import AUTH_REQUIRED
from lvqa_ray.llm.transport.transcriptions import wire

LIST_WITHIN_S = 30.0
READINESS_TIMEOUT_S = 120.0
AGAIN_AFTER_S = 1.0
_LASTING = (NotFound, AuthFailed, QuotaExceeded, BadRequest, EndpointDown)
"""Permanent errors, which every request would meet."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Result of the check of an endpoint that a run may use.

    Attributes:
        says: One sentence.
        sure: Whether the endpoint certainly has the model.
        warning: Warning for the user before the run; empty for none.
    """

    says: str
    sure: bool = True
    warning: str = ""


async def readiness(endpoint: Endpoint, key: SecretStr, request: ChatRequest | None, *, sound: bool) -> Readiness:
    """Check whether an endpoint accepts its key and has its model.

    Args:
        endpoint: The endpoint.
        key: Its key.
        request: The request to send if the list of models does not decide; ``None`` for none.
        sound: Whether it is a speech-to-text endpoint.

    Raises:
        ConfigError: No request of a run could succeed; gives the reason and the likely fix.
    """
    _check_variables(endpoint)
    transport = wire(endpoint, key, sound=sound)
    try:
        listed = await _listed(transport)
        moved = transport.moved_to
        doubt = _doubt(endpoint, listed, moved)
        if not doubt:
            warning = await check_tier(transport, endpoint, key, request)
            return Readiness(f"Answers, and lists {endpoint.model}.", warning=warning)
        if isinstance(listed, Disconnected):
            raise ConfigError(f"{endpoint.label}: {_ended(listed)}{await _fix(endpoint, key, listed)}")
        if request is None:
            says = f"{_capital(doubt)}. One small paid request would decide."
            return Readiness(says, sure=False, warning=f"{endpoint.label}: {doubt}.")
        error = await _refusal(transport, replace(request, standard=True))
        unsure = "" if error is not None else await check_tier(transport, endpoint, key, request)
        moved = moved or transport.moved_to
    finally:
        await transport.aclose()
    if error is None:
        return Readiness(
            f"{_capital(doubt)}, but answers requests.",
            warning=f"{endpoint.label}: {doubt}; the run continues, because it answers requests. {unsure}".strip(),
        )
    if _stops(error, listed):
        offered = _offered(endpoint, listed) if isinstance(error, NotFound | BadRequest) else ""
        if isinstance(error, NotFound):
            offered = offered.replace("does not list the", "has no")
        models = f" {endpoint.base_url} {offered}." if offered else ""
        # A URL that has a list of models is the right one.
        fix = await _fix(endpoint, key, error, moved) if moved or isinstance(listed, ApiError) else ""
        raise ConfigError(f"{endpoint.label}: {_ended(error)}{models}{fix}")
    says = f"{_capital(doubt)}, and the test request failed: {error}"
    return Readiness(says, sure=False, warning=f"{endpoint.label}: {says[:1].lower()}{says[1:]}")


def _check_variables(endpoint: Endpoint) -> None:
    """Refuse proxy and certificate variables that are unusable.

    Raises:
        ConfigError: Names the variable.
    """
    proxy_for(endpoint.base_url)
    if not endpoint.is_loopback or endpoint.base_url.startswith("https:"):
        own_certificates()


async def _listed(transport: OpenAITransport) -> ModelList | ApiError:
    """The endpoint's list of models, or the error."""
    try:
        async with asyncio.timeout(LIST_WITHIN_S):
            return await transport.list_models()
    except ApiError as error:
        return error
    except TimeoutError:
        return TimedOut(f"No reply within {LIST_WITHIN_S:.0f} s.")


def _doubt(endpoint: Endpoint, listed: ModelList | ApiError, moved: str) -> str:
    """Why the list of models leaves a doubt, as the rest of a sentence; empty for none."""
    if moved:
        return f"redirects requests to {moved} (set base_url to that; otherwise each request is sent twice)"
    if isinstance(listed, ModelList):
        return "" if listed.has(endpoint.model) else _offered(endpoint, listed)
    if isinstance(listed, AuthFailed):
        return f"does not show its list of models to this key ({listed.status})"
    why = f" ({listed.status})" if listed.status else ""
    return f"has no list of models{why}"


def _offered(endpoint: Endpoint, listed: ModelList | ApiError) -> str:
    """The models that a list offers instead, as the rest of a sentence; empty without a list."""
    if not isinstance(listed, ModelList) or listed.has(endpoint.model):
        return ""
    if not listed.names:
        return f"lists no models, so it does not list {endpoint.model}"
    near = listed.near(endpoint.model)
    more = ", ..." if len(listed.names) > len(near) or len(near) > MODELS_SHOWN else ""
    pages = " on the first page of its list" if listed.in_pages else ""
    return f"does not list the model {endpoint.model}; it offers {', '.join(near)}{more}{pages}"


async def _refusal(transport: OpenAITransport, request: ChatRequest) -> ApiError | None:
    """The error of a request, after one retry if that may help; ``None`` if it got a reply."""
    error: ApiError | None = None
    for wait_s in (0.0, AGAIN_AFTER_S):
        await asyncio.sleep(wait_s)
        try:
            async with asyncio.timeout(READINESS_TIMEOUT_S):
                await transport(request)
            return None
        except TimeoutError:
            return TimedOut(f"No reply within {READINESS_TIMEOUT_S:.0f} s.")
        except ApiError as caught:
            error = caught
        if not isinstance(error, RetryableError) or error.bill is not None:
            break
    # A reply that was cut off, filtered, refused or empty (it has a bill) is a reply as well.
    return error if error is not None and error.bill is None else None


def _stops(error: ApiError, listed: ModelList | ApiError) -> bool:
    """Whether every request of a run would meet the error."""
    if isinstance(error, TimedOut | Disconnected):
        return isinstance(listed, TimedOut | Disconnected)  # no request got any response
    return isinstance(error, (*_LASTING, MalformedReply))


async def _fix(endpoint: Endpoint, key: SecretStr, error: ApiError, moved: str = "") -> str:
    """A sentence with the probable base URL, if a wrong one may cause the error; else empty."""
    if not isinstance(error, NotFound | MalformedReply | Disconnected | BadRequest) or error.status == AUTH_REQUIRED:
        return ""
    if found := moved or await likely_base_url(endpoint, key):
        return f" {found} answers like an endpoint: set base_url to it."
    if isinstance(error, MalformedReply):
        return f" base_url {endpoint.base_url} is not a chat endpoint: correct it; most end in /v1."
    return ""


def _ended(error: ApiError) -> str:
    """The text of an error, with a full stop."""
    sentence = str(error)
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
