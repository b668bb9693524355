"""JSON format of questions without options, for endpoints that enforce a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.messages import ReplySchema
from lvqa_ray.qa.formats.json_format import ReplyModel, Step, folded_text, step_of, validated_reply
from lvqa_ray.qa.formats.keyed_format import number_key, open_key, render_keyed, span_key
from lvqa_ray.qa.formats.multi_question import ParsedQuestions
from lvqa_ray.records import Key, KeyedQuestion, Kind, NumberKey, OpenKey, Span, SpanKey

Item = TypeVar("Item", bound=ReplyModel)


# The JSON schemas contain the names and docstrings of these models, and are part of the cache key: never change them.
class AnswerSpan(ReplyModel):
    """A time span of the video in seconds."""

    start_s: float
    end_s: float


class SpanReply(ReplyModel):
    """A question whose answer is one or more time spans."""

    question: str
    spans: list[AnswerSpan]
    steps: list[Step]

    def key(self) -> Key:
        """The key."""
        spans = [Span(start_s=span.start_s, end_s=span.end_s) for span in self.spans]
        return span_key(spans, "; ".join(f"{span.start_s:g} to {span.end_s:g}" for span in spans))


class NumberReply(ReplyModel):
    """A question whose answer is a number."""

    question: str
    number: float
    tolerance: float
    unit: str
    steps: list[Step]

    def key(self) -> Key:
        """The key."""
        return number_key(self.number, self.tolerance, folded_text(self.unit), f"{self.number:g}")


class OpenReply(ReplyModel):
    """A question whose answer is a few words."""

    question: str
    answer: str
    accepted: list[str]
    rubric: str
    steps: list[Step]

    def key(self) -> Key:
        """The key."""
        return open_key(
            folded_text(self.answer),
            [folded_text(form).replace(";", ",") for form in self.accepted],
            folded_text(self.rubric),
        )


class KeyedReplies(ReplyModel, Generic[Item]):
    """A reply with questions of one kind."""

    questions: list[Item]


_MODELS: Mapping[
    Kind, type[KeyedReplies[SpanReply]] | type[KeyedReplies[NumberReply]] | type[KeyedReplies[OpenReply]]
] = {
    "span": KeyedReplies[SpanReply],
    "number": KeyedReplies[NumberReply],
    "open": KeyedReplies[OpenReply],
}
KEYED_SCHEMAS: Mapping[Kind, ReplySchema] = {
    kind: ReplySchema(name=f"{kind}_questions", schema=model.model_json_schema()) for kind, model in _MODELS.items()
}
"""Schema for the questions of each kind that a model writes."""


def keyed_json_reader(kind: Kind) -> Callable[[str], Sequence[ParsedQuestions]]:
    """Parser of replies that follow the schema of a kind. An unusable question does not affect the others."""

    def read(reply: str) -> list[ParsedQuestions]:
        questions = validated_reply(_MODELS[kind], reply).questions
        if not questions:
            raise ParseError(ParseFault.NO_QUESTION, "The list of questions is empty.")
        return [_reading(item) for item in questions]

    return read


def _reading(item: SpanReply | NumberReply | OpenReply) -> ParsedQuestions:
    try:
        if not item.steps:
            raise ParseError(ParseFault.NO_REASONS, "The list of steps is empty.")
        question = KeyedQuestion(
            question=folded_text(item.question), key=item.key(), steps=tuple(map(step_of, item.steps))
        )
        return ParsedQuestions("", render_keyed(question), question)
    except ParseError as error:
        return ParsedQuestions("", item.model_dump_json(), error=error)
    except ValueError as error:
        cause = error.__cause__
        kind = cause.kind if isinstance(cause, ParseError) else ParseFault.BAD_JSON
        return ParsedQuestions("", item.model_dump_json(), error=ParseError(kind, str(cause or error)))


def keyed_as_json(questions: Sequence[KeyedQuestion]) -> str:
    """Write questions of one kind as JSON that `keyed_json_reader` reads.

    Raises:
        ValueError: No schema has this kind of key.
    """
    return json.dumps({"questions": [_fields_of(question) for question in questions]}, ensure_ascii=False)


def _fields_of(q: KeyedQuestion) -> dict[str, Any]:
    steps = [{"start_s": step.start_s, "end_s": step.end_s, "reasons": list(step.reasons)} for step in q.steps]
    match q.key:
        case SpanKey():
            key: dict[str, Any] = {"spans": [{"start_s": one.start_s, "end_s": one.end_s} for one in q.key.spans]}
        case NumberKey():
            key = {"number": q.key.number, "tolerance": q.key.tolerance, "unit": q.key.unit}
        case OpenKey():
            key = {"answer": q.key.text, "accepted": list(q.key.accepted), "rubric": q.key.rubric}
        case _:
            raise ValueError(f"questions of the kind {q.kind} are not written as JSON")
    return {"question": q.question, **key, "steps": steps}
