"""Question stage: captioned video -> video with questions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, JsonValue, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import NOT_HAD, ApiError, BadRequest, DegenerateReply, TooLong, TruncatedReply
from lvqa_ray.llm.messages import ChatRequest, Part, Text
from lvqa_ray.qa.best_reply import BestReply
from lvqa_ray.qa.collected_questions import CollectedQuestions
from lvqa_ray.qa.context_windows import captions_for_batch
from lvqa_ray.qa.formats.reply_format import JSON, TEXT, ReplyFormat
from lvqa_ray.qa.keyed_tasks import Batch, batches, keyed_prompt
from lvqa_ray.qa.question_plan import CATEGORIES, planned
from lvqa_ray.records import CaptionedVideo, Clip, Failure, Kind, QuestionedVideo, Span, Usage
from lvqa_ray.stage import Chat, CostMeter, Prompted, Role, answer, reask
from lvqa_ray.stage.shown_frames import timed_frames


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AskQuestions(Prompted):
    """Have multi-step questions written about the merged captions."""

    name: ClassVar[str] = "ask"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "ask/2"
    usual_reply_tokens: ClassVar[int] = 700
    known: ClassVar[tuple[str, ...]] = ("captions", "video_id", "duration", "questions", "format", "language")
    required: ClassVar[tuple[str, ...]] = ("captions",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {captions} (required), {questions} (how many of which category; "
        "required for more than one question), {format}, {language}, {video_id}, {duration} (s), and "
        "those in `values`.",
    )
    quota: dict[str, int] = Field(
        default_factory=lambda: dict.fromkeys(("temporal", "goal", "spatial", "plot"), 1),
        description="Number of questions per category, per video; with `per_minute`, the proportion of the "
        "categories. Empty for no questions, if `analysis` has tasks.",
    )
    kinds: dict[Literal["span", "number", "order", "open"], int] = Field(
        default_factory=dict,
        description="Number of questions without options per video, besides the multiple-choice questions of `quota`: "
        "span (time spans), number, order (of moments; written without a call), open (a few words). With `per_minute`, "
        "in proportion to the questions of `quota`. `prompt` does not apply to them.",
    )
    categories: dict[str, str] = Field(
        default_factory=dict,
        description=f"Your own categories, or new definitions of known ones ({', '.join(CATEGORIES)}): what each asks "
        "about.",
    )
    per_minute: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Number of questions per minute of video; null for the numbers in `quota`.",
    )
    most: int = Field(default=40, ge=1, description="Maximum number of questions per video, with `per_minute`.")
    per_call: int = Field(default=4, ge=1, le=20, description="Maximum number of questions requested in one call.")
    language: str = Field(
        default="",
        description="Language of questions, options and reasoning, such as German; empty for the language of the "
        "captions.",
    )
    frames: int = Field(
        default=0,
        ge=0,
        le=512,
        description="Number of frames of the whole video that are sent with the captions, evenly spaced; the llm "
        "must then be a vision model. 0 for none.",
    )
    reasks: int = Field(default=1, ge=0, le=5, description="How often an unparsable reply is sent back with the error.")
    fresh_tries: int = Field(
        default=1, ge=0, le=5, description="How often the question is requested again from the start, if that fails."
    )

    reply_format: Literal["text", "json_schema"] = Field(
        default="text",
        description="Format of the reply: labelled text, or JSON that the endpoint holds to a schema "
        "(response_format). If the endpoint does not support a schema, text is requested and the "
        "record's note says so.",
    )

    @model_validator(mode="after")
    def _askable(self) -> Self:
        offered = {**CATEGORIES, **self.categories}
        named: dict[str, str] = {}
        for name in offered:
            if (other := named.setdefault(name.casefold(), name)) != name:
                raise ValueError(
                    f"categories: {other} and {name} differ in capitals only, which replies may not keep; rename one, "
                    "or spell a known one as it is to put it in words of your own"
                )
        for name in self.quota:
            if name not in offered:
                raise ValueError(
                    f"quota: there is no category {name}; say under `categories` what it asks about, or use one of "
                    f"{', '.join(offered)}"
                )
        for name, count in (*self.quota.items(), *self.kinds.items()):
            if count < 0:
                section = "quota" if name in self.quota else "kinds"
                raise ValueError(f"{section}: {name} must be 0 or more questions, not {count}")
        if "{questions}" not in self.prompt and (self.per_minute or sum(self.quota.values()) > 1):
            raise ValueError(
                "a prompt for several questions must hold {questions}, which says how many of which kind; for one "
                "question a video, set quota to one, such as {goal: 1}"
            )
        if self.language and not any(word in self.prompt for word in ("{format}", "{language}")):
            raise ValueError("language is set, but the prompt has neither {format} nor {language}")
        return self

    @property
    def wanted(self) -> bool:
        """Whether any question is asked."""
        return any((*self.quota.values(), *self.kinds.values()))

    def plan(self, duration_s: float) -> tuple[str, ...]:
        """The categories of all questions about a video of this length, in order."""
        return tuple(name for batch in self.batches(duration_s) for name in batch.categories)

    def batches(self, duration_s: float) -> list[Batch]:
        """The questions about a video of this length, by call; those of the kind `order` need none."""
        total = sum(self.quota.values())
        choices = planned(self.quota, duration_s, self.per_minute, self.most) if total else ()
        share = len(choices) / total if total else 1.0
        kinds: dict[Kind, int] = {kind: max(1, round(share * n)) for kind, n in self.kinds.items() if n}
        return list(batches(choices, kinds, self.per_call))

    def show(self, row: CaptionedVideo, sample: Callable[[Clip], Iterable[Any]]) -> Iterator[CaptionedVideo | Failure]:
        """Add frames of the whole video, sampled by the stage `sample`, or return the failure.

        An unavailable file is a retryable failure, since its captions are paid for.
        """
        span = Span(start_s=0.0, end_s=row.info.duration_sec)
        whole = Clip(video=row.video, info=row.info, index=0, span=span, last=False)
        for out in sample(whole):
            if isinstance(out, Clip):
                yield replace(row, shown=out)
            else:
                yield replace(out.failure, stage=self.name, clip_id="", retryable=out.failure.kind in NOT_HAD)

    async def __call__(self, row: CaptionedVideo, chat: Chat) -> list[QuestionedVideo | Failure]:
        """Add the questions to the video, or return the failure with the last unparsable reply."""
        todo = self.batches(row.info.duration_sec)
        plan = tuple(name for part in todo for name in part.categories)
        written = CollectedQuestions(plan, row.video, usage=row.usage)
        form = JSON if self.reply_format == "json_schema" else TEXT
        for part in todo:
            if part.kind == "order":
                written.take_order(row, part.start, len(part.categories))
                continue
            paid = CostMeter(chat)
            try:
                batch = await self._ask(row, paid, form, part, earlier=written.stems)
                if batch is None:
                    form = TEXT
                    written.note = "the endpoint takes no JSON schema: asked for text"
                    batch = await self._ask(row, paid, form, part, earlier=written.stems)
                batch = batch or BestReply(len(part.categories))
            except ApiError as error:
                if error.retryable or len(todo) == 1:
                    usage = written.usage + paid.by(error)
                    failure = Failure.of(error, video=row.video, stage=self.name)
                    return [replace(failure, usage=usage, requested=plan)]
                batch = BestReply(len(part.categories), usage=paid.by(error))
                batch.wrong(error.kind, str(error), error.raw)
            written.take(part.start, batch)
        if not written.questions:
            return [written.failure(self.name)]
        return [
            QuestionedVideo(
                film=replace(row, shown=None),
                questions=written.located(row),
                drops=tuple(written.drops),
                usage=written.usage,
                note=written.note,
            )
        ]

    async def _ask(
        self, row: CaptionedVideo, chat: Chat, form: ReplyFormat, part: Batch, *, earlier: Sequence[str]
    ) -> BestReply | None:
        """Request one batch of questions in one format, until all are usable or no try is left.

        Usable questions of a batch are kept; a fresh try follows only if no question is usable.

        Returns:
            The best reply, or ``None`` if the endpoint rejects requests with a schema.

        Raises:
            ApiError: The call failed.
        """
        shape = form.shape(len(part.categories), part.kind)
        batch = BestReply(len(part.categories))
        for fresh in range(self.fresh_tries + 1):
            request = self.request(row, part=part, earlier=earlier, attempt=fresh, form=form)
            for _ in range(self.reasks + 1):
                batch.calls += 1
                try:
                    reply = await answer(chat, request, shape.reads)
                except (TruncatedReply, DegenerateReply) as error:
                    batch.usage += Usage.of(error)
                    batch.wrong(error.kind, str(error), error.raw)
                    break
                except BadRequest as error:
                    if shape.schema and not isinstance(error, TooLong):
                        return None
                    raise
                batch.usage += reply.usage
                fault = batch.take(reply.text, shape.read)
                if fault is None:
                    return batch
                request = reask(request, reply, QUESTION_REASK.format(error=fault))
            if batch.some:
                break
        return batch

    def request(
        self,
        row: CaptionedVideo,
        *,
        part: Batch | None = None,
        earlier: Sequence[str] = (),
        attempt: int = 0,
        form: ReplyFormat | None = None,
    ) -> ChatRequest:
        """Build the request for a batch of questions; by default the first batch, in text format.

        Args:
            row: The captioned video.
            part: The batch.
            earlier: Stems of the questions of earlier batches.
            attempt: Index of the fresh try.
            form: Reply format.
        """
        part = part or self.batches(row.info.duration_sec)[0]
        shape = (form or TEXT).shape(len(part.categories), part.kind)
        layout = shape.words + (f"\n\n{QUESTION_LANGUAGE.format(language=self.language)}" if self.language else "")
        values = {
            "captions": captions_for_batch(row, part.part, part.of),
            "video_id": row.video.id,
            "duration": f"{row.info.duration_sec:.0f}",
            "questions": self._wanted(part.categories, earlier),
            "language": self.language,
            "format": layout,
        }
        template = self.prompt
        if part.kind != "choice":
            template = keyed_prompt(part, self.categories, _earlier(earlier).replace("{", "{{").replace("}", "}}"))
        prompt = self.filled(values, template)
        if shape.schema is not None and "{format}" not in template:
            prompt = f"{prompt.rstrip()}\n\n{layout}"
        pictures = list(_pictures(row.shown)) if row.shown else []
        text = f"{prompt}\n\n{PICTURES}" if pictures else prompt
        facts: dict[str, JsonValue] = {
            **values,
            "count": len(part.categories),
            "earlier": [*earlier],
            "kind": part.kind,
        }
        request = self.asks(Text(text=text), *pictures, attempt=attempt, facts=facts)
        return replace(request, reply_schema=shape.schema)

    def _wanted(self, part: Sequence[str], earlier: Sequence[str]) -> str:
        about = {**CATEGORIES, **self.categories}
        if len(part) == 1:
            wanted = ONE_QUESTION.format(about=about[part[0]])
        else:
            kinds = "\n".join(f"{number}. {name}: {about[name]}" for number, name in enumerate(part, start=1))
            wanted = SEVERAL_QUESTIONS.format(count=len(part), kinds=kinds)
        return wanted + _earlier(earlier)


def _earlier(earlier: Sequence[str]) -> str:
    stems = "\n".join(f"- {' '.join(stem.split())}" for stem in earlier)
    return f"\n\n{EARLIER.format(stems=stems)}" if earlier else ""


def _pictures(shown: Clip) -> list[Part]:
    return timed_frames((f"{shown.identity} #{index}", frame) for index, frame in enumerate(shown.frames))


TASK = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

Write {questions}

A question must take several steps of reasoning that join at least three different moments; no single moment and no \
general knowledge may be enough to answer it. Write for somebody who watches the video and has never seen these \
descriptions: speak of the video, never of captions or descriptions, and do not name times in a question.

Give four options, of which exactly one is right. Make the three others tempting for somebody who missed a moment, \
each in another way where the video allows: what is true of another time, what somebody or something else does, what \
happens in another order. Do not make them out of what the video does not show. All four are of about the same length \
and in the same style; none says "all of the above", "none of the above" or names another option. The question must \
not give its answer away.

Then give the reasoning that leads to the answer, step by step, in the order of time. Every step names the seconds \
that it rests on, taken from the descriptions, and lists what is seen there; the last step says why the other options \
are wrong."""

ONE_QUESTION = "one hard multiple-choice question about the video. It asks about {about}."

SEVERAL_QUESTIONS = """\
{count} hard multiple-choice questions about the video. They are of these kinds, in this order, and each rests on \
other moments than the others:

{kinds}"""

EARLIER = """\
These have been asked before; ask about other moments, and use nothing that they give away:
{stems}"""

QUESTION_LANGUAGE = (
    "Write all texts in {language}, whatever the language of the descriptions; labels and letters stay as they are."
)

PICTURES = "These are pictures of the video, in the order of time, each with the second at which it is on screen."

PROMPT: str = f"{TASK}\n\n{{format}}"

QUESTION_REASK = """\
That reply cannot be used: {error}

Send the whole reply again, corrected and in exactly the format asked for, with nothing before or after it."""
