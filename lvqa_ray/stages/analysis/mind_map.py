"""Mind map task: video with a summary -> video with a mind map."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.qa.formats.analysis_replies import read_tree
from lvqa_ray.records import AnalyzedVideo, Failure, Task
from lvqa_ray.stage import Chat, Role
from lvqa_ray.stage.video_task import KNOWN, NO_WISH, VideoTask, Wish


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DrawMindMap(VideoTask):
    """Have a mind map made from the summary of a video."""

    name: ClassVar[str] = "mind_map"
    task: ClassVar[Task] = "mind_map"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "mind_map/1"
    usual_reply_tokens: ClassVar[int] = 350
    known: ClassVar[tuple[str, ...]] = (*KNOWN, "summary")
    required: ClassVar[tuple[str, ...]] = ("summary",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {summary} (required), {format} (the reply format), "
        "{video_analysis_text}, {video_asr_text}, {video_extra_info}, {language}, {video_id}, "
        "{duration} (s), and those in `values`.",
    )

    async def __call__(self, row: AnalyzedVideo, chat: Chat, wish: Wish = NO_WISH) -> list[AnalyzedVideo]:
        """Add the mind map, at most four levels deep, or its failure."""
        made = await self.result(row, chat, wish, read_tree, layout=MIND_MAP_FORMAT)
        return [replace(row, results=(*row.results, made))]

    def missing(self, row: AnalyzedVideo) -> Failure | None:
        """The failure if there is no summary."""
        return super().missing(row) or row.no_summary


PROMPT = """\
This is what happens in a video:

{summary}

Order what it is about as a mind map. Its root names the video's subject in a few words; the branches of the root, two \
to six of them, are its main themes or the main stages of its story, and what belongs to each stands below it. Every \
name is short, at most ten words. Say nothing twice, and add nothing that the text does not hold."""

MIND_MAP_FORMAT = """\
Reply with one JSON object and with nothing else. It is the root; every node has the field "name", a text, and, where \
it has branches, the field "children", a list of nodes. The map is at most four levels deep, with its root."""
