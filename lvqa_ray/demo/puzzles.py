"""Kinds of questions, each a search for a `Puzzle` in a `Reel`.

Each takes the reel and a generator to draw with, and gives a puzzle whose key follows from the reel, or nothing where
the film has not got what the kind needs. A key and its distractors are always clear of one another: a viewer who would
argue over two shades of a colour is not asked to.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lvqa_ray.demo import facts
from lvqa_ray.demo.facts import COLOURS, LIGHTINGS, Look, Shot
from lvqa_ray.demo.reel import Reel, Seen

LARGEST_COUNT = 8


@dataclass(frozen=True, slots=True)
class Step:
    """What is seen in the stretch at a place of the film."""

    place: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Puzzle:
    """A question before its options are put in order."""

    stem: str
    key: str
    distractors: tuple[str, ...]
    steps: tuple[Step, ...]


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def told(item: Seen) -> str:
    """A shot's look as a sentence; the step that it stands in gives the time."""
    return f"The picture is {item.shot.look.lighting} and {item.shot.look.palette}."


def first_seen(reel: Reel, draw: random.Random) -> Puzzle | None:
    """Which of four looks comes first in the film."""
    chosen = _four_apart(reel, draw, which=0)
    if chosen is None:
        return None
    key, *rest = chosen
    steps = [Step(key.place, (told(key), "Nothing before this looks the same."))]
    steps += [Step(item.place, (told(item), "This is the first time that it looks so.")) for item in rest]
    others = facts.listed([item.shot.look.phrase for item in rest])
    end = f"So {key.shot.look.phrase} comes first, and the others, {others}, are first seen later."
    steps[-1] = Step(steps[-1].place, (*steps[-1].reasons, end))
    stem = "Going by the first time that each of them is seen, which of these comes earliest in the film?"
    return _look_puzzle(stem, key, rest, steps)


def last_seen(reel: Reel, draw: random.Random) -> Puzzle | None:
    """Which of four looks is the last to be seen in the film."""
    chosen = _four_apart(reel, draw, which=-1)
    if chosen is None:
        return None
    *rest, key = chosen
    steps = [Step(item.place, (told(item), "It does not look so again after this.")) for item in rest]
    others = facts.listed([item.shot.look.phrase for item in rest])
    end = f"So {key.shot.look.phrase} is seen last, and the others, {others}, are over by then."
    steps.append(Step(key.place, (told(key), end)))
    stem = "Going by the last time that each of them is seen, which of these comes latest in the film?"
    return _look_puzzle(stem, key, rest, steps)


def _four_apart(reel: Reel, draw: random.Random, *, which: int) -> list[Seen] | None:
    """The first (0) or last (-1) shots of four looks, in order, in stretches that do not touch one another's time.

    Rare looks are taken before frequent ones: they are what a viewer remembers.
    """
    pool = [shots[which] for shots in reel.looks.values() if shots[0].shot.look.colours]
    draw.shuffle(pool)
    pool.sort(key=lambda item: len({seen.place for seen in reel.looks[item.shot.look.sameness]}) > 3)
    chosen: list[Seen] = []
    for item in pool:
        look = item.shot.look
        if all(reel.apart(item.place, other.place) and look.clear_of(other.shot.look) for other in chosen):
            chosen.append(item)
        if len(chosen) == 4:
            return sorted(chosen, key=lambda item: item.place)
    return None


def after(reel: Reel, draw: random.Random) -> Puzzle | None:
    """What the picture looks like when a look gives way for the first time."""
    for start in _first_places(reel, draw):
        anchor = reel.seen[start]
        same = anchor.shot.look.sameness
        stop = next((i for i in range(start, len(reel.seen)) if reel.seen[i].shot.look.sameness != same), None)
        if stop is None or not reel.unbroken(anchor.place, reel.seen[stop].place):
            continue
        key = reel.seen[stop]
        rest = _others(reel, draw, key.shot.look, anchor.shot.look)
        if rest is None:
            continue
        steps = [
            Step(anchor.place, (told(anchor), f"This is the first time that there is {anchor.shot.look.phrase}.")),
            Step(key.place, (told(key), f"So what takes its place is {key.shot.look.phrase}.")),
            *_eliminations(rest, "what comes next"),
        ]
        stem = f"At some point the film first shows {anchor.shot.look.phrase}. When that gives way, what comes next?"
        return _look_puzzle(stem, key, rest, steps)
    return None


def before(reel: Reel, draw: random.Random) -> Puzzle | None:
    """What the picture looks like just before a look comes for the first time."""
    for start in _first_places(reel, draw):
        anchor = reel.seen[start]
        if start == 0 or not reel.unbroken(reel.seen[start - 1].place, anchor.place):
            continue
        key = reel.seen[start - 1]
        rest = _others(reel, draw, key.shot.look, anchor.shot.look)
        if rest is None:
            continue
        steps = [
            Step(anchor.place, (told(anchor), f"This is the first time that there is {anchor.shot.look.phrase}.")),
            Step(key.place, (told(key), f"So what leads up to it is {key.shot.look.phrase}.")),
            *_eliminations(rest, "what comes just before"),
        ]
        stem = f"At some point the film first shows {anchor.shot.look.phrase}. What is seen just before that?"
        return _look_puzzle(stem, key, rest, steps)
    return None


def turning(reel: Reel, draw: random.Random) -> Puzzle | None:
    """Which look comes when, after a first look, the picture next has a given lighting."""
    for start in _first_places(reel, draw):
        anchor = reel.seen[start]
        for lighting in draw.sample(LIGHTINGS, len(LIGHTINGS)):
            later = (i for i in range(start + 1, len(reel.seen)) if reel.seen[i].shot.look.lighting == lighting)
            stop = next(later, None)
            # Two shots on is what makes it a second step and not the next picture again.
            if lighting == anchor.shot.look.lighting or stop is None or not start + 2 <= stop <= start + 40:
                continue
            key = reel.seen[stop]
            rest = _others(reel, draw, key.shot.look, lighting=lighting)
            if rest is None or not reel.unbroken(anchor.place, key.place):
                continue
            steps = [
                Step(anchor.place, (told(anchor), f"This is the first time that there is {anchor.shot.look.phrase}.")),
                Step(
                    key.place, (told(key), f"No picture between the two is {lighting}, so this is the one asked for.")
                ),
                *_eliminations(rest, "the moment to find"),
            ]
            stem = (
                f"Start where the film first shows {anchor.shot.look.phrase}, and watch on until the picture is "
                f"{lighting}. What does it look like then?"
            )
            return _look_puzzle(stem, key, rest, steps)
    return None


def how_often(reel: Reel, draw: random.Random) -> Puzzle | None:
    """In how many stretches of the film something holds at some point."""
    total = len(reel.stretches)
    tests: list[tuple[str, Callable[[Shot], bool]]] = [
        *(
            (f"is the picture {word} at some point", lambda shot, word=word: shot.look.lighting == word)
            for word in LIGHTINGS
        ),
        *(
            (f"is {word} a main colour at some point", lambda shot, word=word: word in shot.look.colours)
            for word in COLOURS
        ),
    ]
    for words, test in draw.sample(tests, len(tests)):
        hits: dict[int, list[Seen]] = {}
        for item in reel.seen:
            if test(item.shot):
                hits.setdefault(item.place, []).append(item)
        count = len(hits)
        if not 2 <= count <= min(LARGEST_COUNT, total - 1):
            continue
        wrong = [str(n) for n in (count - 2, count - 1, count + 1, count + 2) if 0 < n <= total]
        if len(wrong) < 3:
            continue
        steps = [
            Step(place, (told(items[0]), f"That makes {number} so far."))
            for number, (place, items) in enumerate(hits.items(), 1)
        ]
        end = f"In none of the other {total - count} stretches is it so, which leaves {count} in all."
        steps[-1] = Step(steps[-1].place, (*steps[-1].reasons, end))
        stem = f"The film is told in {total} stretches, one after the other. In how many of them {words}?"
        return Puzzle(stem, str(count), tuple(wrong), tuple(steps))
    return None


def opening(reel: Reel, draw: random.Random) -> Puzzle:
    """How the film begins; distractors that the film cannot give are looks that it never has."""
    key = reel.seen[0]
    known = [shots[0] for shots in reel.looks.values()]
    rest = [item for item in known if item.shot.look.clear_of(key.shot.look)]
    rest = sorted(draw.sample(rest, min(3, len(rest))), key=lambda item: item.place)
    phrases = [item.shot.look.phrase for item in rest]
    every = [Look(lighting, (colour,)) for lighting in LIGHTINGS for colour in COLOURS]
    absent = [look for look in every if all(look.clear_of(item.shot.look) for item in known)]
    never = [look.phrase for look in draw.sample(absent, 3 - len(phrases))]
    steps = [Step(key.place, (told(key), "Nothing comes before it.")), *_eliminations(rest, "the beginning")]
    if never:
        end = f"Nowhere in the film is there {facts.listed(never, 'or')}."
        steps[-1] = Step(steps[-1].place, (*steps[-1].reasons, end))
    options = tuple(capital(phrase) for phrase in (*phrases, *never))
    return Puzzle("How does the film begin?", capital(key.shot.look.phrase), options, tuple(steps))


def _first_places(reel: Reel, draw: random.Random) -> list[int]:
    """Where looks come for the first time, as places among all shots, in drawn order."""
    firsts = [reel.seen.index(shots[0]) for shots in reel.looks.values()]
    return draw.sample(firsts, len(firsts))


def _others(reel: Reel, draw: random.Random, *shown: Look, lighting: str = "") -> list[Seen] | None:
    """First shots of three looks, in order, that can be taken neither for what was shown nor for one another.

    All of them have the given lighting, if there is one.
    """
    pool = [shots[0] for shots in reel.looks.values()]
    chosen: list[Seen] = []
    for item in draw.sample(pool, len(pool)):
        look = item.shot.look
        known = (*shown, *(other.shot.look for other in chosen))
        if look.lighting == (lighting or look.lighting) and all(look.clear_of(other) for other in known):
            chosen.append(item)
        if len(chosen) == 3:
            return sorted(chosen, key=lambda item: item.place)
    return None


def _eliminations(rest: Sequence[Seen], moment: str) -> list[Step]:
    """Where each distractor is really seen, and that it is not at the moment in question."""
    return [
        Step(item.place, (told(item), f"That is not {moment}, so {item.shot.look.phrase} is ruled out."))
        for item in rest
    ]


def _look_puzzle(stem: str, key: Seen, rest: Sequence[Seen], steps: Sequence[Step]) -> Puzzle:
    options = tuple(capital(item.shot.look.phrase) for item in rest)
    return Puzzle(stem, capital(key.shot.look.phrase), options, tuple(steps))


KINDS: tuple[Callable[[Reel, random.Random], Puzzle | None], ...] = (
    first_seen,
    last_seen,
    after,
    before,
    turning,
    how_often,
)
