"""Text format of questions without options: parses to a `KeyedQuestion` and renders one.

It is the format of `text_format` with other sections between QUESTION and REASONS::

    QUESTION: <text>
    ANSWER: <12 to 18.5; 40 to 44> | <3> | <2, 4, 1, 3> | <a few words>
    TOLERANCE: <0>               number
    UNIT: <times>                number
    ITEMS:                       order: "1. <text>" and so on, before ANSWER
    ACCEPTED: <form>; <form>     open
    RUBRIC: <text>               open
    REASONS:
    ##### From [<start> to <end>]:
    - <reason>
"""

# ruff: noqa: RUF001 -- full-width marks are what some models write

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats.placeholders import check_filled_in
from lvqa_ray.qa.formats.reasoning_steps import read_steps, without_emphasis, without_invisible
from lvqa_ray.qa.formats.section_labels import read_labels
from lvqa_ray.qa.formats.text_format import reply_lines
from lvqa_ray.qa.grading import read_number, read_order, read_spans, tokens_of
from lvqa_ray.records import Key, KeyedQuestion, Kind, NumberKey, OpenKey, OrderKey, Span, SpanKey

MAX_NUMBER = 1e9
MAX_FORMS = 8
MAX_OPEN_CHARS = 200
"""Limits of a key: size of a number, accepted forms, characters of a short text."""
_SECTIONS: Mapping[Kind, tuple[str, ...]] = {
    "span": (),
    "number": ("TOLERANCE", "UNIT"),
    "order": ("ITEMS",),
    "open": ("ACCEPTED", "RUBRIC"),
}
"""Sections of each kind besides QUESTION, ANSWER and REASONS; all but ITEMS may be left out."""
_MORE = re.compile(r"(TOLERANCE|UNIT|ITEMS|ACCEPTED|RUBRIC)\s*[:：](.*)", re.IGNORECASE | re.DOTALL)
_NUMBER_AND_UNIT = re.compile(
    r"(?:about |exactly )?(?P<number>[-−]?[\d.,:]*\d|[a-z]+)(?:\s*(?P<unit>[^\W\d_][^\d.;:]{0,40}))?\.?", re.IGNORECASE
)
_ITEM_LINE = re.compile(r"(?P<number>[1-9])[.)]\s+(?P<text>\S.*)")
_NONE = frozenset({"", "-", "none", "n/a", "...", "…", "无"})


def parse_keyed(reply: str, kind: Kind) -> KeyedQuestion:
    """Read a reply with one question of a kind other than choice.

    Raises:
        ParseError: The reply does not contain exactly one such question; see ``kind``.
    """
    sections = _keyed_sections(reply_lines(reply), kind)
    question = "\n".join(sections["QUESTION"]).strip()
    if not question:
        raise ParseError(ParseFault.NO_QUESTION, "There is no text after QUESTION.")
    said = {name: " ".join(" ".join(lines).split()) for name, lines in sections.items()}
    if not said["ANSWER"]:
        raise ParseError(ParseFault.NO_ANSWER, "There is no text after ANSWER.")
    key = _key(kind, said, sections.get("ITEMS", []))
    steps = read_steps(sections["REASONS"])
    answers = (key.text, *key.accepted, key.rubric) if isinstance(key, OpenKey) else (said.get("UNIT", ""),)
    check_filled_in(question, answers, (reason for step in steps for reason in step.reasons))
    return KeyedQuestion(question=question, key=key, steps=steps)


def render_keyed(q: KeyedQuestion) -> str:
    r"""Write a question in the format, so that `parse_keyed` returns the same question.

    Raises:
        ValueError: The format cannot represent this question; see `text_format.render_question`.
    """
    lines = [f"QUESTION: {q.question}"]
    if isinstance(q.key, OrderKey):
        lines += ["ITEMS:", *(f"{number}. {text}" for number, text in enumerate(q.key.items, start=1))]
    elif isinstance(q.key, NumberKey):
        lines += [f"ANSWER: {q.key.text.split(' ')[0]}", f"TOLERANCE: {q.key.tolerance:.3f}", f"UNIT: {q.key.unit}"]
    if not isinstance(q.key, NumberKey):
        lines += [f"ANSWER: {q.key.text}"]
    if isinstance(q.key, OpenKey):
        lines += [f"ACCEPTED: {'; '.join(q.key.accepted)}", f"RUBRIC: {q.key.rubric}"]
    lines += ["REASONS:"]
    for step in q.steps:
        lines += [f"##### From [{step.timestamp}]:", *(f"- {reason}" for reason in step.reasons)]
    reply = "\n".join(line.rstrip() for line in lines)
    try:
        same = parse_keyed(reply, q.kind) == q
    except ParseError as error:
        raise ValueError(f"The QA format cannot carry this question: {error}") from error
    if not same:
        raise ValueError("The QA format cannot carry this question: it would be read back as another one.")
    return reply


def _keyed_sections(lines: Sequence[str], kind: Kind) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] = []  # text before the first label is ignored
    for line, label in zip(lines, read_labels(lines), strict=True):
        name, rest = (label.name, label.rest) if label else _further_label(line, kind)
        if not name:
            current.append(line)
            continue
        if name == "OPTIONS":
            raise ParseError(ParseFault.BAD_OPTIONS, "This question must have no OPTIONS.")
        if name in sections:
            raise ParseError(ParseFault.SEVERAL_QUESTIONS, f"{name} stands in the reply more than once.")
        current = sections[name] = [rest]
    faults = {
        "QUESTION": ParseFault.NO_QUESTION,
        "ANSWER": ParseFault.NO_ANSWER,
        "REASONS": ParseFault.NO_REASONS,
    }
    for name, fault in faults.items():
        if name not in sections:
            raise ParseError(fault, f"The reply has no line that starts with {name}:.")
    return sections


def _further_label(line: str, kind: Kind) -> tuple[str, str]:
    plain = without_emphasis(without_invisible(line.strip()).lstrip("#").lstrip())[0]
    match = _MORE.fullmatch(plain)
    if match is None or match[1].upper() not in _SECTIONS[kind]:
        return "", ""
    return match[1].upper(), match[2].strip()


def _key(kind: Kind, said: Mapping[str, str], items: Sequence[str]) -> Key:
    match kind:
        case "span":
            return span_key(read_spans(said["ANSWER"]) or [], said["ANSWER"])
        case "number":
            return _number_key(said)
        case "order":
            texts = [match for line in items if line.strip() and (match := _ITEM_LINE.fullmatch(line.strip()))]
            if not texts or [int(match["number"]) for match in texts] != list(range(1, len(texts) + 1)):
                raise ParseError(ParseFault.BAD_OPTIONS, "ITEMS must be lines that are numbered 1, 2, 3 and so on.")
            order = read_order(said["ANSWER"], len(texts))
            if order is None:
                raise _bad_answer(f"the numbers 1 to {len(texts)} in the order of time", said["ANSWER"])
            return OrderKey(items=tuple(match["text"] for match in texts), order=tuple(order))
        case _:
            return open_key(said["ANSWER"], said.get("ACCEPTED", "").split(";"), said.get("RUBRIC", ""))


def span_key(spans: Sequence[Span], answer: str) -> SpanKey:
    """A key of time spans, rounded to 0.001 s.

    Raises:
        ParseError: There is none, one is empty, or two overlap or are not in time order.
    """
    rounded = [Span(start_s=round(span.start_s, 3), end_s=round(span.end_s, 3)) for span in spans]
    apart = all(one.end_s < other.start_s for one, other in pairwise(rounded))
    if not rounded or not apart or any(span.duration_s <= 0 for span in rounded):
        raise _bad_answer(
            "time spans like '12 to 18; 40 to 44', in the order of time and apart from each other", answer
        )
    return SpanKey(spans=tuple(rounded))


def _number_key(said: Mapping[str, str]) -> NumberKey:
    answer = said["ANSWER"]
    match = _NUMBER_AND_UNIT.fullmatch(answer)
    number = read_number(match["number"]) if match else None
    if match is None or number is None:
        raise _bad_answer("one number", answer)
    tolerance = 0.0 if said.get("TOLERANCE", "").casefold() in _NONE else read_number(said["TOLERANCE"])
    unit = said.get("UNIT", "") or match["unit"] or ""
    return number_key(number, tolerance, unit, answer)


def number_key(number: float, tolerance: float | None, unit: str, answer: str) -> NumberKey:
    """A key of one number, rounded to 0.001.

    Raises:
        ParseError: The number is too large, or the tolerance is none or not smaller than the number.
    """
    if abs(number) > MAX_NUMBER:
        raise _bad_answer("one number", answer)
    if tolerance is None or not 0 <= tolerance <= abs(number) / 2:
        raise ParseError(ParseFault.BAD_ANSWER, "TOLERANCE must be a number from 0 to half of the answer.")
    unit = "" if unit.strip().casefold() in _NONE else unit.strip()
    return NumberKey(number=round(number, 3), tolerance=round(tolerance, 3), unit=unit)


def open_key(text: str, accepted: Sequence[str], rubric: str) -> OpenKey:
    """A key of a short text and its accepted forms, without empty and repeated ones.

    Raises:
        ParseError: The text is too long, or there are too many forms.
    """
    if len(text) > MAX_OPEN_CHARS:
        raise ParseError(ParseFault.BAD_ANSWER, f"ANSWER must have at most {MAX_OPEN_CHARS} characters.")
    if not any(sign.isalnum() for sign in text):
        raise ParseError(ParseFault.BAD_ANSWER, "ANSWER must be a few words.")
    forms: dict[tuple[str, ...], str] = {}
    for form in accepted:
        if form.strip().casefold() not in _NONE:
            forms.setdefault(tuple(tokens_of(form)), form.strip())
    forms.pop(tuple(tokens_of(text)), None)
    if len(forms) > MAX_FORMS or any(len(form) > MAX_OPEN_CHARS for form in forms.values()):
        raise ParseError(ParseFault.BAD_ANSWER, f"ACCEPTED must hold at most {MAX_FORMS} short forms.")
    rubric = "" if rubric.casefold() in _NONE else rubric
    return OpenKey(text=text, accepted=tuple(forms.values()), rubric=rubric)


def _bad_answer(what: str, answer: str) -> ParseError:
    return ParseError(ParseFault.BAD_ANSWER, f"ANSWER must be {what}, not '{' '.join(answer.split())[:80]}'.")
