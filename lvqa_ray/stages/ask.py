"""film -> film with a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError, BadRequest, ParseError, TooLong, TruncatedReply
from lvqa_ray.llm.messages import ChatRequest, Message, ReplySchema, Text
from lvqa_ray.llm.parse import parse_question, render_question
from lvqa_ray.llm.parse_json import SCHEMA, parse_json_question
from lvqa_ray.records import AskedFilm, Failure, Film, Question, Usage
from lvqa_ray.stage import Chat, Prompted, Role, answer


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class AskQuestion(Prompted):
    """Have a multi-step multiple-choice question written about the merged captions."""

    name: ClassVar[str] = "ask"
    role: ClassVar[Role] = "llm"
    version: ClassVar[str] = "ask/1"
    known: ClassVar[tuple[str, ...]] = ("captions", "video_id", "duration")
    required: ClassVar[tuple[str, ...]] = ("captions",)

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {captions} (needed), {video_id}, {duration} (s), those of `values`.",
    )
    reasks: int = Field(default=1, ge=0, le=5, description="How often a reply that does not parse is sent back.")
    fresh_tries: int = Field(default=1, ge=0, le=5, description="How often it is then asked anew.")

    reply_format: Literal["text", "json_schema"] = Field(
        default="text",
        description="How the reply is written: as labelled text, or as JSON that the endpoint holds to a schema "
        "(response_format); where the endpoint takes none, text is asked for, and the record's note says so.",
    )

    async def __call__(self, film: Film, chat: Chat) -> list[AskedFilm | Failure]:
        """The film with its question, or the reason why there is none, with the reply that could not be read."""
        note = ""
        if self.reply_format == "json_schema":
            try:
                return await self._ask(film, chat, JSON)
            except BadRequest:
                note = "the endpoint takes no JSON schema: asked for text"
        return await self._ask(film, chat, TEXT, note)

    async def _ask(self, film: Film, chat: Chat, form: Form, note: str = "") -> list[AskedFilm | Failure]:
        """Ask in one format.

        Raises:
            BadRequest: The endpoint took no request with a schema.
        """
        usage = Usage()
        calls = 0
        problem: ParseError | TruncatedReply | None = None
        raw = ""
        try:
            for fresh in range(self.fresh_tries + 1):
                request = self.request(film, attempt=fresh, form=form)
                for _ in range(self.reasks + 1):
                    calls += 1
                    try:
                        reply = await answer(chat, request, form.reads)
                    except TruncatedReply as error:
                        problem, raw = error, error.raw
                        usage += Usage.of(error)
                        break
                    usage += reply.usage
                    try:
                        question = form.parse(reply.text)
                    except ParseError as error:
                        problem, raw = error, reply.text
                        request = reask(request, reply.text, error)
                    else:
                        reasoning = render_question(question) if form.schema else reply.text
                        return [AskedFilm(film=film, reasoning=reasoning, question=question, usage=usage, note=note)]
        except ApiError as error:
            if form.schema and isinstance(error, BadRequest) and not isinstance(error, TooLong):
                raise
            return [Failure.of(error, video=film.video, stage=self.name)]
        failure = Failure(
            video=film.video,
            stage=self.name,
            kind=problem.kind if problem else "no_reply",
            message=f"no usable question in {calls} replies; the last: {problem}",
            attempts=calls,
            raw=raw,
        )
        return [failure]

    def request(self, film: Film, *, attempt: int = 0, form: Form | None = None) -> ChatRequest:
        """What is sent for a film; the words about the format are replaced where it is not text."""
        values = {
            "captions": film.captions,
            "video_id": film.video.id,
            "duration": f"{film.info.duration_sec:.0f}",
        }
        prompt = self.filled(values)
        if form is None or form.schema is None:
            return self.asks(Text(text=prompt), attempt=attempt)
        prompt = f"{prompt.removesuffix(TEXT_FORMAT).rstrip()}\n\n{JSON_FORMAT}"
        return replace(self.asks(Text(text=prompt), attempt=attempt), reply_schema=form.schema)


def reask(request: ChatRequest, reply: str, error: ParseError) -> ChatRequest:
    """The same request, followed by the reply that could not be read and what is wrong with it."""
    correction = REASK.format(error=error)
    return replace(
        request, messages=(*request.messages, Message.of("assistant", reply), Message.of("user", correction))
    )


@dataclass(frozen=True)
class Form:
    """A format of the reply: what reads it, and the schema that the endpoint holds it to, if any."""

    parse: Callable[[str], Question]
    schema: ReplySchema | None = None

    def reads(self, reply: str) -> bool:
        """Whether a reply is in this format."""
        try:
            self.parse(reply)
        except ParseError:
            return False
        return True


TEXT = Form(parse_question)
JSON = Form(parse_json_question, SCHEMA)

TASK = """\
Below are descriptions of the parts of one video, in the order of time, each with the seconds that it covers.

{captions}

Write one hard multiple-choice question about the video, of the kind that asks for the purpose behind what happens, \
its cause, or its order. It must take several steps of reasoning that join at least three different moments; no single \
moment and no general knowledge may be enough to answer it. Write it for somebody who watches the video and has never \
seen these descriptions: speak of the video, never of captions or descriptions, and do not name times in the question.

Give four options. Exactly one is right. The three others must be tempting for somebody who missed a moment: true of \
another time, of somebody else, or in another order. All four are of about the same length.

Then give the reasoning that leads to the answer, step by step. Every step names the seconds that it rests on and \
lists what is seen there; the last step says why the other options are wrong."""

TEXT_FORMAT = """\
Reply in this format and with nothing else:

QUESTION: <the question>
OPTIONS:
A. <first option>
B. <second option>
C. <third option>
D. <fourth option>
ANSWER: <A, B, C or D>
REASONS:
##### From [<start> to <end>]:
- <what is seen there>
- <what follows from it>
##### From [<start> to <end>]:
- <...>"""

JSON_FORMAT = """\
Reply with one JSON object and with nothing else. Its fields are "question"; "options", an object with the texts of \
the options "A", "B", "C" and "D" without their letters; "answer", the letter of the right one; and "steps", a list of \
objects with "start_s" and "end_s", in seconds, and "reasons", a list of what is seen there and what follows from it."""

PROMPT: str = f"{TASK}\n\n{TEXT_FORMAT}"

REASK = """\
That reply cannot be used: {error}

Send the whole reply again, corrected and in exactly the format asked for, with nothing before or after it."""
