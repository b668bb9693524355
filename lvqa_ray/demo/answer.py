"""Answers to multiple-choice questions, from what the request holds and from nothing else.

With merged captions, a question of ours is worked out from the facts in them. Without them, or for a question of
somebody else, a letter is drawn with a generator seeded by the request, and the reply says that it is a guess.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass

from lvqa_ray.demo.facts import COLOURS, LIGHTINGS, ClipFacts, Look
from lvqa_ray.demo.reel import Reel, Sameness

_REQUEST = re.compile(r'the line "ANSWER: "')
_QUESTION = re.compile(r"^(?P<stem>[^\n]+)\nA\. ([^\n]+)\nB\. ([^\n]+)\nC\. ([^\n]+)\nD\. ([^\n]+)$", re.MULTILINE)
_COLOUR = f"(?:{'|'.join(COLOURS)})"
_LOOK = re.compile(
    rf"an? (?P<lighting>{'|'.join(LIGHTINGS)}) picture (?:that is mainly "
    rf"(?P<colours>{_COLOUR}(?:, {_COLOUR})?(?: and {_COLOUR})?)|of many colours)",
    re.IGNORECASE,
)
_CLAIM = re.compile(
    rf"^- The picture is (?P<lighting>{'|'.join(LIGHTINGS)}) and "
    rf"(?:mainly (?P<colours>{_COLOUR}(?:, {_COLOUR})?(?: and {_COLOUR})?)|of many colours)\.$",
    re.MULTILINE,
)
_ANCHOR = re.compile(rf"first shows (?P<look>{_LOOK.pattern})", re.IGNORECASE)
_UNTIL = re.compile(rf"until the picture is (?P<lighting>{'|'.join(LIGHTINGS)})\.")
_COUNTED = re.compile(rf"In how many of them is (?:the picture )?(?P<what>{'|'.join((*LIGHTINGS, *COLOURS))}) ")


@dataclass(frozen=True, slots=True)
class Request:
    """A question to answer: its stem, and its options by letter."""

    stem: str
    options: Mapping[str, str]


def find(text: str) -> Request | None:
    """The question in a request for an answer, or nothing when there is none."""
    found = None
    if _REQUEST.search(text):
        *_, found = [None, *_QUESTION.finditer(text)]
    return None if found is None else Request(found["stem"], dict(zip("ABCD", found.groups()[1:], strict=True)))


def answer(request: Request, text: str) -> str:
    """What can be said about a question, then the line with the letter.

    Args:
        request: The question.
        text: All that the request says: captions, if it has any, are in it.
    """
    reel = Reel.read(text)
    if (letter := _concluded(request, text)) and not reel.seen:
        return f"The thoughts end with this: {request.options[letter]}.\n\nANSWER: {letter}"
    letters = right(request, text) or []
    if len(letters) == 1:
        return f"Going by the descriptions, it is this: {request.options[letters[0]]}.\n\nANSWER: {letters[0]}"
    seed = hashlib.sha256(f"{request.stem}{request.options}{len(reel.seen)}".encode()).digest()
    return f"Nothing that I am given tells; this is a guess.\n\nANSWER: {random.Random(seed).choice('ABCD')}"


def right(request: Request, text: str) -> list[str] | None:
    """The options that the captions in a text bear out; nothing where the question is not one of ours."""
    reel = Reel.read(text)
    told = _told(request, reel) if reel.seen else None
    if told is None:
        return None
    return [letter for letter, option in request.options.items() if _says(option, told)]


def _concluded(request: Request, text: str) -> str:
    """The option that thoughts about a film of ours lead to, or are the only one not to rule out; empty for none."""
    thoughts = text.casefold().partition("what was thought:")[2]
    left: list[str] = []
    for letter, option in request.options.items():
        said = re.escape(option.casefold())
        if re.search(
            rf"so {said} (?:comes first|is seen last)|(?:takes its place|leads up to it) is {said}\.", thoughts
        ):
            return letter
        if option.isdigit() and f"which leaves {option} in all" in thoughts:
            return letter
        if not re.search(rf"so {said} is ruled out|nowhere in the film is there [^.]*{said}", thoughts):
            left.append(letter)
    return left[0] if len(left) == 1 else ""


def score(text: str, seen: ClipFacts) -> str:
    """How far what a request claims can be seen, by the looks of its pictures; empty for another request."""
    if 'the line "SCORE: "' not in text:
        return ""
    looks = {shot.look.sameness for shot in seen.shots}
    claimed = [Look(match["lighting"], _colours(match)).sameness for match in _CLAIM.finditer(text)]
    share = sum(look in looks for look in claimed) / len(claimed) if claimed else 1.0
    return f"Of {len(claimed)} looks that are claimed, so many are in the pictures.\n\nSCORE: {share:.2f}"


def _told(request: Request, reel: Reel) -> Sameness | str | None:
    """What the captions say is right: a look, or a number as text; nothing where the question is not understood."""
    stem = request.stem
    if counted := _COUNTED.search(stem):
        what = counted["what"]
        places = {item.place for item in reel.seen if what in (item.shot.look.lighting, *item.shot.look.colours)}
        return str(len(places))
    if stem == "How does the film begin?":
        return reel.seen[0].shot.look.sameness
    offered = [look.sameness for look in map(_look, request.options.values()) if look and look.sameness in reel.looks]
    if "comes earliest" in stem and offered:
        return min(offered, key=lambda same: reel.seen.index(reel.looks[same][0]))
    if "comes latest" in stem and offered:
        return max(offered, key=lambda same: reel.seen.index(reel.looks[same][-1]))
    anchor = _ANCHOR.search(stem)
    look = _look(anchor["look"]) if anchor else None
    if look is None or look.sameness not in reel.looks:
        return None
    return _beside(stem, reel, look)


def _beside(stem: str, reel: Reel, anchor: Look) -> Sameness | None:
    """The look before or after the first time that there is another one."""
    start = reel.seen.index(reel.looks[anchor.sameness][0])
    if "just before that" in stem:
        return reel.seen[start - 1].shot.look.sameness if start else None
    until = _UNTIL.search(stem)
    for item in reel.seen[start + 1 :]:
        look = item.shot.look
        if (look.lighting == until["lighting"]) if until else (look.sameness != anchor.sameness):
            return look.sameness
    return None


def _says(option: str, told: Sameness | str) -> bool:
    look = _look(option)
    return option == told if look is None else look.sameness == told


def _look(phrase: str) -> Look | None:
    match = _LOOK.fullmatch(phrase.strip())
    if match is None:
        return None
    return Look(match["lighting"].lower(), _colours(match))


def _colours(match: re.Match[str]) -> tuple[str, ...]:
    return tuple(re.split(", | and ", match["colours"])) if match["colours"] else ()
