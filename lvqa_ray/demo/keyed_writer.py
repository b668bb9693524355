"""Rule-based questions without options, written and answered from the captions only.

- ``span``: when the film shows a look that fills whole parts of it.
- ``number``: how many separate times it shows a look, or how many seconds pass between two looks.
- ``open``: what the picture looks like after a look first gives way.

`key_text` finds the answer to such a question, and to one about the order of moments, from any captions.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from lvqa_ray.demo.captions import NAMED, STATED, Film, Look, Sameness, Seen, looks
from lvqa_ray.demo.question_writer import AFTER
from lvqa_ray.records import Key, KeyedQuestion, Kind, NumberKey, OpenKey, ReasoningStep, Span, SpanKey

SPAN_STEM = "During which stretches of the film is nothing else to be seen but {look}?"
NUMBER_STEM = "How many separate times does the film show {look}, with something else in between?"
OPEN_STEM = f"{AFTER.stem} Name its light and its main colours."
SECONDS_STEM = "How many seconds after it first shows {first} does the film first show {second}?"
MOST_SPANS = 3
LONGEST_WAIT_S = 300.0
_LISTED = re.compile(r"^(\d+)\. (.+)$", re.MULTILINE)


def write_keyed(captions: str, kind: Kind, count: int = 1, known: Collection[str] = ()) -> list[KeyedQuestion]:
    """Write questions of a kind about a video; fewer if the video does not have enough.

    Args:
        captions: The merged captions.
        kind: ``span``, ``number`` or ``open``.
        count: Number of questions.
        known: Stems of existing questions, which are not repeated.
    """
    film = Film.read(captions)
    seed = hashlib.sha256(repr((kind, film.parts, film.seen)).encode()).digest()
    draw = random.Random(seed)
    written: list[KeyedQuestion] = []
    candidates = draw.sample(film.firsts, len(film.firsts))
    candidates.sort(key=lambda shot: not 2 <= len(_runs(film, shot.look.sameness)) <= MOST_SPANS)
    for shot in candidates:
        question = _WRITERS[kind](film, shot)
        if question is not None and question.question not in known and len(written) < count:
            written.append(question)
    return written


def key_text(captions: str, question: str) -> str | None:
    """The answer that captions support, as text; ``None`` without one.

    Args:
        captions: The merged captions, or a part of them.
        question: The question as one text.
    """
    film = Film.read(captions)
    if items := _LISTED.findall(question):
        moments = [text for _, text in items]
        return _order_in_text(captions, moments) or _order_of(film, moments)
    named = [film.looks.get(look.sameness) for look in looks(NAMED, question)]
    shots = named[0] if named else None
    if not shots:
        return None
    if question.startswith("How many seconds"):
        passing = _passing(film, shots[0], named[1][0]) if len(named) > 1 and named[1] else None
        return passing.key_text if passing else None
    kinds: Mapping[str, Kind] = {"During which": "span", "How many": "number", "At some point": "open"}
    kind = next((kind for start, kind in kinds.items() if question.startswith(start)), None)
    written = _WRITERS[kind](film, shots[0]) if kind else None
    return written.key_text if written else None


def _span(film: Film, shot: Seen) -> KeyedQuestion | None:
    runs = _runs(film, shot.look.sameness)
    whole = all(_alone(film, place, shot.look.sameness) for run in runs for place in run)
    if not whole or not 1 <= len(runs) <= MOST_SPANS or not _clear(film, shot.look):
        return None
    spans = [(film.parts[run[0]], film.parts[run[-1]]) for run in runs]
    key = SpanKey(spans=tuple(Span(start_s=first.start, end_s=last.end) for first, last in spans))
    if any(one.end_s >= other.start_s for one, other in pairwise(key.spans)):
        return None
    end = "No other part of the film looks like this."
    stem = SPAN_STEM.format(look=shot.look.phrase)
    return _keyed(film, shot.look, key, runs, stem=stem, end=end)


def _number(film: Film, shot: Seen) -> KeyedQuestion | None:
    runs = _runs(film, shot.look.sameness)
    if len(runs) < 2 or not _clear(film, shot.look) or not film.unbroken(film.seen[0], film.seen[-1]):
        return _seconds_between(film, shot)
    key = NumberKey(number=len(runs), unit="times")
    end = f"So there are {len(runs)} separate times."
    stem = NUMBER_STEM.format(look=shot.look.phrase)
    return _keyed(film, shot.look, key, [run[:1] for run in runs], stem=stem, end=end)


def _seconds_between(film: Film, first: Seen) -> KeyedQuestion | None:
    """How many seconds pass from the first appearance of a look to that of another; exact to the length of a part."""
    for second in film.firsts:
        if question := _passing(film, first, second):
            return question
    return None


def _passing(film: Film, first: Seen, second: Seen) -> KeyedQuestion | None:
    start, end = film.parts[first.place], film.parts[second.place]
    seconds, tolerance = end.start - start.start, max(start.end - start.start, end.end - end.start)
    far_enough = second.index > first.index and 2 * tolerance <= seconds <= LONGEST_WAIT_S
    if not far_enough or not film.apart(first, second) or not first.look.clear_of(second.look):
        return None
    key = NumberKey(number=seconds, tolerance=tolerance, unit="s")
    steps = [
        (shot.place, (shot.look.sentence, f"This is the first time that there is {shot.look.phrase}."))
        for shot in (first, second)
    ]
    stem = SECONDS_STEM.format(first=first.look.phrase, second=second.look.phrase)
    return KeyedQuestion(question=stem, key=key, steps=tuple(_step(film, place, why) for place, why in steps))


def _open(film: Film, shot: Seen) -> KeyedQuestion | None:
    after = next((one for one in film.seen[shot.index + 1 :] if one.look.sameness != shot.look.sameness), None)
    if after is None or not film.unbroken(shot, after):
        return None
    look = after.look
    key = OpenKey(
        text=f"{look.lighting}, {look.palette}", accepted=(look.phrase,), rubric=f"It says that {look.clause}."
    )
    stem = OPEN_STEM.format(look=shot.look.phrase)
    steps = [
        (shot.place, (shot.look.sentence, f"This is the first time that there is {shot.look.phrase}.")),
        (after.place, (look.sentence, f"So what takes its place is {look.phrase}.")),
    ]
    return KeyedQuestion(question=stem, key=key, steps=tuple(_step(film, place, why) for place, why in steps))


def _keyed(film: Film, look: Look, key: Key, runs: Sequence[Sequence[int]], *, stem: str, end: str) -> KeyedQuestion:
    """A question with one step for each part of the appearances of a look, and a conclusion."""
    told: list[tuple[int, str]] = []
    for first, *rest in runs:
        told.append((first, "Something else comes before it." if first else "The film begins so."))
        told += [(place, "It goes on like this.") for place in rest]
    steps = [_step(film, place, (look.sentence, why)) for place, why in told]
    last = replace(steps[-1], reasons=(*steps[-1].reasons, end))
    return KeyedQuestion(question=stem, key=key, steps=(*steps[:-1], last))


def _step(film: Film, place: int, reasons: tuple[str, ...]) -> ReasoningStep:
    part = film.parts[place]
    return ReasoningStep(timestamp=part.label, start_s=part.start, end_s=part.end, reasons=reasons)


def _runs(film: Film, sameness: Sameness) -> list[list[int]]:
    """The separate appearances of a look: the parts of each run of consecutive shots."""
    runs: list[list[int]] = []
    before: Sameness | None = None
    for shot in film.seen:
        if shot.look.sameness == sameness:
            if before != sameness:
                runs.append([])
            if shot.place not in runs[-1]:
                runs[-1].append(shot.place)
        before = shot.look.sameness
    return runs


def _alone(film: Film, place: int, sameness: Sameness) -> bool:
    """Whether a part shows nothing else."""
    return all(shot.look.sameness == sameness for shot in film.seen if shot.place == place)


def _clear(film: Film, look: Look) -> bool:
    """Whether a viewer cannot confuse a look with another one of the film."""
    return all(look.clear_of(other.look) for other in film.firsts if other.look.sameness != look.sameness)


def _order_in_text(captions: str, items: Sequence[str]) -> str | None:
    """The numbers of moments in the order of their sentences in the captions; ``None`` if a sentence is missing."""
    told = _TIMES.sub("", captions).casefold()
    places = [told.find(item.casefold()) for item in items]
    order = sorted(range(len(items)), key=lambda number: places[number])
    return None if -1 in places else ", ".join(str(number + 1) for number in order)


_TIMES = re.compile(r"\b(?:at|from|between) \d+(?:\.\d+)? s(?: (?:to|and) \d+(?:\.\d+)? s)? ?", re.IGNORECASE)


def _order_of(film: Film, items: Sequence[str]) -> str | None:
    """The numbers of moments in the order in which the film first states them."""
    stated = [looks(STATED, f"{item}.") for item in items]
    first = {shots[0].look.sameness: shots[0].index for shots in film.looks.values()}
    places = [first.get(found[0].sameness) if found else None for found in stated]
    if None in places:
        return None
    order = sorted(range(len(items)), key=lambda number: places[number] or 0)
    return ", ".join(str(number + 1) for number in order)


_WRITERS: Mapping[Kind, Callable[[Film, Seen], KeyedQuestion | None]] = {
    "span": _span,
    "number": _number,
    "open": _open,
}
