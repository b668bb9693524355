"""Base class of stages that send prompts to an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.llm import prompt_template
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, Message, Part, Text
from lvqa_ray.llm.shared_prefix import shared_prefix

Role = Literal["vlm", "llm", "reformat", "checker", "watcher", "speech"]
ROLES: tuple[Role, ...] = get_args(Role)
"""All roles; the endpoint for speech is optional."""

FEWER = (1, 2, 4)
"""Divisors of the number of frames, tried in turn if a request is too long for the model."""
NO_ANSWER = "(no answer)"
"""Quote of a reply that has only thoughts."""


async def answer(chat: Chat, request: ChatRequest, usable: Callable[[str], bool]) -> ChatReply:
    """Send a request. An unusable reply from the cache is requested anew, if the run retries failures.

    Raises:
        ApiError: The call failed.
    """
    reply = await chat(request)
    if reply.usage.cached and not usable(reply.text):
        return await chat(replace(request, stale=True))
    return reply


def reask(request: ChatRequest, reply: ChatReply | str, correction: str) -> ChatRequest:
    """Append an unusable reply and a correction to the conversation.

    The thoughts of a reply are not sent back. The cache key holds the reply as received, so that follow-ups of earlier
    releases, which were sent with thoughts, are found in the cache.
    """
    quoted = Text(text=reply) if isinstance(reply, str) else Text(text=reply.text or NO_ANSWER, keyed=reply.received)
    turns = (Message(role="assistant", parts=(quoted,)), Message.of("user", correction))
    return replace(request, messages=(*request.messages, *turns))


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Prompted:
    """A stage that sends prompts to an endpoint.

    Attributes:
        name: Name of the stage, in costs and failures.
        role: Which endpoint of the job it uses.
        version: Version of the default prompt; part of the cache key.
        usual_reply_tokens: Usual length of a reply, for estimates; per question if a reply has several.
        known: Placeholders that the stage fills.
        required: Placeholders that every prompt must contain.
    """

    name: ClassVar[str]
    role: ClassVar[Role]
    version: ClassVar[str]
    usual_reply_tokens: ClassVar[int]
    known: ClassVar[tuple[str, ...]] = ()
    required: ClassVar[tuple[str, ...]] = ()

    prompt: str = Field(default="", description="Prompt.")
    system: str = Field(default="", description="System message; empty for none.")
    values: dict[str, str] = Field(default_factory=dict, description="Values for your own placeholders in the prompt.")
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="Sampling temperature; null for the endpoint's setting."
    )
    max_tokens: int | None = Field(
        default=None, ge=1, description="Maximum length of a reply, in tokens; null for the endpoint's setting."
    )

    @model_validator(mode="after")
    def _fillable(self) -> Self:
        self.check(self.prompt)
        return self

    def check(self, prompt: str) -> None:
        """Reject a prompt with unknown placeholders or without the required ones.

        Raises:
            ValueError: One sentence that names the placeholder and the fix.
        """
        prompt_template.check(prompt, known={*self.known, *self.values}, required=self.required)

    def filled(self, values: Mapping[str, str], prompt: str | None = None) -> str:
        """Fill the placeholders of a prompt (default: the stage's own)."""
        return prompt_template.fill(self.prompt if prompt is None else prompt, {**values, **self.values})

    def asks(self, *parts: Part, attempt: int = 0, facts: Mapping[str, JsonValue] | None = None) -> ChatRequest:
        """Build a request.

        Args:
            parts: The user message.
            attempt: Number of earlier attempts with the same prompt; part of the cache key.
            facts: Values in the prompt, for the demo endpoint; ``captions`` also gives the prefix that requests share.
        """
        system = (Message.of("system", self.system),) if self.system else ()
        messages = (*system, Message(role="user", parts=parts))
        return ChatRequest(
            stage=self.name,
            version=self.version,
            messages=messages,
            attempt=attempt,
            facts=facts or {},
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            prefix=shared_prefix(messages, (facts or {}).get("captions")),
        )
