"""Start and end of the tasks about a whole video: captions and speech for the prompts, then the results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import JsonValue

from lvqa_ray.qa.context_windows import OVERVIEW, tokens
from lvqa_ray.records import (
    Analysis,
    AnalysisRecord,
    AnalyzedVideo,
    CaptionedClip,
    CaptionedVideo,
    Failure,
    Subtitle,
    Task,
    Usage,
    Video,
)
from lvqa_ray.stage import Chat

Shorten = Callable[[Video, Sequence[str], Chat], Awaitable[tuple[list[str], Usage] | Failure]]
"""Summarizes lines ``From {start} to {end}, {text}`` until they take a quarter of the budget."""


@dataclass(frozen=True, slots=True)
class AnalyzeVideo:
    """Prepare a video for the tasks, and output their results.

    The task ``analysis`` makes no call: it lists the captions, which are already paid for.

    Attributes:
        tasks: Requested tasks and the tasks that they depend on.
        shorten: Summarizes texts that are too long for a prompt.
        budget: Maximum tokens of captions and speech together.
        alone: Whether no questions are asked.
    """

    name: ClassVar[str] = "analysis"

    tasks: tuple[Task, ...]
    shorten: Shorten
    budget: int
    alone: bool = False

    async def begin(self, captioned: CaptionedVideo, chat: Chat) -> list[AnalyzedVideo]:
        """Add captions and speech for the prompts, in full or summarized.

        Nothing is cut off. If both are too long together, the speech is summarized first, then the captions.
        """
        shots, speech = captioned.overview or captioned.captions, "\n".join(map(_line, captioned.speech))
        # If questions follow, they carry the cost of the overview.
        usage, notes = (
            captioned.usage if self.alone else Usage(),
            ["the descriptions are summed up"] if captioned.overview else [],
        )
        results = (_shots(captioned),) if self.name in self.tasks else ()
        row = AnalyzedVideo(film=captioned, shots=shots, speech=speech, results=results)
        if tokens(shots) + tokens(speech) > self.budget and tokens(speech) > self.budget // OVERVIEW:
            summary = await self.shorten(captioned.video, speech.splitlines(), chat)
            if isinstance(summary, Failure):
                return [replace(row, failure=summary)]
            speech, usage = "\n".join(summary[0]), usage + summary[1]
            notes.append("the speech is summed up")
        if tokens(shots) + tokens(speech) > self.budget:
            summary = await self.shorten(captioned.video, shots.splitlines(), chat)
            if isinstance(summary, Failure):
                return [replace(row, failure=summary, usage=usage)]
            shots, usage = "\n".join(summary[0]), usage + summary[1]
            notes.append("the descriptions are summed up")
        return [replace(row, shots=shots, speech=speech, usage=usage, note="; ".join(notes))]

    def finish(self, row: AnalyzedVideo) -> Iterator[AnalysisRecord | CaptionedVideo]:
        """Output the results of the tasks, and the video if questions follow."""
        yield AnalysisRecord(video=row.film.video, results=row.results, alone=self.alone)
        if not self.alone:
            yield row.film


def _shots(captioned: CaptionedVideo) -> Analysis:
    """Result of the task ``analysis``: the captions in time order."""
    clips = [clip for clip in captioned.clips if clip.caption.strip()]
    usage = sum((clip.usage for clip in captioned.clips), Usage())
    model = clips[0].model if clips else ""
    value: list[JsonValue] = [_shot(clip) for clip in clips]
    return Analysis(task="analysis", text=captioned.captions, value=value, model=model, usage=usage)


def _shot(row: CaptionedClip) -> dict[str, JsonValue]:
    span = row.clip.span
    return {"start_ms": round(span.start_s * 1000), "end_ms": round(span.end_s * 1000), "text": row.caption.strip()}


def _line(speech: Subtitle) -> str:
    return f"From {speech.start_ms // 1000} to {-(-speech.end_ms // 1000)}, {' '.join(speech.text.split())}"
