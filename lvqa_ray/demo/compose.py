"""Questions whose key follows from the facts in the merged captions.

The merged captions are read back into a `Reel`, and a kind of question looks for a `Puzzle` in it: the stem, the key,
distractors that hold at other moments of the same film, and the steps that prove it. Which kind is asked, and which
moments, is drawn with a generator seeded by the captions: the same film gives the same question. Where no kind finds
what it needs, the question is how the film begins, which one shot is enough for.
"""

from __future__ import annotations

import hashlib
import random

from lvqa_ray.demo.puzzles import KINDS, Puzzle, how_often, opening
from lvqa_ray.demo.reel import CAPTION_LINE, Reel
from lvqa_ray.records import LETTERS

REFUSAL = "I'm sorry, but I can't write a question: none of the lines holds a fact that I can read."


def compose(captions: str) -> str:
    """Write a question about a film.

    Args:
        captions: Text that holds the merged captions, one ``From {start} to {end}, {caption}`` a line.

    Returns:
        A reply in the format ``QUESTION: / OPTIONS: / ANSWER: / REASONS:``, or `REFUSAL` when no line holds a fact.
    """
    written = compose_several(captions, 1)
    return written[0][1] if written else REFUSAL


def compose_several(captions: str, count: int) -> list[tuple[str, str]]:
    """Write questions about a film, each with its category; fewer where the film has not got that many.

    A question whose stem and key stand in the text already is not written again.
    """
    reel = Reel.read(captions)
    if not reel.seen:
        return []
    read = "\n".join(f"{start} {end} {caption}" for start, end, caption in CAPTION_LINE.findall(captions))
    draw = random.Random(hashlib.sha256(read.encode()).digest())
    written: dict[tuple[str, str], tuple[str, str]] = {}
    for _ in range(ROUNDS):
        for kind in [*draw.sample(KINDS, len(KINDS)), opening]:
            puzzle = kind(reel, draw)
            if puzzle is None or (puzzle.stem, puzzle.key) in written:
                continue
            if any(f"{mark} {puzzle.stem}\n" in f"{captions}\n" for mark in ("-", "QUESTION:")):
                continue
            category = "counting" if kind is how_often else "temporal"
            written[puzzle.stem, puzzle.key] = (category, _layout(reel, puzzle, draw))
            if len(written) == count:
                return list(written.values())
    return list(written.values())


ROUNDS = 3
"""How often every kind is tried for further questions."""


def _layout(reel: Reel, puzzle: Puzzle, draw: random.Random) -> str:
    options = draw.sample(puzzle.distractors, 3)
    if puzzle.key.isdigit():
        options.sort(key=int)
    key = draw.randrange(4)
    options.insert(key, puzzle.key)
    lines = [f"QUESTION: {puzzle.stem}", "OPTIONS:"]
    lines += [f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True)]
    lines += [f"ANSWER: {LETTERS[key]}", "REASONS:"]
    for step in puzzle.steps:
        stretch = reel.stretches[step.place]
        lines += [f"##### From [{stretch.label}]:", *(f"- {reason}" for reason in step.reasons)]
    return "\n".join(lines)
