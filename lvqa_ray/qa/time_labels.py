"""Time labels of merged captions, ``From {start} to {end}``, and which clips a cited label names.

Labels have whole seconds, cut and not rounded. Where that makes a label empty, or the same for two clips, as many
decimals are written as tell them apart.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from lvqa_ray.records import CaptionedVideo, Clip, Question, Span, Step

MOST_DECIMALS = 3
SAME_S = 1e-6
"""Times that differ by less are the same."""


def cut(seconds: float, places: int) -> str:
    """A time with so many decimals, cut and not rounded."""
    scale: int = 10**places
    return f"{math.floor(round(seconds * scale, 6)) / scale:.{places}f}"


def decimals(spans: Sequence[Span]) -> list[int]:
    """How many decimals the label of each of the clips of a video needs, in their order; mostly none."""
    need = [0] * len(spans)
    for more in range(1, MOST_DECIMALS + 1):
        read = [_read(span, n) for span, n in zip(spans, need, strict=True)]
        often = Counter(read)
        unclear = [at for at, label in enumerate(read) if label[0] >= label[1] or often[label] > 1]
        if not unclear:
            break
        for at in unclear:
            need[at] = more
    return need


def _read(span: Span, decimals: int) -> tuple[float, float]:
    return float(cut(span.start_s, decimals)), float(cut(span.end_s, decimals))


def located(question: Question, film: CaptionedVideo) -> Question:
    """The question with the clips and the exact times that its steps cite."""
    clips = [row.clip for row in film.clips if row.caption.strip()]
    spans = [clip.span for clip in clips]
    told = [_read(span, n) for span, n in zip(spans, decimals(spans), strict=True)]
    return replace(question, steps=tuple(_located(step, clips, told) for step in question.steps))


def _located(step: Step, clips: Sequence[Clip], told: Sequence[tuple[float, float]]) -> Step:
    """The step with the clips of its label; those that the label overlaps, where it is none of one clip."""
    cited = (step.start_s, step.end_s)
    for clip, label in zip(clips, told, strict=True):
        if _same(label[0], cited[0]) and _same(label[1], cited[1]):
            return replace(step, clip_ids=(clip.id,), exact=clip.span)
    about = [at for at, label in enumerate(told) if _overlap(label, cited)]
    begin = next((clips[at].span.start_s for at in about if _same(told[at][0], cited[0])), step.start_s)
    end = next((clips[at].span.end_s for at in reversed(about) if _same(told[at][1], cited[1])), step.end_s)
    exact = Span(start_s=begin, end_s=end) if begin <= end else None
    return replace(step, clip_ids=tuple(clips[at].id for at in about), exact=exact)


def _same(one: float, two: float) -> bool:
    return abs(one - two) < SAME_S


def _overlap(label: tuple[float, float], cited: tuple[float, float]) -> bool:
    """Whether some of the cited time lies in a label; a moment lies in the label that begins with it."""
    if _same(*cited):
        return label[0] - SAME_S <= cited[0] < label[1] - SAME_S
    return label[0] < cited[1] - SAME_S and cited[0] < label[1] - SAME_S
