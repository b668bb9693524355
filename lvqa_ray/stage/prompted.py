"""What the stages that ask an endpoint have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar, Literal, Self, get_args

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.llm import prompt_template
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest, Message, Part

Role = Literal["vlm", "llm", "reformat", "checker", "speech"]
ROLES: tuple[Role, ...] = get_args(Role)
"""All that there are; a job may have nobody for speech."""

FEWER = (1, 2, 4)
"""Shares of the pictures to show, one after the other, where a request is too long for the model."""


async def answer(chat: Chat, request: ChatRequest, usable: Callable[[str], bool]) -> ChatReply:
    """The reply to a request. One from the journal that is of no use is asked for anew, if the run does failures again.

    Raises:
        ApiError: There is no answer.
    """
    reply = await chat(request)
    if reply.usage.cached and not usable(reply.text):
        return await chat(replace(request, stale=True))
    return reply


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Prompted:
    """What the stages that ask an endpoint have in common.

    Attributes:
        name: Name of the stage, in the ledger and in failures.
        role: Which endpoint of the job it asks.
        version: Version of the default prompt; part of the cache key.
        usual_reply_tokens: Usual length of a reply, for estimates; of one question where a reply holds several.
        known: Placeholders that the stage gives values to.
        required: Placeholders that a prompt must hold to be of use.
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
        """Refuse a prompt that could not be filled, or that leaves out what it is for.

        Raises:
            ValueError: One sentence that names the placeholder and the mend.
        """
        prompt_template.check(prompt, known={*self.known, *self.values}, required=self.required)

    def filled(self, values: Mapping[str, str], prompt: str | None = None) -> str:
        """A prompt, the stage's own if none is given, with its placeholders replaced."""
        return prompt_template.fill(self.prompt if prompt is None else prompt, {**values, **self.values})

    def asks(self, *parts: Part, attempt: int = 0, facts: Mapping[str, JsonValue] | None = None) -> ChatRequest:
        """The request that these parts of a user message make.

        Args:
            parts: The user message.
            attempt: Counts up for every fresh try.
            facts: What the prompt was filled with, for the demo endpoint.
        """
        system = (Message.of("system", self.system),) if self.system else ()
        return ChatRequest(
            stage=self.name,
            version=self.version,
            messages=(*system, Message(role="user", parts=parts)),
            attempt=attempt,
            facts=facts or {},
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
