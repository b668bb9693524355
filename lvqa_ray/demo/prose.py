"""Step-by-step reasons rewritten as prose.

The request names a question, an answer and a reason that begins ``Start thinking.`` and lists ``Step 1: ...``; how a
step is laid out is left open, so times in any of the usual forms and reasons on lines or as bullets are understood.
Every reason is kept word for word; only what joins them is ours, drawn with a generator seeded by the request.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

_REASON = re.compile(r'"reason"\s*:\s*"?\s*(Start thinking\..*)', re.DOTALL)
_ANSWER = re.compile(r'"answer"\s*:\s*"?\s*\(?([A-D])\b')
_END = re.compile(r'"\s*(?:\}|\n\s*\n|$)')
_STEP = re.compile(r"\bStep\s+\d+\s*[:.]")
_TIME = r"\d+(?::\d\d){0,2}(?:\.\d+)?"
# Numbers alone may be anything ("3 to 5 birds"): brackets, a unit or a colon make them a time.
_SPAN = re.compile(
    rf"[\s(#*-]*(?:from\s+)?"
    rf"(?:\[\s*{_TIME}\s*(?:s|seconds)?\s*(?:to|-)\s*{_TIME}\s*(?:s|seconds)?\s*\]"
    rf"|{_TIME}\s*(?:s|seconds)?\s*to\s*{_TIME}\s*(?:s\b|seconds\b|(?=[:,)\n])))[\s\]):,]*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"\n\s*(?:[-*•]\s+)?|(?<=[.!?])\s+-\s+|^\s*[-*•]\s+|(?<=[a-z0-9”][.!?])\s+(?=[A-Z])")

# Words that may lose their capital inside a sentence.
_PLAIN = frozenset(
    {"a", "an", "at", "from", "here", "in", "it", "no", "nothing", "nowhere", "so", "the", "there", "this"}
)

_FIRST = ("Watching the video", "As I watch the video", "Looking closely at the video")
_NEXT = ("Then", "Looking further", "Next", "Besides this", "Taking in another moment")
_SEE = ("I see that", "it is plain that", "I notice that")
_JOIN = ("", "", "And ")


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be rewritten: the key's letter (or empty), and the reasons of each step."""

    answer: str
    steps: tuple[tuple[str, ...], ...]


def find(text: str) -> Request | None:
    """The reformat request in a prompt, or nothing when there is none."""
    reason = _REASON.search(text)
    if reason is None or '"question"' not in text or '"answer"' not in text:
        return None
    body = reason[1]
    if "\\n" in body or '\\"' in body:  # a JSON string; otherwise the reason was put in as it is
        body = re.split(r'(?<!\\)"', body, maxsplit=1)[0].replace("\\n", "\n").replace('\\"', '"')
    else:  # with quotation marks of its own, so its end is the last one that can be
        body = body[: max((match.start() for match in _END.finditer(body)), default=len(body))]
    answer = _ANSWER.search(text)
    return Request(answer[1] if answer else "", tuple(_read_step(step) for step in _STEP.split(body)[1:]))


def _read_step(text: str) -> tuple[str, ...]:
    """The reasons of a step; the span that it may name first is for looking up and not for telling."""
    span = _SPAN.match(text)
    rest = text[span.end() :] if span else text
    return tuple(reason.strip() for reason in _BULLET.split(rest) if reason.strip(" \t\n-*•,;"))


def rewrite(request: Request) -> str:
    """The reasons as one flowing paragraph that ends with the answer."""
    draw = random.Random(hashlib.sha256(repr(request).encode()).digest())
    sentences: list[str] = []
    for head, *rest in filter(None, request.steps):
        sentences.append(_opened(draw.choice(_NEXT if sentences else _FIRST), head, draw))
        sentences += [_joined(reason, draw) for reason in rest]
    end = f"Therefore, the correct answer is {request.answer}." if request.answer else "That settles the answer."
    return " ".join([*sentences, end])


def _opened(opener: str, reason: str, draw: random.Random) -> str:
    if _first_word(reason) in _PLAIN:
        return _stopped(f"{opener}, {draw.choice(_SEE)} {_lowered(reason)}")
    return _stopped(f"{opener}, one thing stands out: {reason}")


def _joined(reason: str, draw: random.Random) -> str:
    joint = draw.choice(_JOIN) if _first_word(reason) in _PLAIN - {"so"} else ""
    return _stopped(joint + (_lowered(reason) if joint else reason[:1].upper() + reason[1:]))


def _first_word(text: str) -> str:
    return text.split(maxsplit=1)[0].lower()


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _stopped(text: str) -> str:
    return text if text.endswith((".", "!", "?", "”")) else f"{text.rstrip(',;:')}."
