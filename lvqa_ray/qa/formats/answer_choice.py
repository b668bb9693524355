r"""Answer parser: reads the chosen option from the last ``ANSWER:`` line of a reply.

It is lenient but never guesses. Models decorate the letter ("Option B, blue car", "<B>", "\boxed{B}",
"B (low confidence)"), and some continue after it. A reply with two letters, or with the text of another option than
its letter's, is unreadable.
"""

# ruff: noqa: RUF001 -- full-width marks and typographic apostrophes are what some models write

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.section_labels import read_label
from lvqa_ray.qa.formats.text_format import read_answer
from lvqa_ray.qa.grading import grade
from lvqa_ray.records import LETTERS, KeyedQuestion, Letter, OrderKey, Question, SpanKey

_INLINE = re.compile(r"\bANSWER\W{0,3}[:：]")
_TEX = re.compile(r"\\(?:boxed|fbox|text\w*|math\w*)\s*\{([^{}]*)\}")
_CLOTHES = re.compile(r"[*_`$<>{}\\]+")
_LETTER = re.compile(r"(?<![\w'’.-])[A-D](?![\w'’]|-\w|\.\w)")
_ARTICLE = re.compile(r"A\s+(?!(?:is|as|because|since|seems|fits|follows)\b)[a-z]")
_DENIED = re.compile(r"\b(?:not|no|none|neither|never|cannot|except|without)\b|n['’]t\b", re.IGNORECASE)
_OR = re.compile(r"\b(?:or|and)\b|/", re.IGNORECASE)
_DECLINED = re.compile(
    r"\s*(?:none|nothing|neither|no\s+(?:option|answer|choice|one)|n/?a\b|unknown|unclear|undetermin\w+|indetermin\w+"
    r"|insufficient|impossible|not\s+\w+|无|沒有|没有|keine?\b|ninguna|aucune?|nessuna)",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\b(?:can(?:not|\s+not|['’]t)|unable\s+to|impossible\s+to|not\s+possible\s+to|no\s+way\s+to|(?:do\s+not|don['’]t))\s+"
    r"(?:be\s+)?(?:say|said|tell|told|know|known|choose|chosen|pick|select|determined?|answer(?:ed)?|decided?|guess|infer)"
    r"|\bnot\s+enough\s+(?:information|evidence)|无法|不能",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[\W_]*([A-D])[\W_]*")
_ASKS = re.compile(r"\W*Q(?:uestion)?\s*\d*\s*[:：]", re.IGNORECASE)
_REPLIES = re.compile(r"[\W_]*A\s*[:：]\s*")
MOST_WORDS = 20
"""A longer line without ``ANSWER:`` is talk, and no answer; spans and orders may be longer, which no talk reads as."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice in a reply.

    Attributes:
        letter: The option, or ``None``.
        read: Whether the reply is readable: it names one option, or declines to choose.
        rationale: The text before the answer, on one line.
    """

    letter: Letter | None
    read: bool
    rationale: str = ""


@dataclass(frozen=True, slots=True)
class GradedAnswer:
    """The graded answer in a reply.

    Attributes:
        score: Score from 0 to 1.
        read: Whether the reply is readable: it gives one answer, or declines to.
        rationale: The text before the answer, on one line.
        answer: The text of the answer; empty if it cannot be graded, or declines to answer.
    """

    score: float
    read: bool
    rationale: str = ""
    answer: str = ""


def read_graded(reply: str, q: KeyedQuestion) -> GradedAnswer:
    """Read and grade a reply that should contain a line ``ANSWER: ...``; without it, its only line, if short."""
    lines = [line for line in strip_thinking(reply).splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        before, answer = _parted(lines[place])
        if answer is None:
            continue
        if not _plain(answer) and lines[place + 1 :]:
            answer = lines[place + 1]
        score = grade(q.key, _plain(answer))
        rationale = " ".join(" ".join([*lines[:place], before]).split())
        text = _plain(answer) if score or (score is not None and not _declines(answer)) else ""
        return GradedAnswer(score or 0.0, score is not None or _declines(answer), rationale, text)
    short = len(lines) == 1 and (isinstance(q.key, SpanKey | OrderKey) or len(lines[0].split()) <= MOST_WORDS)
    score = grade(q.key, _plain(lines[0])) if short else None
    declines = bool(lines) and _declines(lines[-1])
    text = _plain(lines[0]) if score or (score is not None and not declines) else ""
    return GradedAnswer(score or 0.0, score is not None or declines, answer=text)


def read_choice(reply: str, q: Question) -> Choice:
    """Read a reply that should contain a line ``ANSWER: <letter>``.

    Without that line, the whole reply counts if it is only an answer, else its last line.
    """
    lines = [line for line in strip_thinking(reply).splitlines() if line.strip()]
    for place in range(len(lines) - 1, -1, -1):
        before, answer = _parted(lines[place])
        if answer is None:
            continue
        if not _plain(answer) and lines[place + 1 :]:
            answer = lines[place + 1]
        letter = _letter(answer, q.options)
        rationale = " ".join(" ".join([*lines[:place], before]).split())
        return Choice(letter, letter is not None or _declines(answer), rationale)
    last = lines[-1] if lines else ""
    # The last of a list of letters, or the "A:" of a dialogue with nothing after it, chooses nothing.
    listed = len({match[1] for line in lines if (match := _ALONE.fullmatch(line))}) > 1 and _ALONE.fullmatch(last)
    cut_off = _REPLIES.fullmatch(last) and any(_ASKS.match(line) for line in lines)
    alone = None if listed or cut_off else _exactly([_plain(last)], q.options)
    letter = _exactly(lines, q.options) or alone
    return Choice(letter, letter is not None or _declines(last))


def _parted(line: str) -> tuple[str, str | None]:
    """Text before and after ``ANSWER:`` on a line; the second is ``None`` without that label."""
    if (label := read_label(line)) is not None and label.name == "ANSWER":
        return "", label.rest
    inline = [*_INLINE.finditer(line)]
    return (line[: inline[-1].start()], line[inline[-1].end() :]) if inline else ("", None)


def _declines(answer: str) -> bool:
    """Whether an answer declines to choose; an answer that contains a letter is ambiguous and does not count."""
    plain = _plain(answer)
    return not _LETTER.search(plain) and bool(_DECLINED.match(plain) or _REFUSED.search(plain))


def _letter(answer: str, options: Mapping[Letter, str]) -> Letter | None:
    """The one option that an answer names, or ``None`` if it is ambiguous."""
    plain = _plain(answer)
    if exact := _exactly([answer], options) or _exactly([plain], options):
        return exact
    found = [*_LETTER.finditer(plain)]
    if len({match[0] for match in found}) != 1 or any(_ARTICLE.match(plain, match.start()) for match in found):
        return None
    if _DENIED.search(plain, 0, found[0].start()) or _OR.match(plain[found[0].end() :].lstrip(" ,)]")):
        return None
    letter = LETTERS["ABCD".index(found[0][0])]
    quoted = {other for other, text in options.items() if _quotes(plain, text)}
    return letter if not quoted or letter in quoted else None


def _exactly(lines: list[str], options: Mapping[Letter, str]) -> Letter | None:
    try:
        return read_answer(lines, dict(options))
    except ParseError:
        return None


def _quotes(answer: str, option: str) -> bool:
    """Whether an answer contains the text of an option."""
    return re.search(rf"(?<!\w){re.escape(option.strip(' .').casefold())}(?!\w)", answer.casefold()) is not None


def _plain(answer: str) -> str:
    """Remove emphasis, brackets and the like."""
    return " ".join(_CLOTHES.sub(" ", _TEX.sub(r"\1", answer)).split())
