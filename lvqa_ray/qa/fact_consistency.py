"""Fact consistency of rewritten reasoning: compares numbers, names and option letters with the original."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lvqa_ray.qa.formats.conclusion import concluded
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.rewording import replace_caption_mentions
from lvqa_ray.records import AnyQuestion, Question

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
_CAPITAL = re.compile(r"(?<=[\w,;] )[^\W\d_]{3,}\b")
_LANGUAGES = {
    "English": "the is are and of in to that",
    "Dutch": "de het een en van is op dat",
    "French": "le la les est et de des un une dans",
    "Italian": "il la le gli è e di del un una che",
    "Portuguese": "o a os as é e de do da um uma que",
    "Spanish": "el la los las es y en de del un una que",
}
"""Frequent words of languages in which a capital inside a sentence marks a name, and names are not inflected."""
_USUAL = 0.1
"""Minimum share of these words in a text of the language."""
_NO_NAMES = frozenset({
    "answer", "antwoord", "antwort", "choice", "choix", "elección", "escolha", "étape", "keuze", "opção", "opción",
    "optie", "option", "opzione", "paso", "passo", "réponse", "respuesta", "resposta", "risposta", "scelta", "stap",
    "step",
})  # fmt: skip


def prose_fault(question: AnyQuestion, prose: str) -> str:
    """The first fault of rewritten reasoning, in one sentence; empty for none.

    Faults: it mentions captions, contains lists or steps, concludes with another letter than the key's, adds a number
    that is not in the question or its reasons, or omits one of the reasons'. In `_LANGUAGES`, the same holds for
    names. Times may be omitted.
    """
    return next(_faults(question, prose), "")


def _faults(question: AnyQuestion, prose: str) -> Iterator[str]:
    texts = [reason for step in question.steps for reason in step.reasons]
    source = "\n".join(
        [full_question(question), question.key_text, *texts, *(step.timestamp for step in question.steps)]
    )
    reasons = replace_caption_mentions("\n".join(texts))
    if replace_caption_mentions(prose) != prose or _SOURCE.search(prose):
        yield "it speaks of captions or descriptions"
    if listed := _STEP.search(prose):
        yield f"it is a list and no prose: '{listed[0].strip()}'"
    for letter in concluded(prose) if isinstance(question, Question) else ():
        if letter != question.key_text:
            yield f"it concludes with option {letter}, and the key is {question.key_text}"
    # "One" and "two" are common words; larger numbers are facts.
    for number in sorted(_numbers(prose, 3) - _numbers(source, 0)):
        yield f"it adds the number {number}"
    for number in sorted(_numbers(_TIME.sub(" ", reasons), 3) - _numbers(prose, 0)):
        yield f"it leaves out the number {number}"
    language = _language(prose)
    if language and language == _language(reasons):  # a translation may write names in its own way
        for name in _names(prose):
            if name.casefold() not in _words(source):
                yield f"it adds the name {name}"
        for name in _names(reasons):
            if name.casefold() not in _words(prose):
                yield f"it leaves out the name {name}"


def _language(text: str) -> str:
    """Detect which of `_LANGUAGES` a text is in; empty for none of them."""
    words = re.findall(r"[^\W\d_]+", text.casefold())
    counts = {name: sum(map(words.count, some.split())) for name, some in _LANGUAGES.items()}
    likely = max(counts, key=lambda name: counts[name])
    return likely if words and counts[likely] >= _USUAL * len(words) else ""


def _names(text: str) -> Iterator[str]:
    for word in _CAPITAL.findall(text):
        if word.istitle() and word.casefold() not in _NO_NAMES:
            yield word


def _numbers(text: str, least: int) -> set[str]:
    """The numbers of a text as digits; number words count from `least` on."""
    words = _words(text)
    return set(_NUMBER.findall(text)) | {str(n) for n, word in enumerate(_WORDS) if word in words and n >= least}


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"[^\W\d_]+", text.casefold()))
