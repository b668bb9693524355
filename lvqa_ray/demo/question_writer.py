"""Rule-based multiple-choice questions about a video, written and answered from its captions only.

`write` draws kinds of questions and moments from a random generator seeded by the captions: the same video gives the
same questions. `right` finds the correct options of such a question. The key and its distractors, which are true at
other moments, always differ clearly (`Look.clear_of`), so that no viewer must tell two shades of a colour apart.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from lvqa_ray.demo.captions import COLOURS, LIGHTINGS, NAMED, Film, Look, Sameness, Seen, capital, listed, looks
from lvqa_ray.records import LETTERS, Letter, Question, ReasoningStep

ROUNDS = 3
"""Attempts for each kind of question."""

StepFacts = tuple[int, tuple[str, ...]]
"""A step of the reasoning: the index of a part of the video, and the sentences about it."""


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A question before its options are shuffled."""

    stem: str
    key: Look
    distractors: Sequence[Look]
    steps: Sequence[StepFacts]


@dataclass(frozen=True, slots=True)
class Walk:
    """Kind of question about a moment that is found from the first appearance of another look (the anchor)."""

    stem: str
    why: str
    moment: str


AFTER = Walk(
    stem="At some point the film first shows {look}. When that gives way, what comes next?",
    why="So what takes its place is {key}.",
    moment="what comes next",
)
BEFORE = Walk(
    stem="At some point the film first shows {look}. What is seen just before that?",
    why="So what leads up to it is {key}.",
    moment="what comes just before",
)
TURNING = Walk(
    stem="Start where the film first shows {look}, and watch on until the picture is {lighting}. "
    "What does it look like then?",
    why="No picture between the two is {lighting}, so this is the one asked for.",
    moment="the moment to find",
)
BEGINNING = "How does the film begin?"
EARLIEST = "Going by the first time that each of them is seen, which of these comes earliest in the film?"
_UNTIL = re.compile(rf"until the picture is (?P<lighting>{'|'.join(LIGHTINGS)})\.")


def write(captions: str, count: int = 1, known: Collection[str] = ()) -> list[Question]:
    """Write questions about a video; fewer if the video does not have enough.

    Args:
        captions: The merged captions, one ``From {start} to {end}, {caption}`` per line.
        count: Number of questions.
        known: Stems of existing questions, which are not repeated.
    """
    film = Film.read(captions)
    draw = random.Random(hashlib.sha256(repr((film.parts, film.seen)).encode()).digest())
    written: dict[tuple[str, Look], Question] = {}
    for _ in range(ROUNDS if film.seen else 0):
        for kind in [*draw.sample(KINDS, len(KINDS)), opening]:
            puzzle = kind(film, draw)
            if puzzle and puzzle.stem not in known and (puzzle.stem, puzzle.key) not in written:
                written[puzzle.stem, puzzle.key] = _question(film, puzzle, draw)
            if len(written) == count:
                return list(written.values())
    return list(written.values())


def right(captions: str, stem: str, options: Mapping[Letter, str]) -> list[Letter] | None:
    """Options that the captions support; ``None`` without captions, or for a question that `write` did not write."""
    film = Film.read(captions)
    named = {letter: _named(option) for letter, option in options.items()}
    truth = _truth(film, stem, named.values()) if film.seen else None
    return [letter for letter, look in named.items() if look == truth] if truth else None


def _truth(film: Film, stem: str, options: Collection[Sameness | None]) -> Sameness | None:
    """The look that answers a question; ``None`` if the question cannot be parsed."""
    if stem == BEGINNING:
        return film.seen[0].look.sameness
    if stem == EARLIEST:
        return next((shot.look.sameness for shot in film.firsts if shot.look.sameness in options), None)
    anchors = film.looks.get(_named(stem) or ("", frozenset()))
    key = _reached(film, anchors[0], stem) if anchors else None
    return key.look.sameness if key else None


def _reached(film: Film, anchor: Seen, stem: str) -> Seen | None:
    """The shot that a `Walk` reaches from its anchor."""
    if stem.endswith("just before that?"):
        return film.seen[anchor.index - 1] if anchor.index else None
    until = _UNTIL.search(stem)
    for shot in film.seen[anchor.index + 1 :]:
        if (shot.look.lighting == until["lighting"]) if until else (shot.look.sameness != anchor.look.sameness):
            return shot
    return None


def _named(text: str) -> Sameness | None:
    """The first look named in a text."""
    return next((look.sameness for look in looks(NAMED, text)), None)


def _question(film: Film, puzzle: Puzzle, draw: random.Random) -> Question:
    options = draw.sample(puzzle.distractors, 3)
    key = draw.randrange(4)
    options.insert(key, puzzle.key)
    steps = [(film.parts[place], reasons) for place, reasons in puzzle.steps]
    return Question(
        question=puzzle.stem,
        options={letter: capital(look.phrase) for letter, look in zip(LETTERS, options, strict=True)},
        answer=LETTERS[key],
        steps=tuple(
            ReasoningStep(timestamp=part.label, start_s=part.start, end_s=part.end, reasons=why) for part, why in steps
        ),
    )


def earliest(film: Film, draw: random.Random) -> Puzzle | None:
    """Question: which of four looks comes first. Prefers rare looks, which a viewer remembers."""
    pool = draw.sample(film.firsts, len(film.firsts))
    pool.sort(key=lambda shot: len({other.place for other in film.looks[shot.look.sameness]}) > 3)
    chosen: list[Seen] = []
    for shot in pool:
        clear = all(film.apart(shot, other) and shot.look.clear_of(other.look) for other in chosen)
        if shot.look.colours and clear and len(chosen) < 4:
            chosen.append(shot)
    if len(chosen) < 4:
        return None
    key, *rest = sorted(chosen, key=lambda shot: shot.index)
    steps = [(key.place, (key.look.sentence, "Nothing before this looks the same."))]
    steps += [(shot.place, (shot.look.sentence, "This is the first time that it looks so.")) for shot in rest]
    others = [shot.look for shot in rest]
    named = listed([look.phrase for look in others])
    end = f"So {key.look.phrase} comes first, and the others, {named}, are first seen later."
    return Puzzle(EARLIEST, key.look, others, _ended(steps, end))


def walk(film: Film, draw: random.Random, kind: Walk) -> Puzzle | None:
    """Question of a `Walk` kind."""
    for anchor in draw.sample(film.firsts, len(film.firsts)):
        for lighting in draw.sample(LIGHTINGS, len(LIGHTINGS)) if kind is TURNING else ("",):
            stem = kind.stem.format(look=anchor.look.phrase, lighting=lighting)
            key = _reached(film, anchor, stem)
            if key is None or not film.unbroken(anchor, key):
                continue
            # At least two shots apart, so that it differs from the question for the next shot.
            if lighting and (lighting == anchor.look.lighting or not 2 <= key.index - anchor.index <= 40):
                continue
            rest = _others(film, draw, key.look, anchor.look, lighting=lighting)
            if len(rest) < 3:
                continue
            why = kind.why.format(key=key.look.phrase, lighting=lighting)
            first = f"This is the first time that there is {anchor.look.phrase}."
            steps = [(anchor.place, (anchor.look.sentence, first)), (key.place, (key.look.sentence, why))]
            return Puzzle(stem, key.look, [shot.look for shot in rest], [*steps, *_eliminations(rest, kind.moment)])
    return None


def opening(film: Film, draw: random.Random) -> Puzzle:
    """Question: how the video begins. One shot is enough: looks that never occur fill up the distractors."""
    key = film.seen[0]
    rest = [shot for shot in film.firsts if shot.look.clear_of(key.look)]
    rest = sorted(draw.sample(rest, min(3, len(rest))), key=lambda shot: shot.index)
    every = [Look(lighting, (colour,)) for lighting in LIGHTINGS for colour in COLOURS]
    absent = [look for look in every if all(look.clear_of(shot.look) for shot in film.firsts)]
    never = draw.sample(absent, 3 - len(rest))
    steps = [(key.place, (key.look.sentence, "Nothing comes before it.")), *_eliminations(rest, "the beginning")]
    end = f"Nowhere in the film is there {listed([look.phrase for look in never], 'or')}." if never else ""
    return Puzzle(BEGINNING, key.look, [*(shot.look for shot in rest), *never], _ended(steps, end))


def _others(film: Film, draw: random.Random, *shown: Look, lighting: str) -> list[Seen]:
    """First shots of up to three looks, in order, that differ clearly from `shown` and from each other.

    If `lighting` is given, all of them have it.
    """
    chosen: list[Seen] = []
    for shot in draw.sample(film.firsts, len(film.firsts)):
        known = (*shown, *(other.look for other in chosen))
        fits = shot.look.lighting == (lighting or shot.look.lighting) and all(map(shot.look.clear_of, known))
        if fits and len(chosen) < 3:
            chosen.append(shot)
    return sorted(chosen, key=lambda shot: shot.index)


def _eliminations(rest: Sequence[Seen], moment: str) -> list[StepFacts]:
    """Steps that rule out each distractor: where it is really seen."""
    end = f"That is not {moment}, so {{}} is ruled out."
    return [(shot.place, (shot.look.sentence, end.format(shot.look.phrase))) for shot in rest]


def _ended(steps: Sequence[StepFacts], end: str) -> list[StepFacts]:
    """Append a conclusion to the last step."""
    place, reasons = steps[-1]
    return [*steps[:-1], (place, (*reasons, end) if end else reasons)]


KINDS: Sequence[Callable[[Film, random.Random], Puzzle | None]] = (
    earliest,
    *(partial(walk, kind=kind) for kind in (AFTER, BEFORE, TURNING)),
)
