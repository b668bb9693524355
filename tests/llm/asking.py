"""Asking a scripted endpoint through the whole client path of a stage, without Ray."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lvqa_ray.errors import ApiError
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Message
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from tests.fakes.scripted import Reply, Scripted

Outcome = ChatReply | ApiError


def request(text: str = "What is seen?") -> ChatRequest:
    return ChatRequest(stage="caption", version="1", messages=(Message.of("user", text),))


def ask(
    folder: Path, reply: Callable[[dict[str, Any]], Reply], *texts: str, **fields: Any
) -> tuple[list[Outcome], list[dict[str, Any]]]:
    """What becomes of requests, one after the other, and the bodies that the endpoint was sent."""
    with Scripted(reply) as server:
        given = {"base_url": server.base_url, "model": "m", "api_key_env": None, "max_attempts": 5, **fields}
        endpoint = Endpoint.model_validate(given)

        async def all_of_them() -> list[Outcome]:
            wire = OpenAITransport(endpoint, SecretStr(""))
            permits = LeasePool(LocalLeaseServer(Limiter(Limits.of(endpoint))))
            chat = build_client(
                [EndpointRoute(endpoint, wire, permits)], JournalReplyStore(folder, writer="w", stage="caption")
            )
            outcomes: list[Outcome] = []
            for text in texts or ("What is seen?",):
                try:
                    outcomes.append(await chat(request(text)))
                except ApiError as error:
                    outcomes.append(error)
            await wire.aclose()
            return outcomes

        return asyncio.run(all_of_them()), server.bodies
