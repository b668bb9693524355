"""Server-sent events: assembles the stream of a chat completion into one completion."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lvqa_ray.llm.replies.thoughts import DRAFT_FIELDS, thoughts_of
from lvqa_ray.llm.transport.completion import content_of
from lvqa_ray.llm.transport.finish_reasons import Ending, ending_of, ends_whole

_MARK = "\ufeff"
"""A byte order mark may precede a stream; it is no part of the first event."""
_ENDS, _LAST_LINES = "[done]", 20
"""The end marker of a stream, and among how many last lines it is looked for."""


class StreamCutError(Exception):
    """The stream ended before the reply did."""


def is_stream(content_type: str, body: bytes) -> bool:
    """Whether a body is a stream of events, even if its content type differs."""
    if "event-stream" in content_type.lower():
        return not body.removeprefix(_MARK.encode()).lstrip().startswith((b"{", b"["))
    return body.removeprefix(_MARK.encode()).lstrip().startswith((b"data:", b"event:", b":", b"id:", b"retry:"))


def assembled(text: str) -> Mapping[str, Any]:
    """Assemble the events of a stream into a chat completion, or into the error that one of them holds.

    The text and the thoughts are those of the first choice; usage is that of the last event with one.

    Raises:
        StreamCutError: An event is broken, or no event has a finish reason, so the reply may be incomplete.
    """
    reply = _Assembly()
    reply.done = any(line.removeprefix("data:").strip().lower() == _ENDS for line in text.splitlines()[-_LAST_LINES:])
    for event in _events(text):
        if error := _error(event):
            return {**reply.fields, "error": error}
        reply.take(event)
    return reply.completion()


@dataclass(slots=True)
class _Assembly:
    """A partial completion."""

    fields: dict[str, Any] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    finish: object = None
    thoughts: list[str] = field(default_factory=list)
    done: bool = False

    def take(self, event: Mapping[str, Any]) -> None:
        """Add an event."""
        self.fields.update({name: event[name] for name in ("id", "model", "promptFeedback") if event.get(name)})
        choice = _first_choice(event)
        for usage in (event.get("usage"), choice.get("usage")):  # Moonshot has it in the choice
            if isinstance(usage, Mapping) and (any(usage.values()) or "usage" not in self.fields):
                self.fields["usage"] = usage
        delta, whole = choice.get("delta"), choice.get("message")
        if isinstance(delta, Mapping):
            self.texts.append(content_of(delta.get("content")))
            self.refusals.append(content_of(delta.get("refusal")))
            self.thoughts.append(thoughts_of(delta))
        if isinstance(whole, Mapping) and (text := content_of(whole.get("content"))):
            self.texts = [text]  # MiniMax repeats the whole message at the end
            self.thoughts = [thoughts_of(whole)] if thoughts_of(whole) else self.thoughts
        reason = choice.get("finish_reason")
        if reason not in {None, "", "null"} and (self.finish is None or ending_of(self.finish, "") is Ending.ANSWERED):
            self.finish = reason  # a gateway may append its own "stop" after "length"

    def completion(self) -> Mapping[str, Any]:
        """The completion.

        Raises:
            StreamCutError: It may be incomplete.
        """
        text = "".join(self.texts)
        if self.finish is None:
            if "promptFeedback" in self.fields:  # Gemini: the prompt was blocked
                return self.fields
            # Some servers give no reason; gateways end a broken stream in the same way.
            if not (self.done and ends_whole(text)):
                raise StreamCutError
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if refusal := "".join(self.refusals):
            message["refusal"] = refusal
        if thoughts := "".join(self.thoughts):
            message[DRAFT_FIELDS[0]] = thoughts
        return {**self.fields, "choices": [{"index": 0, "message": message, "finish_reason": self.finish}]}


class StreamedText:
    """Text of a stream whose end has not come yet.

    Attributes:
        text: The text of the first choice so far.
        usage: The latest token counts; empty if there were none.
    """

    def __init__(self) -> None:
        self._reply = _Assembly()
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._reply.texts)

    @property
    def usage(self) -> Mapping[str, Any]:
        """The latest token counts."""
        usage: Mapping[str, Any] = self._reply.fields.get("usage", {})
        return usage

    def feed(self, part: bytes) -> bool:
        """Add bytes as they arrive; whether the text has grown."""
        before = len(self._reply.texts)
        *blocks, self._rest = (self._rest + self._decoder.decode(part)).replace("\r\n", "\n").split("\n\n")
        with suppress(StreamCutError):  # `assembled` reports it at the end
            for event in _events("\n\n".join(blocks)):
                self._reply.take(event)
        return any(self._reply.texts[before:])


def _first_choice(event: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = event.get("choices")
    several = [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []
    return next((choice for choice in several if choice.get("index") in {0, None}), {})


def _events(text: str) -> Iterator[Mapping[str, Any]]:
    for block in text.removeprefix(_MARK).replace("\r\n", "\n").replace("\r", "\n").split("\n\n"):
        lines = block.split("\n")
        data = "\n".join(line[5:].removeprefix(" ") for line in lines if line.startswith("data:")).strip()
        if not data:
            continue
        failed = any(line.startswith("event:") and line[6:].strip() == "error" for line in lines)
        for piece in [data] if _is_whole(data) else data.split("\n"):  # some servers omit the empty line
            try:
                event = json.loads(piece)
            except ValueError:
                if failed:
                    event = {"error": {"message": piece}}
                elif piece.lstrip().startswith("{"):
                    raise StreamCutError from None
                else:
                    continue  # [DONE], or a keep-alive
            if isinstance(event, Mapping):
                yield {"error": event} if failed and not event.get("error") else event


def _is_whole(data: str) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


def _error(event: Mapping[str, Any]) -> object:
    if event.get("error"):
        return event["error"]
    if event.get("object") == "error" or (event.get("type") == "error" and "choices" not in event):
        return event
    if isinstance(inner := _first_choice(event).get("error"), Mapping):  # OpenRouter
        return inner
    base = event.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code"):  # MiniMax
        return {"base_resp": base, "message": base.get("status_msg")}
    return None
