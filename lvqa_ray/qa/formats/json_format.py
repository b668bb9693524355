"""The QA reply as JSON, for endpoints that hold a model to a schema: read into a `Question` and written from one.

What is read has to stand the same test as a text reply: it is written in the canonical text format and read back. JSON
that is broken is not repaired: a repaired reply is a guess at what was meant, and asking again is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.messages import ReplySchema
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.multi_question import ParsedQuestions
from lvqa_ray.qa.formats.text_format import render_question
from lvqa_ray.records import Question
from lvqa_ray.records import Step as QuestionStep
from lvqa_ray.records.safe_text import safe_text

_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


_Said = TypeVar("_Said", bound=_Object)


class JsonOptions(_Object):
    """The four options."""

    A: str
    B: str
    C: str
    D: str


class JsonStep(_Object):
    """One step of the reasoning: the seconds that it rests on, and what is seen there."""

    start_s: float
    end_s: float
    reasons: list[str]


class JsonReply(_Object):
    """The whole reply."""

    question: str
    options: JsonOptions
    answer: Literal["A", "B", "C", "D"]
    steps: list[JsonStep]


class Labelled(JsonReply):
    """One of several questions, and what kind it is."""

    category: str


class JsonReplies(_Object):
    """A reply with several questions."""

    questions: list[Labelled]


SCHEMA = ReplySchema(name="question", schema=JsonReply.model_json_schema())
"""What is sent as ``response_format``: every field is required and none may be added, as strict mode wants it."""

SCHEMA_OF_SEVERAL = ReplySchema(name="questions", schema=JsonReplies.model_json_schema())
"""The same for several questions."""


def parse_json_question(reply: str) -> Question:
    """Read a reply that follows `SCHEMA`; a draft before it and a code fence around it are taken off.

    White space in a text becomes single spaces, and times are taken to a hundredth of a second.

    Raises:
        ParseError: It is no JSON, does not follow the schema, or holds no usable question.
    """
    return _question(_validated(JsonReply, reply))


def parse_json_questions(reply: str) -> list[ParsedQuestions]:
    """Read a reply that follows `SCHEMA_OF_SEVERAL`; one question that is of no use spoils no other.

    Raises:
        ParseError: It is no JSON, does not follow the schema, or holds no question.
    """
    said = _validated(JsonReplies, reply).questions
    if not said:
        raise ParseError(ParseFault.NO_QUESTION, "The list of questions is empty.")
    readings = []
    for one in said:
        category = _folded(one.category).casefold()
        try:
            question = _question(one)
        except ParseError as error:
            readings.append(ParsedQuestions(category, one.model_dump_json(), error=error))
        else:
            readings.append(ParsedQuestions(category, render_question(question), question))
    return readings


def _validated(model: type[_Said], reply: str) -> _Said:
    text = strip_thinking(reply)
    fenced = _FENCE.fullmatch(text)
    try:
        return model.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ParseError(
            ParseFault.BAD_JSON, f"The reply is not the JSON asked for: {f'{place}: ' if place else ''}{first['msg']}."
        ) from None


def _question(said: JsonReply) -> Question:
    if not said.steps:
        raise ParseError(ParseFault.NO_REASONS, "The list of steps is empty.")
    question = Question(
        question=_folded(said.question),
        options={
            "A": _folded(said.options.A),
            "B": _folded(said.options.B),
            "C": _folded(said.options.C),
            "D": _folded(said.options.D),
        },
        answer=said.answer,
        steps=tuple(map(_step, said.steps)),
    )
    try:
        render_question(question)
    except ValueError as error:
        cause = error.__cause__
        kind = cause.kind if isinstance(cause, ParseError) else ParseFault.BAD_JSON
        raise ParseError(kind, str(cause or error)) from None
    return question


def render_json_question(q: Question) -> str:
    """Write a question as JSON that `parse_json_question` reads."""
    return json.dumps(_said(q), ensure_ascii=False)


def render_json_questions(questions: Iterable[tuple[str, Question]]) -> str:
    """Write questions, each with its category, as JSON that `parse_json_questions` reads."""
    said = [{"category": category} | _said(question) for category, question in questions]
    return json.dumps({"questions": said}, ensure_ascii=False)


def _said(q: Question) -> dict[str, Any]:
    steps = [{"start_s": step.start_s, "end_s": step.end_s, "reasons": list(step.reasons)} for step in q.steps]
    return {"question": q.question, "options": dict(q.options), "answer": q.answer, "steps": steps}


def _step(step: JsonStep) -> QuestionStep:
    start, end = (f"{time:.2f}".rstrip("0").rstrip(".") for time in (step.start_s, step.end_s))
    return QuestionStep(
        timestamp=f"{start} to {end}",
        start_s=float(start),
        end_s=float(end),
        reasons=tuple(map(_folded, step.reasons)),
    )


def _folded(text: str) -> str:
    # JSON escapes what the reply does not show: the decoded text is cleaned as a reply is.
    return " ".join(strip_thinking(safe_text(text)).split())
