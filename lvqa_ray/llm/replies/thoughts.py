"""Thoughts of a reply: the reasoning text that a server returns in a field of its own, or inside the answer's text.

Sources of the field names are in ``docs/endpoints.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lvqa_ray.llm.replies.markup import DRAFT_TAG, END_TOKEN, HARMONY, ROLE_HEADER, TOKEN, WRAPPER_END, WRAPPER_START

DRAFT_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
"""Fields in which servers return thoughts next to the answer."""
DRAFT_PARTS = frozenset({"thinking", "reasoning", "redacted_thinking", "thought"})
"""Types of content parts that are thoughts."""
_TEXTS = ("text", "thinking", "summary", "reasoning", "content")
"""Fields of a part that may hold its text: OpenRouter, Anthropic and Mistral, OpenRouter's summaries, others."""


def is_draft(part: Mapping[str, object]) -> bool:
    """Whether a content part is a thought (Mistral, Anthropic; Gemini marks it by ``thought: true``)."""
    return part.get("type") in DRAFT_PARTS or part.get("thought") is True


def thoughts_of(message: Mapping[str, object]) -> str:
    """The thoughts in a message or a delta of a stream, as received; empty if it has none.

    Servers repeat them in several fields (OpenRouter, SGLang behind a gateway), so the first field with text counts.
    """
    for name in DRAFT_FIELDS:
        if text := "".join(_texts(message.get(name))):
            return text
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    return "".join(text for part in parts if isinstance(part, Mapping) and is_draft(part) for text in _texts(part))


def thoughts_in(received: str, answer: str) -> str:
    """The thoughts in the text of a reply: what is left of it without the answer and without markup.

    Args:
        received: The text as received.
        answer: The answer in it, see `strip_thinking`; empty if there is none.
    """
    if not answer and not DRAFT_TAG.search(received):
        return ""  # an empty reply, or markup that hides no thoughts
    if channels := list(HARMONY.finditer(received)):
        return "\n\n".join(one["text"].strip() for one in channels if one["channel"].lower() != "final")
    text = received.strip()
    if answer and text.startswith(answer) and not text.endswith(answer):
        before, after = "", text.removeprefix(answer)
    else:
        before, found, after = text.rpartition(answer) if answer else (text, "-", "")
        if not found:  # tokens were removed inside of the answer
            return ""
    drafts = (_plain(before), _plain(after))
    return "\n\n".join(draft for draft in drafts if draft)


def _plain(text: str) -> str:
    for markup in (ROLE_HEADER, DRAFT_TAG, WRAPPER_START, WRAPPER_END, END_TOKEN, TOKEN):
        text = markup.sub("", text)
    return text.strip()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)
    elif isinstance(value, Mapping):
        for name in _TEXTS:
            if found := value.get(name):
                yield from _texts(found)
                return
