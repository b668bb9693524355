"""Parser of chat completions: returns the text, or why there is no usable one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lvqa_ray.errors import (
    ApiError,
    ContentFiltered,
    EmptyReply,
    MalformedReply,
    Overloaded,
    Refused,
    TooLong,
    TruncatedReply,
)
from lvqa_ray.llm.message_json import replace_surrogates
from lvqa_ray.llm.replies.thoughts import DRAFT_FIELDS, is_draft, thoughts_of
from lvqa_ray.llm.transport.finish_reasons import Ending, ending_of

_KINDS: dict[Ending, type[ApiError]] = {
    Ending.TRUNCATED: TruncatedReply,
    Ending.FILTERED: ContentFiltered,
    Ending.REFUSED: Refused,
    Ending.OVERLOADED: Overloaded,
    Ending.TOO_LONG: TooLong,
    Ending.BROKEN: EmptyReply,
    Ending.UNKNOWN: EmptyReply,
}


@dataclass(frozen=True, slots=True)
class Answered:
    """A usable reply.

    Attributes:
        text: Its text, never empty.
        thoughts: Reasoning in fields or parts of their own; empty for none.
    """

    text: str
    thoughts: str = ""


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """An unusable reply.

    Attributes:
        kind: Class of the error.
        why: Reason given by the server, or what is missing.
        text: Text that it holds nevertheless.
    """

    kind: type[ApiError]
    why: str = ""
    text: str = ""


def error_of(answer: Mapping[str, Any]) -> object:
    """The error in a reply with status 200, as OpenAI, vLLM, MiniMax, OpenRouter and Gemini write it; else ``None``."""
    error, choice = answer.get("error"), _first(answer)
    if error:
        return error if isinstance(error, Mapping) else {"error": error, "code": answer.get("code")}
    if choice is not None:
        inner = choice.get("error") if isinstance(choice, Mapping) else None
        return inner if isinstance(inner, Mapping) else None
    base, feedback = answer.get("base_resp"), answer.get("promptFeedback")
    if isinstance(base, Mapping) and base.get("status_code"):
        return {"base_resp": base, "message": base.get("status_msg")}
    if isinstance(feedback, Mapping) and feedback.get("blockReason"):
        return {"promptFeedback": feedback, "message": f"the prompt was blocked: {feedback['blockReason']}"}
    return answer if "error" in {answer.get("object"), answer.get("type")} else None


def read(answer: Mapping[str, Any]) -> Answered | NoAnswer:
    """The text of a completion with its thoughts, or why there is no text."""
    choice = _first(answer)
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not (isinstance(message, Mapping) or choice.get("finish_reason")):
        return NoAnswer(MalformedReply, "it has no choices")
    message = message if isinstance(message, Mapping) else {}
    reason, text = choice.get("finish_reason"), content_of(message.get("content"))
    ending = ending_of(reason, text)
    if message.get("refusal") and ending is not Ending.FILTERED:
        return NoAnswer(Refused, str(message["refusal"]), str(message["refusal"]))
    if ending is not Ending.ANSWERED:
        return NoAnswer(_KINDS[ending], _because(reason), text)
    if text.strip():
        return Answered(text, replace_surrogates(thoughts_of(message)))
    drafted = any(message.get(name) for name in DRAFT_FIELDS) or _has_draft(message.get("content"))
    why = "it holds a draft and no answer" if drafted else "its text is empty"
    return NoAnswer(EmptyReply if drafted else MalformedReply, why)


def content_of(content: object) -> str:
    """The text of a message; some servers send a list of parts, some of which are a draft."""
    if isinstance(content, Mapping):
        content = [content]
    if isinstance(content, list):
        content = "".join(_texts(content))
    return replace_surrogates(content) if isinstance(content, str) else ""


def _texts(parts: list[Any]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Mapping) and not is_draft(part) and isinstance(part.get("text"), str):
            yield part["text"]


def _has_draft(content: object) -> bool:
    return isinstance(content, list) and any(isinstance(part, Mapping) and is_draft(part) for part in content)


def _first(answer: Mapping[str, Any]) -> object:
    choices = answer.get("choices")
    return choices[0] if isinstance(choices, list) and choices else None


def _because(reason: object) -> str:
    usual = str(reason) in {"content_filter", "length", "max_tokens"}
    return "" if usual else f"it ended for the reason {str(reason)[:40]!r}"
