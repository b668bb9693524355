"""Option letters in running text: renames unambiguous ones when options are shuffled, rejects ambiguous ones."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lvqa_ray.records import LETTERS, Letter

_ONE = r"[(\[]?[*_`'\"]{0,3}[A-D][*_`'\"]{0,3}[)\]]?(?![\w'’])"  # noqa: RUF001
_JOIN = r"(?:\s*,\s*(?:and|or|nor)?\s*|\s+(?:and|or|nor|but\s+not|versus|vs\.?|over|than|rather\s+than)\s+|\s*[/&]\s*)"
_LIST = rf"{_ONE}(?:{_JOIN}(?:(?:[Oo]ptions?|[Cc]hoices?)\s+)?{_ONE})*"
_RANGE = rf"{_ONE}\s*(?:-|–|—|to|through)\s*{_ONE}"  # noqa: RUF001
_NOUN = r"(?:[Oo]ptions?|OPTIONS?|[Cc]hoices?|[Aa]nswers?|[Aa]lternatives?|[Dd]istractors?)"
_VERB = (
    r"(?:is|are|was|were|isn['’]t|aren['’]t|can|cannot|can['’]t|could|does|do|doesn['’]t|don['’]t|fails?|must|would"  # noqa: RUF001
    r"|remains?|matches|match|fits?|describes?|refers?|happens?|occurs?|contradicts?|reverses?|mixes|swaps?|names?|has|have"
    r"|misplaces?|confuses?|comes?|places?|puts?|says?|claims?|states?|follows?)\b"
)
_BEFORE = (
    r"(?:(?:[Ss]o|[Tt]hus|[Hh]ence|[Tt]herefore|[Oo]nly|[Nn]either|[Bb]oth|[Nn]ot|[Ee]xcept|[Ee]liminat\w+|[Ee]xclud\w+"
    r"|[Rr]ul(?:e[sd]?|ing)\s+out|[Rr]eject\w*|[Ll]eav\w+|[Cc]hoos\w+|[Pp]ick\w*|[Ss]elect\w*|[Aa]nswer\s+is"
    r"|[Cc]orrect\s+is|[Cc]onfirm\w*|[Mm]akes?|[Ii]s|[Uu]nlike),?\s+)"
)
_CITED = re.compile(
    rf"(?P<range>\b{_NOUN}\s+(?:are\s+|is\s+)?{_RANGE})"
    rf"|(?P<noun>\b{_NOUN}(?:\s+is)?:?\s+{_LIST})"
    r"|(?P<wrapped>[(\[][A-D][)\]])"
    rf"|(?P<verb>(?<![\w'’.-]){_LIST}(?=,?\s+(?:also\s+|all\s+|both\s+|only\s+)?{_VERB}))"  # noqa: RUF001
    rf"|(?P<bare>(?:(?<=^)|(?<=[,;:.]\s)|(?<=\band\s)|(?<=\bbut\s)|(?<=\bwhile\s)|(?<=\bas\s)){_ONE}{_JOIN}{_LIST})"
    rf"|(?P<before>\b{_BEFORE}{_LIST}(?=\s*[.,;:!?)]|\s*$))"
    rf"|(?P<colon>(?:(?<=^)|(?<=[.;]\s)){_ONE}(?=\s*[:—–]\s))"  # noqa: RUF001
)
_PLACE = re.compile(
    r"\b(?P<the>the\s+)?(?P<place>first|second|third|fourth|last|final)\s+(?:options?|choices?|answer\s+choices?)\b",
    re.IGNORECASE,
)
_CHOSEN = re.compile(
    r"\s+(?:(?i:of|to|for|on|in|at|by|from|with|given|open|offered|made|that|which|who|when|was|were|had"
    r"|i|he|she|it|we|you|they|his|her|its|our|your|their|the|an?)\b|[A-Z][a-z])"
)
"""Text after "the first choice" that shows that a person in the video makes it."""
_TITLE = re.compile(r"\b(?:Mrs?|Ms|Dr|St|Prof|No|Nr|Vol|Fig|Ch|Sec|Pt)\.\s+$")
_WORD = re.compile(r"([\w'’-]+)[\"”’]?\s+$")  # noqa: RUF001
_JOINS = frozenset({
    "also", "although", "and", "as", "because", "both", "but", "either", "else", "except", "hence", "however", "if",
    "leaving", "means", "neither", "nor", "not", "only", "or", "rather", "since", "so", "than", "that", "then",
    "therefore", "though", "thus", "unless", "unlike", "when", "whereas", "whether", "while", "why", "yet",
})  # fmt: skip
"""Words before a letter that do not form a name with it, unlike "team" and "plan"."""
_SUBJECT = re.compile(
    r"([\w'’-]+)\s+(?:(?:can|must|may|might|could|should|would)(?:\s+only)?\s+be|is|was)"  # noqa: RUF001
    r"(?:,?\s+(?:also|both|either|neither|not|only|therefore|thus))*,?\s+[(\[]?[*_`'\"]*$",
    re.IGNORECASE,
)
_ANSWERS = frozenset({
    "answer", "candidate", "choice", "conclusion", "correct", "fit", "key", "left", "match", "one", "option", "pick",
    "possibility", "remaining", "response", "right", "solution",
})  # fmt: skip
"""Subjects of "... is B" for which B can only be an option."""
_SURE = ("range", "noun", "wrapped")
"""Forms of `_CITED` that name an option in any context."""
_LETTER = re.compile(r"(?<![A-Za-z0-9])[A-D](?![A-Za-z0-9])")
_MAYBE = re.compile(r"(?<![A-Za-z0-9'’_.-])[A-D](?![A-Za-z0-9'’_]|-[a-z]|\.[A-Z])")  # noqa: RUF001
_ARTICLE = re.compile(r"A\s+[a-z\"“‘'(]")  # noqa: RUF001
_PLACES: Mapping[str, Letter] = {"first": "A", "second": "B", "third": "C", "fourth": "D", "last": "D", "final": "D"}


class Unclear(ValueError):
    """A capital letter in a text may or may not name an option; the message quotes the passage."""


def moved_letters(text: str, to: Mapping[Letter, Letter], *, shown: bool = False) -> str:
    """Rename the option letters in a text after a shuffle.

    Renamed: "option B", "(B)", "B and D are wrong", "so the answer is B", "the second option" and the like. A list of
    letters keeps its order, and a range ("options A to C") becomes a list.

    Args:
        text: A reason, an option or a stem.
        to: The new letter of each option.
        shown: Whether it is an option or a stem. These describe the video, so only "option B" and "(B)" are certain.

    Raises:
        Unclear: A letter may be a name ("plan B"), or "the first choice" may be made by a person in the video.
    """
    pieces: list[str] = []
    done = 0
    for match in _CITED.finditer(text):
        if (shown and match.lastgroup not in _SURE) or _of_something_else(text, match):
            raise _unclear(text, match)
        pieces += [_checked(text, done, match.start()), _moved(match, to)]
        done = match.end()
    pieces.append(_checked(text, done, len(text)))
    return _PLACE.sub(lambda match: _placed(match, to, shown=shown), "".join(pieces))


def _of_something_else(text: str, match: re.Match[str]) -> bool:
    """Whether a letter may be a name or a property of something in the video: "team B is", "the blood type is B"."""
    if match.lastgroup == "verb":
        return _named(text[: match.start()])
    if match.lastgroup != "before":
        return False
    letter = _LETTER.search(match[0])
    subject = _SUBJECT.search(text[: match.start() + (letter.start() if letter else 0)])
    return subject is not None and subject[1].casefold() not in _ANSWERS


def _named(before: str) -> bool:
    """Whether a letter may form a name with the word before it: "team B is", "Mr. B is"."""
    word = _WORD.search(before)
    return bool(_TITLE.search(before)) or (word is not None and word[1].casefold() not in _JOINS)


def _moved(match: re.Match[str], to: Mapping[Letter, Letter]) -> str:
    if match["range"] is None:
        return _LETTER.sub(lambda found: to[LETTERS["ABCD".index(found[0])]], match[0])
    first, last = (found.start() for found in _LETTER.finditer(match[0]))
    start, end = "ABCD".index(match[0][first]), "ABCD".index(match[0][last])
    if start >= end:
        raise Unclear(f"'{match[0]}' is no range of options")
    moved = sorted(to[letter] for letter in LETTERS[start : end + 1])
    head = match[0][:first].rstrip("([*_`'\"")
    return f"{head}{', '.join(moved[:-1])} and {moved[-1]}"


def _placed(match: re.Match[str], to: Mapping[Letter, Letter], *, shown: bool) -> str:
    # "His first choice" and "the first choice of knife" name no option.
    if shown or match["the"] is None or _CHOSEN.match(match.string, match.end()):
        raise _unclear(match.string, match)
    capital = match["the"][0].isupper()
    return f"{'Option' if capital else 'option'} {to[_PLACES[match['place'].lower()]]}"


def _checked(text: str, start: int, end: int) -> str:
    """Return a part of the text that names no option.

    Raises:
        Unclear: It may name one.
    """
    for letter in _MAYBE.finditer(text, start, end):
        if not _ARTICLE.match(text, letter.start()):
            raise _unclear(text, letter)
    return text[start:end]


def _unclear(text: str, match: re.Match[str]) -> Unclear:
    around = text[max(0, match.start() - 25) : match.end() + 25].strip()
    return Unclear(f"'{around}' may name an option or not")
