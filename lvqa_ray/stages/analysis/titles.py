"""Titles task: video with a summary -> video with titles."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.qa.formats.analysis_replies import read_list
from lvqa_ray.records import AnalyzedVideo, Failure, Task
from lvqa_ray.stage import Chat, Role
from lvqa_ray.stage.video_task import KNOWN, NO_WISH, VideoTask, Wish


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WriteTitles(VideoTask):
    """Have titles written from the summary of a video."""

    name: ClassVar[str] = "titles"
    task: ClassVar[Task] = "titles"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "titles/1"
    usual_reply_tokens: ClassVar[int] = 60
    known: ClassVar[tuple[str, ...]] = (*KNOWN, "summary", "count")
    required: ClassVar[tuple[str, ...]] = ("summary",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {summary} (required), {count}, {video_analysis_text}, "
        "{video_asr_text}, {video_extra_info}, {language}, {video_id}, {duration} (s), and those in "
        "`values`.",
    )
    count: int = Field(default=3, ge=1, le=20, description="Number of titles.")

    async def __call__(self, row: AnalyzedVideo, chat: Chat, wish: Wish = NO_WISH) -> list[AnalyzedVideo]:
        """Add the titles, best first, or the failure."""
        made = await self.result(row, chat, wish, lambda text: {"titles": [*read_list(text)[: self.count]]})
        return [replace(row, results=(*row.results, made))]

    def missing(self, row: AnalyzedVideo) -> Failure | None:
        """The failure if there is no summary."""
        return super().missing(row) or row.no_summary

    def own_values(self) -> dict[str, str]:
        """See `VideoTask`."""
        return {"count": str(self.count)}


PROMPT = """\
This is what happens in a video:

{summary}

Write {count} titles for it, the best first. A title says what the video is about and makes one want to watch it, in \
at most 15 words. It promises nothing that the video does not hold. Each takes another point of view than the others.

Reply with one title a line and with nothing else: no numbers, no quotation marks."""
