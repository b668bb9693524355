"""Summary task: video -> video with summaries in one or several styles."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.qa.formats.analysis_replies import read_fields, read_list, read_tags, read_text
from lvqa_ray.records import AnalyzedVideo, Style, Task, Usage
from lvqa_ray.stage import Chat, Role
from lvqa_ray.stage.video_task import KNOWN, NO_WISH, Reads, VideoTask, Wish


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WriteSummary(VideoTask):
    """Have a summary of a video written: plot, short summary, tags, highlights, or several of these in one reply."""

    name: ClassVar[str] = "summary"
    task: ClassVar[Task] = "summary"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "summary/1"
    usual_reply_tokens: ClassVar[int] = 600
    known: ClassVar[tuple[str, ...]] = KNOWN
    required: ClassVar[tuple[str, ...]] = ("video_analysis_text", "video_asr_text")

    prompt: str = Field(
        default="",
        description="Prompt; empty for the prompt of each style. Placeholders: {video_analysis_text} and "
        "{video_asr_text} (required), {video_extra_info}, {language}, {format}, {video_id}, "
        "{duration} (s), and those in `values`.",
    )
    styles: tuple[Style, ...] = Field(
        default=("plot_detail",),
        min_length=1,
        description="Styles of summary to write: plot_detail, summary, tags, highlights, multi_task (title, tags "
        "and highlights in one reply). Titles and mind map use the first one.",
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.styles)) < len(self.styles):
            raise ValueError("styles: each may be named once")
        if self.prompt and len(self.styles) > 1:
            raise ValueError("a custom prompt works for one style only: name just one in `styles`")
        return self

    def check(self, prompt: str) -> None:
        """See `Prompted`; an empty prompt means the prompt of each style."""
        if prompt:
            super().check(prompt)

    def prompt_of(self, style: Style) -> str:
        """The prompt for a style."""
        return self.prompt or PROMPTS[style]

    async def __call__(self, row: AnalyzedVideo, chat: Chat, wish: Wish = NO_WISH) -> list[AnalyzedVideo]:
        """Add one result per style; the first carries the cost of shortening captions and speech."""
        made = await asyncio.gather(
            *(
                self.result(
                    row,
                    chat,
                    wish,
                    READS[style],
                    prompt=self.prompt_of(style),
                    layout=FIELDS if style == "multi_task" else "",
                    style=style,
                )
                for style in self.styles
            )
        )
        first = replace(made[0], usage=row.usage + made[0].usage)
        return [replace(row, usage=Usage(), results=(*row.results, first, *made[1:]))]


def _prose(text: str) -> None:
    read_text(text)


READS: Mapping[Style, Reads] = {
    "plot_detail": _prose,
    "summary": _prose,
    "tags": lambda text: {"tags": [*read_tags(text)]},
    "highlights": lambda text: {"highlights": [*read_list(text)]},
    "multi_task": read_fields,
}

SOURCES = """\
Below is what is known of one video of {duration} s. First, what is seen in each of its parts, in the order of time, \
each with the seconds that it covers:

{video_analysis_text}

Second, what is said in it, as a machine has written it down: it may hold mistakes and gaps, and does not tell who is \
speaking.

{video_asr_text}
"""

PROMPTS: Mapping[Style, str] = {
    "plot_detail": f"""\
{SOURCES}
Tell the whole story of the video in detail, from its beginning to its end, as flowing prose.

- The parts were described one by one, by somebody who did not see the others. People who look alike in several parts, \
in face, hair, clothes or build, are one and the same character unless something speaks against it: give each \
character one name or one short description, and keep to it throughout.
- A description may put words into the wrong mouth. Find out from what happens who really says each line, and give it \
to that speaker. Where a part names no words, take those that are said at its time.
- Keep what is told of how people and places look, where it helps to see them. Join what belongs together, leave out \
what is only said twice, and mend what contradicts itself by what comes before and after.
- Add nothing that is neither seen nor said. Name no times, and never speak of descriptions, parts or shots.

Reply with the story alone.""",
    "summary": f"""\
{SOURCES}
Sum up the video for somebody who wants to know in a minute what it is about: who or what it shows, what happens, how \
it ends, and what it is for, as far as that can be told. Write one paragraph of at most 150 words, as plain prose. Add \
nothing that is neither seen nor said, and never speak of descriptions.

Reply with the summary alone.""",
    "tags": f"""\
{SOURCES}
Write tags by which somebody would look for this video: its kind, its subject, people or roles, places, things, what \
is done, mood and style. Write 5 to 15 of them, the most telling first, each of one to three words. Take none that the \
video does not bear out.

Reply with one tag a line and with nothing else: no numbers, no marks, no commas.""",
    "highlights": f"""\
{SOURCES}
Name the moments that would make somebody watch or share this video: turns of the story, surprises, strong feelings, \
jokes, striking pictures or lines. Write 3 to 8 of them in the order of time, one a line. Each begins, as the \
descriptions do, with "From ", the first and the last second that it covers, and a comma, such as "From 120 to 135, ", \
and says in one sentence what happens there and what makes it strong.

Reply with one highlight a line and with nothing else.""",
    "multi_task": f"""\
{SOURCES}
Write three things about this video: a title of at most 20 words; 5 to 15 tags by which somebody would look for it; \
and 3 to 8 highlights, the moments that would make somebody watch or share it, in the order of time, each as one \
sentence. Add nothing that is neither seen nor said.""",
}

FIELDS = """\
Reply with one JSON object and with nothing else. Its fields are "title", a text; "tags", a list of texts of one to \
three words; and "highlights", a list of texts."""
