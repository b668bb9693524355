"""Time labels of merged captions (``From {start} to {end}``), and the clips that a cited label refers to.

Labels have whole seconds, truncated and not rounded. If that makes a label empty or equal to another clip's, decimals
are added until the labels differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from lvqa_ray.records import AnyQuestion, CaptionedVideo, Clip, KeyedQuestion, Question, ReasoningStep, Span

MOST_DECIMALS = 3
SAME_S = 1e-6
"""Tolerance for equal times."""


def cut(seconds: float, places: int) -> str:
    """Format a time with `places` decimals, truncated and not rounded."""
    scale: int = 10**places
    return f"{math.floor(round(seconds * scale, 6)) / scale:.{places}f}"


def decimals(spans: Sequence[Span]) -> list[int]:
    """Number of decimals in the label of each clip, in order; usually 0."""
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


Q = TypeVar("Q", Question, KeyedQuestion, AnyQuestion)


def located(question: Q, video: CaptionedVideo) -> Q:
    """Add the cited clips and their exact times to the steps of a question."""
    clips = [row.clip for row in video.clips if row.caption.strip()]
    spans = [clip.span for clip in clips]
    labels = [_read(span, n) for span, n in zip(spans, decimals(spans), strict=True)]
    return replace(question, steps=tuple(_located(step, clips, labels) for step in question.steps))


def _located(step: ReasoningStep, clips: Sequence[Clip], labels: Sequence[tuple[float, float]]) -> ReasoningStep:
    """Add the clip with the cited label to a step, or else all clips that the cited time overlaps."""
    cited = (step.start_s, step.end_s)
    for clip, label in zip(clips, labels, strict=True):
        if _same(label[0], cited[0]) and _same(label[1], cited[1]):
            return replace(step, clip_ids=(clip.id,), exact=clip.span)
    about = [at for at, label in enumerate(labels) if _overlap(label, cited)]
    begin = next((clips[at].span.start_s for at in about if _same(labels[at][0], cited[0])), step.start_s)
    end = next((clips[at].span.end_s for at in reversed(about) if _same(labels[at][1], cited[1])), step.end_s)
    exact = Span(start_s=begin, end_s=end) if begin <= end else None
    return replace(step, clip_ids=tuple(clips[at].id for at in about), exact=exact)


def _same(one: float, two: float) -> bool:
    return abs(one - two) < SAME_S


def _overlap(label: tuple[float, float], cited: tuple[float, float]) -> bool:
    """Whether the cited time overlaps a label; a moment belongs to the label that starts with it."""
    if _same(*cited):
        return label[0] - SAME_S <= cited[0] < label[1] - SAME_S
    return label[0] < cited[1] - SAME_S and cited[0] < label[1] - SAME_S
