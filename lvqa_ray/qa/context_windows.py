"""Context windows over captions that exceed the token budget of a prompt.

If the captions fit, the prompt contains all of them. Otherwise it contains an overview (time-stamped lines like the
captions), which takes a quarter of the budget, and the relevant windows, which take half. The last quarter is a margin
for errors of the token estimate.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from lvqa_ray.records import CaptionedVideo, ReasoningStep

WINDOW_SHARE, OVERVIEW, DETAIL = 8, 4, 2
"""Divisors of the budget: size of one window, of the overview, and of all windows in one prompt."""
_WORD = re.compile(r"[^\W_]{3,}")
_LINE = re.compile(r"From (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?), ")


def tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four ASCII characters, one per other character."""
    ascii_length = len(text.encode("ascii", "ignore"))
    return -(-ascii_length // 4) + len(text) - ascii_length


def windows(lines: Sequence[str], budget: int) -> list[list[str]]:
    """Split lines into windows of at most an eighth of the token budget; a longer line is a window of its own."""
    found: list[list[str]] = []
    left = 0
    for line in lines:
        size = tokens(line) + 1
        if not found or size > left:
            found.append([])
            left = budget // WINDOW_SHARE
        found[-1].append(line)
        left -= size
    return found


def captions_for_batch(video: CaptionedVideo, part: int, of: int) -> str:
    """Caption text for one batch of questions. Each batch gets different windows of the video.

    Args:
        video: The captioned video.
        part: Index of the batch, from 0.
        of: Number of batches.
    """
    if not video.overview:
        return video.captions
    runs = windows(video.captions.splitlines(), video.budget)
    count = min(len(runs), WINDOW_SHARE // DETAIL)
    chosen = sorted({(part + place * of) * len(runs) // (count * of) for place in range(count)})
    return _with_overview(video, [line for place in chosen for line in runs[place]])


def captions_for_question(video: CaptionedVideo, steps: Sequence[ReasoningStep]) -> str:
    """Caption text for one question: the windows that its steps cite, or at least the cited lines.

    Cited lines are added first, shortest span first, then the windows around them, while they fit. A step that cites
    more than fits was written from the overview, and only the overview covers it.
    """
    if not video.overview:
        return video.captions
    runs = windows(video.captions.splitlines(), video.budget)
    lines = {(place, row): line for place, run in enumerate(runs) for row, line in enumerate(run)}
    shown: set[tuple[int, int]] = set()
    asked = sorted(steps, key=lambda step: step.end_s - step.start_s)
    cited = [{at for at, line in lines.items() if _cited(line, step)} for step in asked]
    around = [{at for at in lines if at[0] in {place for place, _ in some}} for some in cited]
    for more in (*cited, *around):
        if sum(tokens(lines[at]) + 1 for at in shown | more) <= video.budget // DETAIL:
            shown |= more
    return _with_overview(video, [lines[at] for at in sorted(shown)])


def captions_without_key(video: CaptionedVideo, question: str) -> str:
    """Caption text for one question, chosen by its words and not by what it cites.

    The windows that share the rarest words with the question come first, while they fit.

    Args:
        video: The captioned video.
        question: The question, with its options if it has any.
    """
    if not video.overview:
        return video.captions
    runs = windows(video.captions.splitlines(), video.budget)
    words = [frozenset(_WORD.findall(" ".join(run).casefold())) for run in runs]
    asked = frozenset(_WORD.findall(question.casefold()))
    often = Counter(word for window in words for word in window & asked)
    order = sorted(range(len(runs)), key=lambda place: (-sum(1 / often[word] for word in words[place] & asked), place))
    return _with_overview(video, _fitting(runs, order, video.budget // DETAIL))


def captions_of_steps(video: CaptionedVideo, steps: Sequence[ReasoningStep]) -> str:
    """The caption lines that some steps cite, and nothing else; at most half of the budget of a long video."""
    lines = [line for line in video.captions.splitlines() if any(_cited(line, step) for step in steps)]
    return "\n".join(_fitting([[line] for line in lines], range(len(lines)), video.budget // DETAIL))


def captions_without_steps(video: CaptionedVideo, steps: Sequence[ReasoningStep]) -> str:
    """All caption lines but those that some steps cite; of a long video evenly chosen windows of them."""
    lines = [line for line in video.captions.splitlines() if not any(_cited(line, step) for step in steps)]
    runs = windows(lines, video.budget) if video.budget else [lines]
    apart = sorted(range(len(runs)), key=lambda place: (place % WINDOW_SHARE, place))
    return "\n".join(_fitting(runs, apart, video.budget // DETAIL))


def _fitting(runs: Sequence[Sequence[str]], order: Iterable[int], most: int) -> list[str]:
    """The lines of the windows that fit into `most` tokens, tried in an order; all if it is 0."""
    chosen: list[int] = []
    left = most
    for place in order:
        size = sum(tokens(line) + 1 for line in runs[place])
        if not most or size <= left:
            chosen.append(place)
            left -= size
    return [line for place in sorted(chosen) for line in runs[place]]


def _cited(line: str, step: ReasoningStep) -> bool:
    start, end = span_of(line) or (0, 0)
    return step.start_s < end and start < (step.end_s if step.end_s > step.start_s else step.start_s + 1)


def span_of(line: str) -> tuple[float, float] | None:
    """Start and end of a line in seconds, or ``None`` without a time label."""
    match = _LINE.match(line)
    return (float(match[1]), float(match[2])) if match else None


def _with_overview(video: CaptionedVideo, lines: Sequence[str]) -> str:
    return f"{WHOLE_HEADING}\n{video.overview}\n\n{PARTS_HEADING}\n" + "\n".join(lines)


WHOLE_HEADING = "The whole video, in short:"
PARTS_HEADING = "Some parts of it, in full:"
