"""Concluding option letter of a text: finds it, and hides it from a model that has to infer it."""

# ruff: noqa: RUF001 -- full-width marks, typographic apostrophes and other dashes are what some models write

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?<=[.!?。！？])[\"'”’)]*\s+|(?<=[。！？])|\n+")
_LETTER = r"(?<![A-Za-z0-9À-ɏЀ-ӿ])(?P<letter>[A-D])(?![A-Za-z0-9À-ɏЀ-ӿ'’]|-\w)"
_BE = r"(?:is|must\s+be|has\s+to\s+be|can\s+only\s+be|should\s+be|would\s+be|to\s+(?:choose|pick)\s+is)"
_SURELY = r"(?:indeed|therefore|thus|hence|then|clearly|definitely)"
_TO_IT = (
    rf"(?:\s+(?:to|for)\b[^.;:]{{0,40}}?(?=\s{_BE}\b))?[\s,]{{0,3}}(?:{_SURELY}[\s,]+)?"
    rf"(?:{_BE}\b)?\s{{0,2}}[:：]?\s{{0,2}}(?:{_SURELY}\s+)?"
)
_MARKS = r"[*_(\[\"“'‘]*"
_OPTION = rf"{_MARKS}(?:(?:the\s+)?(?:option|choice|letter|answer)\s+)?{_MARKS}"
_RIGHT = r"(?:right|correct|best|final|only\s+possible)"
_FORMS = (
    # the answer is B; the correct option must be (B)
    rf"\b(?i:(?:answer|{_RIGHT}\s+(?:option|choice|one|letter|alternative))\b{_TO_IT}{_OPTION}){_LETTER}",
    # option B is right; so B must be the correct one
    rf"(?:\b(?i:option|choice|letter|answer|so|therefore|thus|hence|consequently|that|means|only|and)\b,?\s+|[,;:]\s+|^\W*)"
    rf"(?i:{_OPTION}){_LETTER}[)\]*_\"”'’]*\s+"
    rf"(?i:{_BE}\s+(?:{_SURELY}\s+)?(?:the\s+)?(?:{_RIGHT}|answer)\b"
    r"(?!\s+(?:about|that|up|except|behind|before|after|next|beside|when|if|in|to)\b))",
    # so it is B; which leaves only B
    rf"\b(?i:(?:so|therefore|thus|hence|consequently)\b,?\s+(?:it\s+{_BE}\s+)?{_OPTION}){_LETTER}(?=\W*$)",
    rf"\b(?i:(?:leaves|leaving)\s+(?:us\s+with\s+)?(?:only\s+)?{_OPTION}){_LETTER}(?=\W*$)",
    # the word for "answer" or "right option" in some other languages, on either side of the letter
    r"(?i:antwort(?:option)?|lösung|respuesta|opción|réponse|risposta|opzione|resposta|ответ|вариант|答案|选项|正解|故选|应选)"
    rf"[^.!?。！？A-Z]{{0,24}}?{_LETTER}",
    rf"{_LETTER}[)\]*_]*\s+(?i:(?:ist|es|est|è|é)?\s*(?:damit\s+|also\s+)?(?:(?:die|la|le|a)\s+)?"
    r"(?:richtig\w*|korrekt\w*|correct[ao]\w*|correcte\w*|corrett\w*|bonne|juste|верн\w+|правильн\w+))",
)
_CONCLUSIONS = tuple(re.compile(form) for form in _FORMS)
_DENIED = re.compile(
    r"\b(?:nicht|kein\w*|falsch\w*|no|incorrect\w*|pas|fausse?|non|sbagliat\w*|errad\w*|неверн\w*|не)\b|不|错",
    re.IGNORECASE,
)
"""Negations in other languages than English; the English forms match no negated statement."""
_FOREIGN = _CONCLUSIONS[-2:]
_ONLY = re.compile(
    r"(?:so|therefore|thus|hence|in\s+conclusion|consequently|this\s+means|that\s+means|all\s+in\s+all)\b"
    r"|(?:and\s+)?the\s+(?:correct\s+|right\s+|best\s+|final\s+)?(?:answer|option|choice)\b",
    re.IGNORECASE,
)
"""Beginning of a sentence that only states the answer."""
_LONGEST_LEAD = 4
"""Maximum number of words between that beginning and the conclusion; more words contain facts about the video."""
_ARTICLE = re.compile(r"A\s+(?!(?:is|was|and|or|must|fits?|matches|remains?|follows|it)\b)[a-zà-ɏ]")


def concluded(prose: str) -> list[str]:
    """The letters that a text states as the answer, in order."""
    return [match["letter"] for sentence in _SENTENCE.split(prose) for match in _found(sentence)]


def without_conclusion(prose: str) -> str:
    """Remove the statement of the answer from a text.

    Sentences that only state it are removed; in other sentences a dash replaces the letter. In the last sentence a dash
    replaces every option letter, since no list of wordings is complete.
    """
    kept = []
    sentences = [sentence.strip() for sentence in _SENTENCE.split(prose) if sentence.strip()]
    for place, sentence in enumerate(sentences, start=1):
        found = _found(sentence)
        if found and _says_only(sentence, found[0]):
            continue
        hidden = {match.start("letter") for match in found}
        if place == len(sentences):
            letters = re.finditer(_LETTER, sentence)
            hidden |= {match.start() for match in letters if not _ARTICLE.match(sentence, match.start())}
        kept.append("".join("-" if at in hidden else sign for at, sign in enumerate(sentence)))
    return " ".join(kept)


def without_answer(prose: str) -> str:
    """Remove the sentences that only state the answer, in a text about a question without options."""
    sentences = [sentence.strip() for sentence in _SENTENCE.split(prose) if sentence.strip()]
    return " ".join(sentence for sentence in sentences if not _STATED.match(sentence))


_STATED = re.compile(
    r"(?:(?:so|therefore|thus|hence|in\s+conclusion|consequently|and),?\s+)?(?:the\s+)?(?:correct\s+|right\s+|final\s+)?"
    r"answer\b|.{0,20}答案",
    re.IGNORECASE,
)


def _found(sentence: str) -> list[re.Match[str]]:
    """Matches where a sentence states a letter as the answer, in order, one per position."""
    found: dict[int, re.Match[str]] = {}
    for form in _CONCLUSIONS:
        for match in form.finditer(sentence):
            if form not in _FOREIGN or not _DENIED.search(sentence):
                found.setdefault(match.start("letter"), match)
    return [found[at] for at in sorted(found)]


def _says_only(sentence: str, conclusion: re.Match[str]) -> bool:
    begins = _ONLY.match(sentence)
    return begins is not None and len(sentence[begins.end() : conclusion.start()].split()) <= _LONGEST_LEAD
