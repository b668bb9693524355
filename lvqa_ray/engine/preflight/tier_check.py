"""Check of an endpoint's price tier before the first paid request of a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pydantic import SecretStr

from lvqa_ray.errors import ApiError, BadRequest, ConfigError, NoCapacity, NotFound, StopRun
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest
from lvqa_ray.llm.transport.chat_completions import OpenAITransport

TIER_PROBE_S = 120.0
"""How long the test request may take (s): a full tier may keep it waiting, which is no rejection."""


async def check_tier(
    transport: OpenAITransport, endpoint: Endpoint, key: SecretStr, request: ChatRequest | None
) -> str:
    """Check that an endpoint accepts its tier: with one small request, or for file batches with a free list of them.

    Args:
        transport: The endpoint's transport.
        endpoint: The endpoint, which answers on the standard tier as far as is known.
        key: Its key.
        request: A small request; ``None`` if nothing may be paid.

    Returns:
        A warning if this remains in doubt; empty for none.

    Raises:
        ConfigError: The endpoint rejects the tier.
    """
    if endpoint.tier == "standard" or (request is None and endpoint.tier != "batch"):
        return ""
    error: ApiError | None = None
    try:
        async with asyncio.timeout(TIER_PROBE_S):
            if endpoint.tier == "batch":
                await _list_batches(endpoint, key)
            elif request is not None:
                await transport(request)
        return ""
    except TimeoutError:
        return ""
    except ApiError as caught:
        error = caught
    if isinstance(error, NoCapacity) or error.bill is not None:
        return ""
    if not isinstance(error, BadRequest | NotFound | StopRun):
        return f"{endpoint.label}: whether it offers tier {endpoint.tier} is not known: {error}"
    if endpoint.tier != "batch" and request is not None and not await _answers(transport, request):
        return ""  # the request is at fault, not its tier: the run finds out
    raise ConfigError(
        f"{endpoint.label} rejects tier {endpoint.tier}: {error} Set tier: standard, or the tier that it offers."
    )


async def _list_batches(endpoint: Endpoint, key: SecretStr) -> None:
    api = BatchApi(endpoint, key)
    try:
        await api.list_batches()
    finally:
        await api.aclose()


async def _answers(transport: OpenAITransport, request: ChatRequest) -> bool:
    """Whether the endpoint answers the request on the standard tier."""
    try:
        async with asyncio.timeout(TIER_PROBE_S):
            await transport(replace(request, standard=True))
    except TimeoutError:
        return False
    except ApiError as error:
        return error.bill is not None
    return True
