"""What is said to a chat endpoint and what comes back, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from lvqa_ray.llm.rate_headers import RateInfo
from lvqa_ray.records import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text part of a message."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A picture, a video or a piece of sound in a message.

    Attributes:
        identity: What the bytes are made of (fingerprint, span, sampling settings). It stands for them in the cache
            key, so an answer is found again without decoding anything.
        mime: Such as ``image/jpeg`` or ``video/mp4``; its first half picks ``image_url`` or ``video_url``.
        data: The bytes themselves.
        seconds: Length of sound, by which it is paid.
    """

    identity: str
    mime: str
    data: bytes = field(repr=False)
    seconds: float = 0.0


Part = Text | Media


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: a role and its parts in order."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, role: Literal["system", "user", "assistant"], text: str) -> Message:
        """A message of one text part."""
        return cls(role=role, parts=(Text(text=text),))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplySchema:
    """The JSON schema that a reply is held to, and its name."""

    name: str
    schema: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """Everything about a call that can change its answer, but for the endpoint and the model.

    Attributes:
        stage: Name of the asking stage, for the ledger; not part of the cache key.
        version: Version of the stage's prompt; part of the cache key.
        attempt: 0 for the first ask; a fresh try after a reply that could not be used counts up, which makes its
            answer a different one in the cache.
        temperature: Sampling temperature, ``None`` for the endpoint's default.
        max_tokens: Longest reply in tokens, ``None`` for the endpoint's default.
        reply_schema: What the endpoint is to hold the reply to; ``None`` for plain text.
        stale: Whether what the journal holds was of no use, so that a run which does failures again asks anew; not part
            of the cache key.
        key: The cache key, once it is known: it is worked out once, and not for every attempt.
    """

    stage: str
    version: str
    messages: tuple[Message, ...]
    attempt: int = 0
    temperature: float | None = None
    max_tokens: int | None = None
    reply_schema: ReplySchema | None = None
    stale: bool = False
    key: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """A usable answer: it ended by itself.

    Attributes:
        text: The answer proper. As a transport gives it, it is what was received, and never empty; `Cleaning` takes off
            all that is not the answer.
        raw: What was received, where ``text`` has been cleaned.
        limits: What came with it about the endpoint's limits, if anything; it is not kept in the journal.
        seconds: How long the endpoint took when it was asked; 0 where that is not known.
    """

    text: str
    model: str
    usage: Usage
    limits: RateInfo | None = field(default=None, compare=False)
    seconds: float = field(default=0.0, compare=False)
    raw: str = field(default="", compare=False)

    @property
    def received(self) -> str:
        """The reply as it was received, in safe characters: what a second ask quotes and a failure shows."""
        return self.raw or self.text


def audio_seconds(request: ChatRequest) -> float:
    """Seconds of sound in a request."""
    return sum(part.seconds for message in request.messages for part in message.parts if isinstance(part, Media))


class Chat(Protocol):
    """One answered request: cache, limits and retries lie behind this call.

    Raises:
        ApiError: There is no answer, and asking again now will not help.
    """

    async def __call__(self, request: ChatRequest, /) -> ChatReply:
        """Ask and wait for the answer."""
        ...
