"""film -> film with an overview, where its captions are too many to be read at once."""

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
    """Sum up the captions of a long film window by window, and the summaries again, until all of it is told in short.

    A film whose captions fit the budget is left alone. Every line of a summary keeps the seconds that it covers.
    """

    name: ClassVar[str] = "summarize"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "summarize/1"
    known: ClassVar[tuple[str, ...]] = ("captions", "lines", "video_id")
    required: ClassVar[tuple[str, ...]] = ("captions",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {captions} (needed; of one window), {lines}, {video_id}.",
    )
    budget: int = Field(
        default=100_000,
        ge=400,
        description="Most tokens of captions in one prompt, estimated; a model of 32k takes 24000. A longer film is "
        "told by an overview and the parts in question.",
    )
    lines: int = Field(default=6, ge=1, description="Most lines of the summary of one window.")

    async def __call__(self, film: CaptionedVideo, chat: Chat) -> list[CaptionedVideo | Failure]:
        """The film, with an overview if it needs one, or the reason why there is none."""
        if tokens(film.captions) <= self.budget:
            return [film]
        told = await self.shortened(film.video, film.captions.splitlines(), chat)
        if isinstance(told, Failure):
            return [told]
        lines, usage = told
        return [replace(film, overview="\n".join(lines), budget=self.budget, usage=film.usage + usage)]

    async def shortened(self, video: Video, lines: Sequence[str], chat: Chat) -> tuple[list[str], Usage] | Failure:
        """Lines that tell the same in the room that an overview has, and what that cost; or why there are none."""
        paid = CostMeter(chat)
        while sum(map(tokens, lines)) > self.budget // OVERVIEW:
            before = sum(map(tokens, lines))
            runs = windows(lines, self.budget)
            try:
                told = await all_of(self._summed(video, run, paid) for run in runs)
            except ApiError as error:
                return replace(Failure.of(error, video=video, stage=self.name), usage=paid.by(error))
            lines = [line for summary in told for line in summary]
            after = sum(map(tokens, lines))
            if not all(told):
                return self._failed(video, "empty_reply", "the reply holds a draft and no summary", paid.usage)
            if after > SHORTER * before:
                return self._failed(video, "no_summary", f"summaries of {before} tokens come to {after}", paid.usage)
        return list(lines), paid.usage

    async def _summed(self, video: Video, run: Sequence[str], chat: Chat) -> list[str]:
        """The lines of the summary of one window; none where the reply is empty."""
        values = {"captions": "\n".join(run), "lines": str(self.lines), "video_id": video.id}
        reply = await answer(chat, self.asks(Text(text=self.filled(values))), lambda text: bool(strip_thinking(text)))
        text = strip_thinking(reply.text)
        spans = [span for line in run if (span := span_of(line))]
        start, end = min(first for first, _ in spans), max(last for _, last in spans)
        lines = [line.strip() for line in text.splitlines()]
        # A label may have decimals, and the summary whole seconds.
        first_s, last_s = math.floor(start), math.ceil(end)
        kept = [line for line in lines if (span := span_of(line)) and first_s <= span[0] <= span[1] <= last_s]
        if not kept or len(kept) < len([line for line in lines if line]):
            # A line without its time, or with another window's: what it says then stands for all of the window.
            kept = [f"From {_short(start)} to {_short(end)}, {' '.join(text.split())}"] if text else []
        return kept

    def _failed(self, video: Video, kind: str, message: str, usage: Usage) -> Failure:
        return Failure(video=video, stage=self.name, kind=kind, message=message, usage=usage)


def _short(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


SHORTER = 0.8
"""A round of summaries has to come to less than this share of what it sums up, or there is no end to it."""

PROMPT = """\
Below are descriptions of one part of a longer video, in the order of time, each with the seconds that it covers.

{captions}

Sum them up for somebody who has to understand the whole video: who does what, where, and what changes. Write at most \
{lines} short lines, in the order of time, that together cover all of it. Each begins, as the descriptions do, with \
"From ", the first and the last second that it covers, and a comma, such as "From 120 to 180, ". Keep what tells \
people, places and things apart, numbers, and words that can be read in the picture. Add nothing, and write nothing \
before or after these lines. Write in the language of the descriptions."""
