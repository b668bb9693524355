"""JSON replies where text was requested: reads an object with the fields of the text format.

The object is rewritten in the text format, so the text parser decides whether it is a question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.records import LETTERS
from lvqa_ray.records.safe_text import safe_text

_FENCED_JSON = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)
_LETTERED = re.compile(r"\(?([A-D])[.):]\s+")
_FIELDS = frozenset({"question", "options", "answer"})
_REASON_FIELDS = ("reasons", "steps")
_SPAN_FIELDS = (("start_s", "end_s"), ("start", "end"), ("from", "to"))
_HEADER_FIELDS = ("timestamp", "time", "span", "from", "step")


def json_as_text(reply: str) -> list[str]:
    """The questions of a JSON reply, each in the text format; empty if the reply is no such JSON.

    Accepted: one object with ``question``, ``options``, ``answer`` and ``reasons`` (or ``steps``), in any case; a list
    of such objects; or an object whose only field ``questions`` is such a list.
    """
    text = strip_thinking(reply)
    fenced = _FENCED_JSON.fullmatch(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return []
    if isinstance(value, Mapping) and [name.casefold() for name in value] == ["questions"]:
        (value,) = value.values()
    items = value if isinstance(value, list) else [value]
    try:
        return ["\n".join(_lines_of(item)) for item in items]
    except (TypeError, ValueError):
        return []


def _lines_of(item: object) -> Iterator[str]:
    """The lines of one question.

    Raises:
        ValueError: A field is missing or has another type.
    """
    fields = _named(item)
    reasons = [fields.pop(name) for name in _REASON_FIELDS if name in fields]
    category = fields.pop("category", "")
    if set(fields) != _FIELDS or len(reasons) != 1:
        raise ValueError("not the fields of a question")
    if category:
        yield f"CATEGORY: {_text(category)}"
    yield f"QUESTION: {_text(fields['question'])}"
    yield "OPTIONS:"
    yield from _options(fields["options"])
    yield f"ANSWER: {_text(fields['answer'])}"
    yield "REASONS:"
    yield from _steps(reasons[0])


def _options(given: object) -> Iterator[str]:
    if isinstance(given, list):
        if len(given) != len(LETTERS):
            raise ValueError("not four options")
        for letter, option in zip(LETTERS, map(_text, given), strict=True):
            lettered = _LETTERED.match(option)
            if lettered and lettered[1] != letter:
                raise ValueError("options in another order")
            yield f"{letter}. {option[lettered.end() :] if lettered else option}"
        return
    for name, option in _named(given, fold=False).items():
        yield f"{name.strip()}. {_text(option)}"


def _steps(given: object) -> Iterator[str]:
    """Steps as an object from header to reasons, a list of lines, or a list of objects."""
    if isinstance(given, Mapping):
        for header, reasons in _named(given, fold=False).items():
            yield f"##### {_text(header)}"
            yield from _bullets(reasons)
        return
    if not isinstance(given, list):
        raise TypeError("reasons are no list")
    for step in given:
        if isinstance(step, str):
            yield _text(step)
            continue
        fields = _named(step)
        times = next((pair for pair in _SPAN_FIELDS if set(pair) <= set(fields)), None)
        names = [name for name in _HEADER_FIELDS if isinstance(fields.get(name), str)]
        if times:
            header = f"From [{_text(fields[times[0]])} to {_text(fields[times[1]])}]:"
        elif names:
            header = _text(fields[names[0]])
        else:
            raise ValueError("a step without a time")
        yield f"##### {header}"
        yield from _bullets(fields.get("reasons", fields.get("reason")))


def _bullets(reasons: object) -> Iterator[str]:
    for reason in reasons if isinstance(reasons, list) else [reasons]:
        yield f"- {_text(reason)}"


def _named(value: object, *, fold: bool = True) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError("no object")
    named = {name.casefold() if fold else name: inner for name, inner in value.items()}
    if len(named) != len(value):
        raise ValueError("a field given twice")
    return named


def _text(value: object) -> str:
    """A text or a number on one line; JSON escapes may hide characters, so it is sanitized like a reply."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("no text")
    return " ".join(strip_thinking(safe_text(str(value))).split())
