"""The demo endpoint's answers to the requests of real stages, as the real client sends them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import SecretStr

from lvqa_ray.demo.chat_reply import complete
from lvqa_ray.llm.endpoint import DEMO_MODEL, Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage

CLIENT = OpenAITransport(Endpoint(base_url="http://127.0.0.1:1/v1", model=DEMO_MODEL, api_key_env=None), SecretStr(""))


async def demo(request: ChatRequest) -> ChatReply:
    """What the endpoint answers; it is a `Chat`."""
    return ChatReply(text=said(CLIENT._body(request)), model=DEMO_MODEL, usage=Usage(calls=1))


def said(body: dict[str, Any]) -> str:
    """The text that answers a body."""
    completion: Any = complete(json.dumps(body).encode())
    return str(completion["choices"][0]["message"]["content"])


def told(stage: str, **facts: Any) -> str:
    """The text that answers the facts of a stage; the prompt says nothing."""
    messages = [{"role": "user", "content": "A prompt in no wording that anybody knows."}]
    return said({"model": DEMO_MODEL, "messages": messages, "lvqa": {"stage": stage, "facts": facts}})
