"""Base class of tasks about a whole video."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict, JsonValue
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError, ParseError
from lvqa_ray.llm.messages import Chat, ChatRequest, Text
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.records import Analysis, AnalyzedVideo, Failure, Style, Task, Usage
from lvqa_ray.stage.prompted import Prompted, answer, reask


@plain_dataclass(frozen=True, slots=True)
class Wish:
    """Options of all tasks of a job.

    Attributes:
        language: Output language, such as German; empty for the language of the captions.
        extra_info: Further material about the videos; empty for none.
    """

    language: str = ""
    extra_info: str = ""


NO_WISH = Wish()
Reads = Callable[[str], JsonValue]
"""Parses a reply without its ``<think>`` part, or raises a `ParseError`."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class VideoTask(Prompted):
    """A task about a whole video. An unparsable reply is sent back once with the error.

    It never fails the video: an error becomes the failure of its result.

    Attributes:
        task: Which task.
    """

    task: ClassVar[Task]

    async def __call__(self, row: AnalyzedVideo, chat: Chat, wish: Wish = NO_WISH) -> list[AnalyzedVideo]:
        """Add the results of the task to the video."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__")

    async def result(
        self,
        row: AnalyzedVideo,
        chat: Chat,
        wish: Wish,
        reads: Reads,
        *,
        prompt: str = "",
        layout: str = "",
        style: Style | None = None,
    ) -> Analysis:
        """Ask, parse the reply, and return the result or its failure.

        Args:
            row: The video.
            chat: The client.
            wish: Language and further material.
            reads: Parses a reply.
            prompt: Prompt; empty for the stage's own.
            layout: Reply format; appended if the prompt has no ``{format}``.
            style: Style of a summary.
        """
        made = Analysis(task=self.task, style=style or "", note=row.note)
        if (before := self.missing(row)) is not None:
            return replace(made, failure=replace(before, stage=self.name))
        request = self.request(row, wish, prompt=prompt or self.prompt, layout=layout, style=style)
        usage, kind, last, raw = Usage(), "", "", ""

        def usable(text: str) -> bool:
            try:
                reads(strip_thinking(text))
            except ParseError:
                return False
            return True

        try:
            for _ in range(ASKS):
                reply = await answer(chat, request, usable)
                usage += reply.usage
                text = strip_thinking(reply.text)
                try:
                    value = reads(text)
                except ParseError as error:
                    kind, last, raw = str(error.kind), str(error), reply.received
                    request = reask(request, reply, ANALYSIS_REASK.format(error=error))
                    continue
                return replace(made, text=text, value=value, model=reply.model, usage=usage)
        except ApiError as error:
            failure = Failure.of(error, video=row.film.video, stage=self.name)
            return replace(made, usage=usage + Usage.of(error), failure=failure)
        message = f"no usable reply in {ASKS}; the last: {last}"
        failure = Failure(video=row.film.video, stage=self.name, kind=kind, message=message, attempts=ASKS, raw=raw)
        return replace(made, usage=usage, failure=failure)

    def missing(self, row: AnalyzedVideo) -> Failure | None:
        """The failure if the task lacks its input, else ``None``."""
        return row.failure

    def request(
        self, row: AnalyzedVideo, wish: Wish, *, prompt: str, layout: str = "", style: Style | None = None
    ) -> ChatRequest:
        """Build the request: the prompt, then language, material and format unless it has placeholders for them."""
        captioned, summary = row.film, row.summary
        values = {
            "video_analysis_text": row.shots,
            "video_asr_text": row.speech or SILENT,
            "video_extra_info": wish.extra_info,
            "summary": summary.text if summary else "",
            "language": wish.language,
            "format": layout,
            "video_id": captioned.video.id,
            "duration": f"{captioned.info.duration_sec:.0f}",
            **self.own_values(),
        }
        text = self.filled(values, prompt)
        for name, given, words in (
            ("video_extra_info", wish.extra_info, EXTRA.format(extra=wish.extra_info)),
            ("language", wish.language, ANALYSIS_LANGUAGE.format(language=wish.language)),
            ("format", layout, layout),
        ):
            if given and f"{{{name}}}" not in prompt:
                text = f"{text.rstrip()}\n\n{words}"
        return self.asks(Text(text=text), facts={**values, "style": style})

    def own_values(self) -> dict[str, str]:
        """Values of additional placeholders."""
        return {}


ASKS = 2
"""Attempts per task: the first, and one more with the parse error."""
KNOWN = (
    "video_analysis_text",
    "video_asr_text",
    "video_extra_info",
    "language",
    "format",
    "video_id",
    "duration",
)
"""Placeholders that every task fills."""

SILENT = "(no speech is known)"

EXTRA = """\
Further material about the video:

{extra}"""

ANALYSIS_LANGUAGE = (
    "Write all texts in {language}, whatever the language of the descriptions; names of fields stay as they are."
)

ANALYSIS_REASK = """\
That reply cannot be used: {error}

Send the whole reply again, corrected and in exactly the form asked for, with nothing before or after it."""
