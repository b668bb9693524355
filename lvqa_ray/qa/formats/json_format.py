"""JSON format of QA replies, for endpoints that enforce a schema: parses to a `Question` and renders one.

A parsed question must pass the same test as a text reply: it is rendered in the canonical text format and parsed back.
Invalid JSON is not repaired: a repair is a guess, a retry is not.
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
from lvqa_ray.records import LETTERS, Question, ReasoningStep
from lvqa_ray.records.safe_text import safe_text

_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)


# The JSON schema contains the names and docstrings of these models, and is part of the cache key: never change them.
class ReplyModel(BaseModel):
    """Base of the models of JSON replies: closed, and without conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


_Model = TypeVar("_Model", bound=ReplyModel)


class Options(ReplyModel):
    """The four options."""

    A: str
    B: str
    C: str
    D: str


class Step(ReplyModel):
    """One step of the reasoning: the seconds that it rests on, and what is seen there."""

    start_s: float
    end_s: float
    reasons: list[str]


class Reply(ReplyModel):
    """The whole reply."""

    question: str
    options: Options
    answer: Literal["A", "B", "C", "D"]
    steps: list[Step]


class Labelled(Reply):
    """One of several questions, and what kind it is."""

    category: str


class Replies(ReplyModel):
    """A reply with several questions."""

    questions: list[Labelled]


QUESTION_SCHEMA = ReplySchema(name="question", schema=Reply.model_json_schema())
"""Schema for ``response_format``: all fields required, no additional ones, as strict mode demands."""

SCHEMA_OF_SEVERAL = ReplySchema(name="questions", schema=Replies.model_json_schema())
"""Schema for several questions."""


def parse_json_question(reply: str) -> Question:
    """Read a reply that follows `QUESTION_SCHEMA`, without its ``<think>`` part and code fence.

    White space in texts becomes single spaces, and times are rounded to 0.01 s.

    Raises:
        ParseError: It is no JSON, does not follow the schema, or contains no usable question.
    """
    return _question(validated_reply(Reply, reply))


def parse_json_questions(reply: str) -> list[ParsedQuestions]:
    """Read a reply that follows `SCHEMA_OF_SEVERAL`. An unusable question does not affect the others.

    Raises:
        ParseError: It is no JSON, does not follow the schema, or contains no question.
    """
    questions = validated_reply(Replies, reply).questions
    if not questions:
        raise ParseError(ParseFault.NO_QUESTION, "The list of questions is empty.")
    readings = []
    for one in questions:
        category = folded_text(one.category).casefold()
        try:
            question = _question(one)
        except ParseError as error:
            readings.append(ParsedQuestions(category, one.model_dump_json(), error=error))
        else:
            readings.append(ParsedQuestions(category, render_question(question), question))
    return readings


def validated_reply(model: type[_Model], reply: str) -> _Model:
    """Read a reply that follows the schema of a model.

    Raises:
        ParseError: It is no JSON, or does not follow the schema.
    """
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


def _question(reply: Reply) -> Question:
    if not reply.steps:
        raise ParseError(ParseFault.NO_REASONS, "The list of steps is empty.")
    question = Question(
        question=folded_text(reply.question),
        options={letter: folded_text(getattr(reply.options, letter)) for letter in LETTERS},
        answer=reply.answer,
        steps=tuple(map(step_of, reply.steps)),
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
    return json.dumps(_fields(q), ensure_ascii=False)


def render_json_questions(questions: Iterable[tuple[str, Question]]) -> str:
    """Write questions, each with its category, as JSON that `parse_json_questions` reads."""
    items = [{"category": category} | _fields(question) for category, question in questions]
    return json.dumps({"questions": items}, ensure_ascii=False)


def _fields(q: Question) -> dict[str, Any]:
    steps = [{"start_s": step.start_s, "end_s": step.end_s, "reasons": list(step.reasons)} for step in q.steps]
    return {"question": q.question, "options": dict(q.options), "answer": q.answer, "steps": steps}


def step_of(step: Step) -> ReasoningStep:
    """A step with its times rounded to 0.01 s."""
    start, end = (f"{time:.2f}".rstrip("0").rstrip(".") for time in (step.start_s, step.end_s))
    return ReasoningStep(
        timestamp=f"{start} to {end}",
        start_s=float(start),
        end_s=float(end),
        reasons=tuple(map(folded_text, step.reasons)),
    )


def folded_text(text: str) -> str:
    """A text on one line, with single spaces."""
    # JSON escapes may hide characters: sanitize the decoded text like a reply.
    return " ".join(strip_thinking(safe_text(text)).split())
