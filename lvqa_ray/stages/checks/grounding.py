"""Grounding check: whether the reasoning cites times that lie in the video and have captions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.qa.formats.reasoning_steps import seconds
from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.qa.time_labels import located
from lvqa_ray.records import AnyQuestion, AskedQuestion, CaptionedVideo, KeyedQuestion, ReasoningStep, SpanKey, Verdict
from lvqa_ray.stage import Check


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckGrounding(Check):
    """Require that every step's span lies in captioned time of the video, and that steps are in time order.

    Times in reasons must lie in the spans of the steps, and a step that goes back must say why. With ``repair``, spans
    that exceed the video are cut at its end. The verdict's score is the share of the cited time that has captions.
    """

    name: ClassVar[str] = "grounding"

    tolerance_s: float = Field(
        default=1.5,
        ge=0,
        allow_inf_nan=False,
        description="How far a cited span may extend past the captioned time (s). Models see captions with times "
        "in whole seconds.",
    )
    ordered: bool = Field(
        default=True,
        description="Require that a step that goes back in time says so; recognized by its wording, in English only.",
    )

    def judge(self, asked: AskedQuestion, video: CaptionedVideo) -> Verdict:
        """Report the first fault."""
        steps = asked.question.steps
        captioned = [(row.clip.span.start_s, row.clip.span.end_s) for row in video.clips if row.caption.strip()]
        score = round(_covered([(step.span.start_s, step.span.end_s) for step in steps], captioned), 3)
        fault = next(self._faults(steps, video.info.duration_sec, captioned), "") or _key_fault(
            asked.question, self.tolerance_s
        )
        return self.failed(fault, score) if fault else self.passed(score)

    def _faults(
        self, steps: Sequence[ReasoningStep], duration_s: float, captioned: Sequence[tuple[float, float]]
    ) -> Iterator[str]:
        slack = self.tolerance_s
        described = [(start - slack, end + slack) for start, end in captioned]
        for number, step in enumerate(steps, start=1):
            start_s, end_s = step.span.start_s, step.span.end_s
            if start_s >= duration_s + slack or end_s > duration_s + slack:
                yield f"step {number}, {step.timestamp}, is outside the video of {duration_s:.0f} s"
            elif _covered([(start_s, end_s)], described) < 1:
                yield f"step {number}, {step.timestamp}, is about time that was not described"
        # A reason may cite the times of the label or the exact times.
        spans = [(step.start_s, step.end_s) for step in steps] + [(one.span.start_s, one.span.end_s) for one in steps]
        cited = [(start - slack, end + slack) for start, end in spans]
        for number, step in enumerate(steps, start=1):
            for reason in step.reasons:
                for start, end in _named(reason):
                    if _covered([(start, end)], cited) < 1:
                        yield f"step {number} speaks of {start:g} to {end:g} s, which no step cites"
        if self.ordered:
            yield from _backward(steps)

    def repaired(self, asked: AskedQuestion, video: CaptionedVideo) -> AskedQuestion | None:
        """Cut the spans at the end of the video, if all of them start within it."""
        end_s = video.info.duration_sec
        steps = []
        for step in asked.question.steps:
            if step.start_s >= end_s:
                return None
            if step.end_s > end_s:
                end = f"{end_s:.2f}".rstrip("0").rstrip(".")
                start = f"{step.start_s:.2f}".rstrip("0").rstrip(".")
                step = replace(step, timestamp=f"{start} to {end}", start_s=float(start), end_s=float(end))  # noqa: PLW2901
            steps.append(step)
        if isinstance(asked.question, KeyedQuestion):
            return None
        question = located(replace(asked.question, steps=tuple(steps)), video)
        try:
            return replace(asked, question=question, reasoning=render_question(question))
        except ValueError:
            return None


def _key_fault(question: AnyQuestion, slack: float) -> str:
    """Whether a key of time spans lies outside the time that the steps cite, and so outside of the checked time."""
    if not isinstance(question, KeyedQuestion) or not isinstance(question.key, SpanKey):
        return ""
    cited = [(step.span.start_s - slack, step.span.end_s + slack) for step in question.steps]
    for span in question.key.spans:
        if _covered([(span.start_s, span.end_s)], cited) < 1:
            return f"its answer, {span.start_s:g} to {span.end_s:g} s, is cited by no step"
    return ""


_CLOCK = r"\d{1,3}(?::\d{2}){1,2}(?:\.\d+)?"
_SECONDS = r"\d+(?:\.\d+)?\s?(?:s|secs?|seconds?)\b"
_MOMENT = re.compile(rf"\b(?:at|around|near)\s+(?:about\s+)?({_CLOCK}|{_SECONDS})(?!\s*[ap]\.?m)", re.IGNORECASE)
_STRETCH = re.compile(
    rf"\b(?:from|between)\s+({_CLOCK}|\d+(?:\.\d+)?)(?:\s?(?:s|secs?|seconds?))?\s+(?:to|and|until)\s+({_CLOCK}|{_SECONDS})",
    re.IGNORECASE,
)
_ENGLISH = re.compile(r"\b(?:the|is|are|and|of|in)\b", re.IGNORECASE)
_WHY_BACK = re.compile(
    r"\b(?:earlier|before|back|previous(?:ly)?|prior|preced\w+|first|initial(?:ly)?|already|beginning|start(?:s|ed)?|open\w*"
    r"|options?|rule[sd]?\s+out|eliminat\w+|exclud\w+|wrong|incorrect|not|none|never|no|nothing|whereas|unlike|instead"
    r"|other|compar\w+|recall\w*|leads?\s+up|led\s+up|remember\w*|return\w*|overall|throughout|again|confirm\w*)\b",
    re.IGNORECASE,
)


def _named(reason: str) -> Iterator[tuple[float, float]]:
    """Times of the video mentioned in a reason, as (start, end) in seconds."""
    for match in _MOMENT.finditer(reason):
        yield seconds(match[1]), seconds(match[1])
    for match in _STRETCH.finditer(reason):
        start, end = seconds(match[1]), seconds(match[2])
        yield min(start, end), max(start, end)


def _backward(steps: Sequence[ReasoningStep]) -> Iterator[str]:
    """Steps that go back in time without saying so."""
    for number, (before, step) in enumerate(pairwise(steps), start=2):
        text = " ".join(step.reasons)
        if step.span.start_s < before.span.start_s and _ENGLISH.search(text) and not _WHY_BACK.search(text):
            yield f"step {number}, {step.timestamp}, goes back in time and does not say why"


def _covered(stretches: Sequence[tuple[float, float]], by: Sequence[tuple[float, float]]) -> float:
    """Share of the time in `stretches` that lies in `by`; a moment is covered or not."""
    whole = inside = 0.0
    for start, end in _merged(stretches):
        if start == end:
            whole += CITED_MOMENT_S
            inside += CITED_MOMENT_S * any(first <= start <= last for first, last in by)
            continue
        whole += end - start
        inside += sum(max(0.0, min(end, last) - max(start, first)) for first, last in _merged(by))
    return 1.0 if whole == 0 or whole - inside < 1e-6 else inside / whole


CITED_MOMENT_S = 0.001
"""Weight of a span of zero length (s)."""


def _merged(stretches: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    merged: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
