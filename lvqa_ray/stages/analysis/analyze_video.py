"""film -> film on its way through the tasks -> results, and the film again."""

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
"""Sums up lines ``From {start} to {end}, {text}`` until they take a quarter of the budget."""


@dataclass(frozen=True, slots=True)
class AnalyzeVideo:
    """Prepare a film for the tasks, and hand out what came of them.

    The task ``analysis`` itself makes no call: what is seen in each shot is its caption, which is paid for.

    Attributes:
        tasks: Those whose results are wanted, with what they rest on.
        shorten: Sums up what is too long for a prompt.
        budget: Tokens that captions and speech may take together.
        alone: Whether no questions are asked.
    """

    name: ClassVar[str] = "analysis"

    tasks: tuple[Task, ...]
    shorten: Shorten
    budget: int
    alone: bool = False

    async def begin(self, film: CaptionedVideo, chat: Chat) -> list[AnalyzedVideo]:
        """The film with what is seen and said in it, as much as fits into a prompt: in full, or else summed up.

        Nothing is cut off. Where both are too long together, speech is summed up first, and then the captions.
        """
        shots, speech = film.overview or film.captions, "\n".join(map(_line, film.speech))
        # Where questions follow, they bear the cost of the overview.
        usage, notes = (
            film.usage if self.alone else Usage(),
            ["the descriptions are summed up"] if film.overview else [],
        )
        results = (_shots(film),) if self.name in self.tasks else ()
        row = AnalyzedVideo(film=film, shots=shots, speech=speech, results=results)
        if tokens(shots) + tokens(speech) > self.budget and tokens(speech) > self.budget // OVERVIEW:
            told = await self.shorten(film.video, speech.splitlines(), chat)
            if isinstance(told, Failure):
                return [replace(row, failure=told)]
            speech, usage = "\n".join(told[0]), usage + told[1]
            notes.append("the speech is summed up")
        if tokens(shots) + tokens(speech) > self.budget:
            told = await self.shorten(film.video, shots.splitlines(), chat)
            if isinstance(told, Failure):
                return [replace(row, failure=told, usage=usage)]
            shots, usage = "\n".join(told[0]), usage + told[1]
            notes.append("the descriptions are summed up")
        return [replace(row, shots=shots, speech=speech, usage=usage, note="; ".join(notes))]

    def finish(self, row: AnalyzedVideo) -> Iterator[AnalysisRecord | CaptionedVideo]:
        """What came of the tasks; the film goes on, if questions are to be asked about it."""
        yield AnalysisRecord(video=row.film.video, results=row.results, alone=self.alone)
        if not self.alone:
            yield row.film


def _shots(film: CaptionedVideo) -> Analysis:
    """What is seen in each shot, in time order."""
    told = [clip for clip in film.clips if clip.caption.strip()]
    usage = sum((clip.usage for clip in film.clips), Usage())
    model = told[0].model if told else ""
    return Analysis(task="analysis", text=film.captions, value=[_shot(clip) for clip in told], model=model, usage=usage)


def _shot(row: CaptionedClip) -> dict[str, JsonValue]:
    span = row.clip.span
    return {"start_ms": round(span.start_s * 1000), "end_ms": round(span.end_s * 1000), "text": row.caption.strip()}


def _line(said: Subtitle) -> str:
    return f"From {said.start_ms // 1000} to {-(-said.end_ms // 1000)}, {' '.join(said.text.split())}"
