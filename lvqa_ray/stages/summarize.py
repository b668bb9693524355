"""Summary stage: captioned video -> the same with an overview, if its captions exceed the token budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import Text
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.context_windows import OVERVIEW, span_of, tokens, windows
from lvqa_ray.qa.repeated_answers import all_of
from lvqa_ray.records import CaptionedVideo, Failure, Usage, Video
from lvqa_ray.stage import Chat, CostMeter, Prompted, Role, answer


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class SummarizeVideo(Prompted):
    """Summarize the captions of a long video window by window, and the summaries again until they are short enough.

    A video whose captions fit the budget stays unchanged. Every line of a summary keeps its time span.
    """

    name: ClassVar[str] = "summarize"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "summarize/1"
    usual_reply_tokens: ClassVar[int] = 300
    known: ClassVar[tuple[str, ...]] = ("captions", "lines", "video_id")
    required: ClassVar[tuple[str, ...]] = ("captions",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {captions} (required; of one window), {lines}, {video_id}.",
    )
    budget: int = Field(
        default=100_000,
        ge=400,
        description="Maximum tokens of captions in one prompt, estimated; use 24000 for a model with 32k context. "
        "For a longer video, prompts contain a summary and the captions of the relevant windows.",
    )
    lines: int = Field(default=6, ge=1, description="Maximum number of lines in the summary of one window.")

    async def __call__(self, row: CaptionedVideo, chat: Chat) -> list[CaptionedVideo | Failure]:
        """Add an overview if the video needs one, or return the failure."""
        if tokens(row.captions) <= self.budget:
            return [row]
        overview = await self.shortened(row.video, row.captions.splitlines(), chat)
        if isinstance(overview, Failure):
            return [overview]
        lines, usage = overview
        return [replace(row, overview="\n".join(lines), budget=self.budget, usage=row.usage + usage)]

    async def shortened(self, video: Video, lines: Sequence[str], chat: Chat) -> tuple[list[str], Usage] | Failure:
        """Summarize lines until they fit the size of an overview; returns lines and usage, or the failure."""
        paid = CostMeter(chat)
        while sum(map(tokens, lines)) > self.budget // OVERVIEW:
            before = sum(map(tokens, lines))
            runs = windows(lines, self.budget)
            try:
                summaries = await all_of(self._summed(video, run, paid) for run in runs)
            except ApiError as error:
                return replace(Failure.of(error, video=video, stage=self.name), usage=paid.by(error))
            lines = [line for summary in summaries for line in summary]
            after = sum(map(tokens, lines))
            if not all(summaries):
                return self._failed(video, "empty_reply", "the reply has only reasoning and no summary", paid.usage)
            if after > SHORTER * before:
                return self._failed(
                    video, "no_summary", f"the summaries of {before} tokens still have {after}", paid.usage
                )
        return list(lines), paid.usage

    async def _summed(self, video: Video, run: Sequence[str], chat: Chat) -> list[str]:
        """Summarize one window; no lines if the reply is empty."""
        values = {"captions": "\n".join(run), "lines": str(self.lines), "video_id": video.id}
        request = self.asks(Text(text=self.filled(values)), facts=values)
        reply = await answer(chat, request, lambda text: bool(strip_thinking(text)))
        text = strip_thinking(reply.text)
        spans = [span for line in run if (span := span_of(line))]
        start, end = min(first for first, _ in spans), max(last for _, last in spans)
        lines = [line.strip() for line in text.splitlines()]
        # A label may have decimals while the summary has whole seconds.
        first_s, last_s = math.floor(start), math.ceil(end)
        kept = [line for line in lines if (span := span_of(line)) and first_s <= span[0] <= span[1] <= last_s]
        if not kept or len(kept) < len([line for line in lines if line]):
            # A line has no time or another window's time: use the whole reply as one line for the window.
            kept = [f"From {_short(start)} to {_short(end)}, {' '.join(text.split())}"] if text else []
        return kept

    def _failed(self, video: Video, kind: str, message: str, usage: Usage) -> Failure:
        return Failure(video=video, stage=self.name, kind=kind, message=message, usage=usage)


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


SHORTER = 0.8
"""Maximum size of a round of summaries relative to its input; otherwise the rounds would not end."""

PROMPT = """\
Below are descriptions of one part of a longer video, in the order of time, each with the seconds that it covers.

{captions}

Sum them up for somebody who has to understand the whole video: who does what, where, and what changes. Write at most \
{lines} short lines, in the order of time, that together cover all of it. Each begins, as the descriptions do, with \
"From ", the first and the last second that it covers, and a comma, such as "From 120 to 180, ". Keep what tells \
people, places and things apart, numbers, and words that can be read in the picture. Add nothing, and write nothing \
before or after these lines. Write in the language of the descriptions."""
