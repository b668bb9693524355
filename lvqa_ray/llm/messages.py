"""Chat messages: requests to a chat endpoint and its replies, as plain values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from lvqa_ray.llm.rate_headers import RateInfo
from lvqa_ray.records import Usage

if TYPE_CHECKING:  # rows and messages are imported without pydantic, as for `lvqa --help`
    from pydantic import JsonValue
CHARS_PER_TOKEN = 4
"""Estimated characters of text per token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A text part of a message.

    Attributes:
        keyed: What the cache key holds instead of the text, if that differs: a reply as received, whose thoughts are
            not sent back.
    """

    text: str
    keyed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, a video or a piece of audio in a message.

    Attributes:
        identity: What the bytes were made of (fingerprint, span, sampling settings). The cache key holds this instead
            of the bytes, so a lookup decodes nothing.
        mime: Such as ``image/jpeg`` or ``video/mp4``; its first half picks ``image_url`` or ``video_url``.
        data: The bytes.
        seconds: Duration of audio, which determines its price (s).
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
    """JSON schema for the reply, with its name."""

    name: str
    schema: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A chat request: everything that can change its answer, except endpoint and model.

    Attributes:
        stage: Name of the stage, for the costs; not part of the cache key.
        version: Version of the stage's prompt; part of the cache key.
        attempt: 0 at first; counts up for a fresh attempt after an unusable reply. Part of the cache key.
        temperature: Sampling temperature; ``None`` for the endpoint's default.
        max_tokens: Maximum length of the reply in tokens; ``None`` for the endpoint's default.
        reply_schema: Schema that the endpoint enforces; ``None`` for plain text.
        facts: Values of the prompt's placeholders, by name. Only the demo endpoint receives them, so that it parses no
            prompts; not part of the cache key.
        stale: Whether the cached reply was unusable, so that a run with ``engine.retry_failures`` sends the request
            again; not part of the cache key.
        key: The cache key, once computed.
        prefix: Id of the prompt prefix that it shares with other requests about its video; empty for none. Not part of
            the cache key.
        standard: Send it on the standard tier, whatever the endpoint's own; not part of the cache key.
        on_text: Called with all of the text so far, each time that the endpoint has streamed more of it; the request
            then asks for a stream, if the endpoint supports one. Not part of the cache key.
    """

    stage: str
    version: str
    messages: tuple[Message, ...]
    attempt: int = 0
    temperature: float | None = None
    max_tokens: int | None = None
    reply_schema: ReplySchema | None = None
    facts: Mapping[str, JsonValue] = field(default_factory=dict, compare=False, repr=False)
    stale: bool = False
    key: str = field(default="", compare=False)
    prefix: str = field(default="", compare=False)
    standard: bool = field(default=False, compare=False)
    on_text: Callable[[str], object] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatReply:
    """A usable answer, which ended by itself.

    Attributes:
        text: The answer. The transport gives the text as received, never empty; `Cleaning` removes everything but the
            answer.
        raw: The text as received, once ``text`` has been cleaned.
        thoughts: Reasoning of the model before its answer, from fields of their own or from markup in the text; empty
            if it returned none. It never becomes part of another prompt.
        limits: Rate-limit headers of the reply, if any; not stored in the journal.
        seconds: Latency of the endpoint (s); 0 if unknown.
    """

    text: str
    model: str
    usage: Usage
    limits: RateInfo | None = field(default=None, compare=False)
    seconds: float = field(default=0.0, compare=False)
    raw: str = field(default="", compare=False)
    thoughts: str = field(default="", compare=False, repr=False)

    @property
    def received(self) -> str:
        """The reply as received, in safe characters, for failures; it may hold thoughts."""
        return self.raw or self.text


def audio_seconds(request: ChatRequest) -> float:
    """Duration of the audio in a request (s)."""
    return sum(part.seconds for message in request.messages for part in message.parts if isinstance(part, Media))


class Chat(Protocol):
    """Sends one request and returns its reply; cache, limits and retries are behind this call.

    Raises:
        ApiError: There is no answer, and a retry now will not help.
    """

    async def __call__(self, request: ChatRequest, /) -> ChatReply:
        """Send the request and wait for the reply."""
        ...
