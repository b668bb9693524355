"""film with a summary -> film with titles."""

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
    """Have titles written for a film, from its summary."""

    name: ClassVar[str] = "titles"
    task: ClassVar[Task] = "titles"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "titles/1"
    known: ClassVar[tuple[str, ...]] = (*KNOWN, "summary", "count")
    required: ClassVar[tuple[str, ...]] = ("summary",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {summary} (needed), {count}, {video_analysis_text}, {video_asr_text}, "
        "{video_extra_info}, {language}, {video_id}, {duration} (s), those of `values`.",
    )
    count: int = Field(default=3, ge=1, le=20, description="Titles to choose from.")

    async def __call__(self, row: AnalyzedVideo, chat: Chat, wish: Wish = NO_WISH) -> list[AnalyzedVideo]:
        """The film with its titles, the best first, or with why there are none."""
        made = await self.result(row, chat, wish, lambda text: {"titles": [*read_list(text)[: self.count]]})
        return [replace(row, results=(*row.results, made))]

    def missing(self, row: AnalyzedVideo) -> Failure | None:
        """Why there is nothing to make titles from."""
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
