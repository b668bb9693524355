"""Films whose captions are longer than a prompt may be: cut into windows, and told by an overview and some of these.

A film that fits is told by all its captions. One that does not has an overview, lines with time stamps like the
captions themselves, that takes a quarter of the budget; the windows about which something is asked take half; the rest
is left for what the estimate of tokens gets wrong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lvqa_ray.records import CaptionedVideo, Step

WINDOW, OVERVIEW, DETAIL = 8, 4, 2
"""Shares of the budget: it holds so many windows, overviews, or sets of windows that are shown at once."""
_LINE = re.compile(r"From (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?), ")


def tokens(text: str) -> int:
    """About how many tokens a text has: one for four ASCII characters, and one for each other."""
    ascii_length = len(text.encode("ascii", "ignore"))
    return -(-ascii_length // 4) + len(text) - ascii_length


def windows(lines: Sequence[str], budget: int) -> list[list[str]]:
    """Cut lines into runs that take at most an eighth of a budget of tokens; a longer line is a run of its own."""
    runs: list[list[str]] = []
    room = 0
    for line in lines:
        size = tokens(line) + 1
        if not runs or size > room:
            runs.append([])
            room = budget // WINDOW
        runs[-1].append(line)
        room -= size
    return runs


def captions_for_batch(film: CaptionedVideo, part: int, of: int) -> str:
    """What somebody is told who is to write one of several sets of questions: each is about other windows.

    Args:
        film: The film.
        part: Which set, from 0.
        of: How many sets.
    """
    if not film.overview:
        return film.captions
    runs = windows(film.captions.splitlines(), film.budget)
    count = min(len(runs), WINDOW // DETAIL)
    chosen = sorted({(part + place * of) * len(runs) // (count * of) for place in range(count)})
    return _told(film, [line for place in chosen for line in runs[place]])


def captions_for_question(film: CaptionedVideo, steps: Sequence[Step]) -> str:
    """What somebody is told who looks at one question: the windows that its steps cite, or at least the cited lines.

    A step that cites more than there is room for was written from the overview, and is told by that alone: the steps
    that cite least come first, and what is around them last.
    """
    if not film.overview:
        return film.captions
    runs = windows(film.captions.splitlines(), film.budget)
    lines = {(place, row): line for place, run in enumerate(runs) for row, line in enumerate(run)}
    shown: set[tuple[int, int]] = set()
    asked = sorted(steps, key=lambda step: step.end_s - step.start_s)
    cited = [{at for at, line in lines.items() if _cited(line, step)} for step in asked]
    around = [{at for at in lines if at[0] in {place for place, _ in some}} for some in cited]
    for more in (*cited, *around):
        if sum(tokens(lines[at]) + 1 for at in shown | more) <= film.budget // DETAIL:
            shown |= more
    return _told(film, [lines[at] for at in sorted(shown)])


def _cited(line: str, step: Step) -> bool:
    start, end = span_of(line) or (0, 0)
    return step.start_s < end and start < (step.end_s if step.end_s > step.start_s else step.start_s + 1)


def span_of(line: str) -> tuple[float, float] | None:
    """The seconds that a line covers, or nothing where it does not begin with them."""
    match = _LINE.match(line)
    return (float(match[1]), float(match[2])) if match else None


def _told(film: CaptionedVideo, lines: Sequence[str]) -> str:
    return f"{WHOLE}\n{film.overview}\n\n{PARTS}\n" + "\n".join(lines)


WHOLE = "The whole video, in short:"
PARTS = "Some parts of it, in full:"
