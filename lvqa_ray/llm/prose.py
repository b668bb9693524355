"""Whether reasoning that was rewritten as prose still says what it said: told by its numbers, names and letters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lvqa_ray.llm.parse import full_question
from lvqa_ray.llm.wording import without_captions
from lvqa_ray.records import Question

_SOURCE = re.compile(
    r"\b(?:the|these|those|given|provided|above)\s+(?:(?:given|provided|above|video|clip|scene)\s+)?"
    r"(?:descriptions|transcripts?|annotations|given\s+reasons|provided\s+reasons)\b",
    re.IGNORECASE,
)
_STEP = re.compile(r"\bStep\s+\d+\b|^\s*(?:#{1,6}\s|[-*•]\s)", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,:]\d+)*(?![\w])")
_TIME = re.compile(
    r"\[?\b(?:from|between|at|around|near)?\s*\d+(?::\d\d)+(?:\.\d+)?"
    r"|\b(?:from|between)\s+\d+(?:\.\d+)?\s?(?:s|sec\w*)?\s+(?:to|and|until)\s+\d+(?:\.\d+)?\s?(?:s\b|sec\w*)?"
    r"|\b\d+(?:\.\d+)?\s?(?:s|secs?|seconds?)\b",
    re.IGNORECASE,
)
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"'”’)]*\s+|\n+")  # noqa: RUF001
_NAME = re.compile(r"(?<=[\w,;] )(?!(?:Option|Answer|Choice|Step)\b)[A-Z][a-z]{2,}\b")
_ENGLISH = re.compile(r"\b(?:the|is|are|and|of|in)\b")
_CONCLUSION = re.compile(
    r"\b(?:answer|option|choice)\b(?:\s+(?:is|must\s+be|has\s+to\s+be|should\s+be|would\s+be|to\s+choose\s+is))?"
    r"\s*:?\s*(?:indeed\s+|therefore\s+|clearly\s+)?(?:option\s+|letter\s+)?[*_(\[]*(?P<letter>[A-D])\b",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"\banswer\b", re.IGNORECASE)


def prose_fault(question: Question, prose: str) -> str:
    """What is wrong with prose that was made of the reasoning of a question, in one sentence; empty for nothing.

    It names no captions, lists or steps, concludes with no other letter than the key's, has no number and, in English,
    no name that the question and its reasons lack, and lacks none of the reasons' own. Times may be left out.
    """
    return next(_faults(question, prose), "")


def _faults(question: Question, prose: str) -> Iterator[str]:
    told = [reason for step in question.steps for reason in step.reasons]
    source = "\n".join([full_question(question), *told, *(step.timestamp for step in question.steps)])
    reasons = without_captions("\n".join(told))
    if without_captions(prose) != prose or _SOURCE.search(prose):
        yield "it speaks of captions or descriptions"
    if listed := _STEP.search(prose):
        yield f"it is a list and no prose: '{listed[0].strip()}'"
    for letter in concluded(prose):
        if letter != question.answer:
            yield f"it concludes with option {letter}, and the key is {question.answer}"
    # "One" and "two" are said of anything; what is said of more is a fact.
    for number in sorted(_numbers(prose, 3) - _numbers(source, 0)):
        yield f"it adds the number {number}"
    for number in sorted(_numbers(_TIME.sub(" ", reasons), 3) - _numbers(prose, 0)):
        yield f"it leaves out the number {number}"
    if _ENGLISH.search(prose) and _ENGLISH.search(source):  # other languages have other rules for capitals
        for name in _NAME.findall(prose):
            if name.casefold() not in _words(source):
                yield f"it adds the name {name}"
        for name in _NAME.findall(reasons):
            if name.casefold() not in _words(prose):
                yield f"it leaves out the name {name}"


def concluded(prose: str) -> list[str]:
    """The letters that a text says are the answer, in order."""
    return [
        match["letter"].upper()
        for sentence in _SENTENCE.split(prose)
        if _ANSWER.search(sentence)
        for match in _CONCLUSION.finditer(sentence)
        if match["letter"].isupper()
    ]


def without_conclusion(prose: str) -> str:
    """A text that does not say which letter is the answer.

    Sentences that only say so are left out; where it is said at the end of another, the letter is a dash.
    """
    kept = []
    for sentence in _SENTENCE.split(prose):
        if concluded(sentence):
            if _ONLY.match(sentence.strip()):
                continue
            sentence = _CONCLUSION.sub(lambda match: match[0][:-1] + "-", sentence)  # noqa: PLW2901 - what is shown of it
        if sentence.strip():
            kept.append(sentence.strip())
    return " ".join(kept)


_ONLY = re.compile(
    r"(?:so|therefore|thus|hence|in\s+conclusion|consequently|this\s+means|that\s+means|all\s+in\s+all)\b"
    r"|(?:and\s+)?the\s+(?:correct\s+|right\s+|final\s+)?answer\b",
    re.IGNORECASE,
)
"""How a sentence begins that says nothing but which letter is the answer."""


def _numbers(text: str, least: int) -> set[str]:
    """The numbers of a text as digits; those that are written as words, from some number on."""
    words = _words(text)
    return set(_NUMBER.findall(text)) | {str(n) for n, word in enumerate(_WORDS) if word in words and n >= least}


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", text.casefold()))
