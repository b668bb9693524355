"""Structure check: rules for the texts of stem, options and key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.qa.rewording import replace_caption_mentions
from lvqa_ray.records import (
    LETTERS,
    AskedQuestion,
    CaptionedVideo,
    KeyedQuestion,
    NumberKey,
    OpenKey,
    OrderKey,
    Question,
    Verdict,
)
from lvqa_ray.stage import Check


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckStructure(Check):
    """Require four different options of similar length, and no mention of captions, times, other options or the answer.

    A question without options must not mention captions, times or its answer.

    With ``repair``, mentions of captions become mentions of the video; questions with other faults are dropped. The
    verdict's score is the length of the key divided by the mean length of the distractors.
    """

    name: ClassVar[str] = "structure"

    length_ratio: float = Field(
        default=2.0,
        gt=1,
        allow_inf_nan=False,
        description="How many times longer or shorter than the mean wrong option the key may be (in characters).",
    )
    length_slack: int = Field(
        default=15, ge=0, description="A difference of up to this many characters is always accepted."
    )
    times_in_stem: bool = Field(default=False, description="Allow questions that mention times of the video.")

    def judge(self, asked: AskedQuestion, video: CaptionedVideo) -> Verdict:  # noqa: ARG002 - only texts count
        """Report the first fault."""
        question = asked.question
        if isinstance(question, KeyedQuestion):
            items = question.key.items if isinstance(question.key, OrderKey) else ()
            fault = self._texts_fault(question.question, items) or _key_fault(question)
            return self.failed(fault) if fault else self.passed()
        ratio = round(_length_ratio(question), 3)
        fault = _options_fault(question) or self._length_fault(question, ratio) or self._stem_fault(question)
        return self.failed(fault, ratio) if fault else self.passed(ratio)

    def repaired(self, asked: AskedQuestion, video: CaptionedVideo) -> AskedQuestion | None:  # noqa: ARG002 - only texts count
        """Replace mentions of captions with mentions of the video."""
        if isinstance(asked.question, KeyedQuestion):
            return None
        question = replace(
            asked.question,
            question=replace_caption_mentions(asked.question.question),
            options={letter: replace_caption_mentions(text) for letter, text in asked.question.options.items()},
        )
        try:
            return replace(asked, question=question, reasoning=render_question(question))
        except ValueError:
            return None

    def _length_fault(self, question: Question, ratio: float) -> str:
        key = len(question.options[question.answer])
        mean = key / ratio
        if abs(key - mean) <= self.length_slack or 1 / self.length_ratio <= ratio <= self.length_ratio:
            return ""
        return f"the right option is {ratio:.1f} times as long as the mean of the others"

    def _stem_fault(self, question: Question) -> str:
        fault = self._texts_fault(question.question, question.options.values())
        return fault or ("the question gives its answer away" if _given_away(question) else "")

    def _texts_fault(self, stem: str, others: Iterable[str]) -> str:
        for text in (stem, *others):
            if replace_caption_mentions(text) != text or _SOURCE.search(text):
                return f"it speaks of captions or descriptions: '{text[:80]}'"
        if not self.times_in_stem and (time := _TIME.search(stem)):
            return f"the question names a time: '{time[0].strip()}'"
        return ""


_WORD = re.compile(r"[^\W_]+")
_ARTICLES = frozenset({"a", "an", "the"})
_SOURCE = re.compile(
    r"\b(?:the|these|those|given|provided|above)\s+(?:(?:given|provided|above|video|clip|scene)\s+)?"
    r"(?:descriptions|transcripts?|annotations|summaries)\b|\b(?:described|mentioned|stated)\s+in\s+the\s+text\b",
    re.IGNORECASE,
)
_LETTER = r"\(?(?-i:[A-D])\)?"
_ABOUT_OPTIONS = re.compile(
    r"\b(?:all|any|both|each|either|neither|none|two)\s+of\s+(?:the\s+|these\s+)?(?:other\s+)?"
    r"(?:above|below|options|answers|choices|statements)\b"
    r"|^(?:all|any|both|neither|none|two)\s+of\s+(?:these|those|them|the\s+others)\.?$"
    rf"|\b(?:both|either|neither)\s+{_LETTER}\s+(?:and|or|nor)\s+{_LETTER}(?!\w)"
    rf"|\b(?:options?|answers?|choices?)\s+{_LETTER}(?!\w)|^{_LETTER}\s*(?:and|or|&)\s*{_LETTER}\.?$",
    re.IGNORECASE,
)
_NUMBER = r"\d+(?:\.\d+)?"
_SECONDS = r"\s?(?:s|secs?|seconds?)\b"
_CLOCK = r"\d{1,2}(?::\d{2}){1,2}"
_TIME = re.compile(
    rf"\[\s*(?:{_NUMBER}|{_CLOCK})(?:{_SECONDS})?\s*(?:to|-|–)\s*(?:{_NUMBER}|{_CLOCK})(?:{_SECONDS})?\s*\]"  # noqa: RUF001
    rf"|\b(?:from|between)\s+(?:{_NUMBER}|{_CLOCK})(?:{_SECONDS})?\s*(?:to|and|-|–)\s*(?:{_CLOCK}|{_NUMBER}{_SECONDS})"  # noqa: RUF001
    rf"|\b(?:at|after|around|before|by|from|near|since|until)\s+(?:the\s+)?(?:about\s+)?(?:{_CLOCK}(?!\d|\s*[ap]\.?m)|"
    rf"{_NUMBER}(?:{_SECONDS}(?!\s+of\b)|-second\s+mark))"
    rf"|\b(?:at|after|around|before|by|from|near|since|until)\s+(?:second|minute)\s+{_NUMBER}\b|\btime\s?stamps?\b",
    re.IGNORECASE,
)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word not in _ARTICLES]


def _length_ratio(question: Question) -> float:
    lengths = {letter: len(text) for letter, text in question.options.items()}
    key = lengths.pop(question.answer)
    return key * len(lengths) / max(1, sum(lengths.values()))


def _options_fault(question: Question) -> str:
    texts = {letter: _words(question.options[letter]) or question.options[letter] for letter in LETTERS}
    for place, letter in enumerate(LETTERS):
        for other in LETTERS[place + 1 :]:
            if texts[letter] == texts[other]:
                return f"the options {letter} and {other} say the same"
        if _ABOUT_OPTIONS.search(question.options[letter]):
            return f"option {letter} is about other options: '{question.options[letter][:80]}'"
    return ""


def _key_fault(question: KeyedQuestion) -> str:
    """Why a question without options is no good one by its key."""
    key, stem = question.key, f" {' '.join(_words(question.question))} "
    given_away = "the question gives its answer away"
    match key:
        case NumberKey():
            return given_away if f" {key.number:g} " in stem else ""
        case OpenKey():
            return (
                given_away if any(f" {' '.join(_words(form))} " in stem for form in (key.text, *key.accepted)) else ""
            )
        case OrderKey():
            alike = len({tuple(_words(item)) for item in key.items}) < len(key.items)
            return "two of the moments are described alike" if alike else ""
        case _:
            return ""


def _given_away(question: Question) -> bool:
    """Whether the stem contains the key's words but not a distractor's."""
    stem = _words(question.question)
    joined = f" {' '.join(stem)} "
    held = {letter: f" {' '.join(_words(text))} " in joined for letter, text in question.options.items()}
    if held.pop(question.answer):
        return not any(held.values())
    known = set(stem)
    shares = {letter: _share(_words(text), known) for letter, text in question.options.items()}
    key = shares.pop(question.answer)
    return key == 1.0 and max(shares.values()) < GIVEN_AWAY


GIVEN_AWAY = 0.5
"""If all words of the key are in the stem, less than this share of each distractor's words gives the key away."""


def _share(words: list[str], known: set[str]) -> float:
    """Share of a text's words of four or more letters that are in `known`; 0 if it has fewer than three such words."""
    longer = [word for word in words if len(word) > 3]
    return sum(word in known for word in longer) / len(longer) if len(longer) >= 3 else 0.0
