"""A request that was paid for, and its answer."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Message, Text
from lvqa_ray.records import Usage

ENDPOINT = Endpoint(base_url="https://api.openai.com/v1", model="gpt-4o-mini", temperature=0.2)
FRAME = Media(identity="fp1:0.0-10.0:8@448q90:0", mime="image/jpeg", data=b"pixels")
REQUEST = ChatRequest(
    stage="caption",
    version="1",
    messages=(
        Message.of("system", "You watch videos."),
        Message(role="user", parts=(FRAME, Text(text="Was ist das? äöü"))),
    ),
)
REPLY = ChatReply(text="a\nb \u00e9", model="m", usage=Usage(calls=1, input_tokens=5, output_tokens=7, cost_usd=0.25))
HIT = replace(REPLY, usage=replace(REPLY.usage, cached=1))


def key_of(n: int) -> str:
    return hashlib.sha256(str(n).encode()).hexdigest()
