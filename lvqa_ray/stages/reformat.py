"""film with a question -> finished record."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.draft import without_draft
from lvqa_ray.llm.messages import Text
from lvqa_ray.llm.parse import full_question
from lvqa_ray.llm.wording import reason_text, without_captions
from lvqa_ray.records import AskedFilm, Failure, Record, Usage
from lvqa_ray.stage import Chat, Prompted, Role, answer


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ReformatReasoning(Prompted):
    """Have the listed reasons rewritten as prose that a model can be trained on."""

    name: ClassVar[str] = "reformat"
    role: ClassVar[Role] = "reformat"
    version: ClassVar[str] = "reformat/1"
    known: ClassVar[tuple[str, ...]] = ("question", "answer", "reason", "video_id")
    required: ClassVar[tuple[str, ...]] = ("question", "answer", "reason")

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {question}, {answer}, {reason} (needed), {video_id}, own `values`.",
    )

    async def __call__(self, row: AskedFilm, chat: Chat) -> list[Record | Failure]:
        """The record, or the reason why the rewriting failed."""
        prompt = self.prompt_for(row)
        try:
            reply = await answer(chat, self.asks(Text(text=prompt)), lambda text: bool(without_draft(text)))
        except ApiError as error:
            return [Failure.of(error, video=row.film.video, stage=self.name)]
        prose = without_draft(reply.text)
        if not prose:
            message = "the reply holds a draft and no answer"
            return [Failure(video=row.film.video, stage=self.name, kind="empty_reply", message=message, raw=reply.text)]
        captions = sum((clip.usage for clip in row.film.clips), Usage())
        return [
            Record(
                film=row.film,
                reasoning=row.reasoning,
                question=row.question,
                prompt=prompt,
                full_question=full_question(row.question),
                reformatted_reasoning=prose,
                note=row.note,
                usage={CAPTION: captions, ASK: row.usage, self.name: reply.usage},
            )
        ]

    def prompt_for(self, row: AskedFilm) -> str:
        """The prompt for a question, as it is sent and stored."""
        values = {
            "question": without_captions(full_question(row.question)),
            "answer": row.question.answer,
            "reason": reason_text(row.question),
            "video_id": row.film.video.id,
        }
        return self.filled(values)


CAPTION, ASK = "caption", "ask"

PROMPT = """\
Rewrite the reasoning below so that it reads as the thoughts of one person who watches the video and works out the \
answer: looking for the moments that matter, saying what is seen there, and drawing one conclusion after another.

- Keep every fact that the reasoning rests on, and add none.
- Write flowing prose in the order of the argument. No headings, no lists, no "Step 1", no times such as \
"from 10 to 20" or "(0:10-0:20)".
- Speak of the video and what it shows; never of captions, descriptions or given reasons.
- End with the conclusion and the letter of the right option.

"question": "{question}"

"answer": "{answer}"

"reason": "{reason}"

Reply with the rewritten reasoning alone, as plain text."""
