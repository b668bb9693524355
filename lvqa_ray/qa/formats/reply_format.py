"""Reply formats for questions: instructions for the prompt, JSON schema, and parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.messages import ReplySchema
from lvqa_ray.qa.best_reply import Reader
from lvqa_ray.qa.formats.json_format import (
    QUESTION_SCHEMA,
    SCHEMA_OF_SEVERAL,
    parse_json_question,
    parse_json_questions,
)
from lvqa_ray.qa.formats.json_in_text import json_as_text
from lvqa_ray.qa.formats.keyed_format import parse_keyed
from lvqa_ray.qa.formats.keyed_json import KEYED_SCHEMAS, keyed_json_reader
from lvqa_ray.qa.formats.multi_question import ParsedQuestions, parse_questions
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.records import Kind


@dataclass(frozen=True)
class ReplyShape:
    """One reply format: instructions for the prompt, parser, and JSON schema if any."""

    words: str
    read: Reader
    schema: ReplySchema | None = None

    def reads(self, reply: str) -> bool:
        """Whether a reply contains a question in this format."""
        try:
            return any(reading.question is not None for reading in self.read(reply))
        except ParseError:
            return False


@dataclass(frozen=True)
class ReplyFormat:
    """A reply format with variants for one and for several questions."""

    one: ReplyShape
    several: ReplyShape
    keyed: Mapping[Kind, ReplyShape]

    def shape(self, count: int, kind: Kind = "choice") -> ReplyShape:
        """The variant for `count` questions of a kind."""
        if kind != "choice":
            return self.keyed[kind]
        return self.one if count == 1 else self.several


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

SEVERAL_TEXT = TEXT_FORMAT.replace("with nothing else:\n", "with nothing else, once for each question:\n").replace(
    "QUESTION:", "CATEGORY: <the name of its kind>\nQUESTION:"
)

JSON_FIELDS = """\
"question"; "options", an object with the texts of the options "A", "B", "C" and "D" without their letters; "answer", \
the letter of the right one; and "steps", a list of objects with "start_s" and "end_s", in seconds, and "reasons", a \
list of what is seen there and what follows from it."""

JSON_FORMAT = f"Reply with one JSON object and with nothing else. Its fields are {JSON_FIELDS}"

SEVERAL_JSON = f"""\
Reply with one JSON object and with nothing else. It has one field, "questions", a list of objects, one for each \
question. Their fields are "category", the name of its kind; {JSON_FIELDS}"""


def _read_text(reply: str) -> list[ParsedQuestions]:
    try:
        return [ParsedQuestions("", reply, parse_question(reply))]
    except ParseError:
        readings = _read_json_in_text(reply)
        if len(readings) != 1:
            raise
        return readings


def _read_several_texts(reply: str) -> list[ParsedQuestions]:
    return _read_json_in_text(reply) or parse_questions(reply)


def _read_json_in_text(reply: str) -> list[ParsedQuestions]:
    """The questions of a JSON reply where text was requested; empty if none is usable."""
    texts = json_as_text(reply)
    readings = parse_questions("\n\n".join(texts)) if texts else []
    return readings if any(reading.question for reading in readings) else []


def _read_json(reply: str) -> list[ParsedQuestions]:
    question = parse_json_question(reply)
    return [ParsedQuestions("", render_question(question), question)]


def _keyed_text(kind: Kind, answer: str) -> ReplyShape:
    words = KEYED_TEXT.replace("<answer>", answer)
    return ReplyShape(words, lambda reply: parse_questions(reply, partial(parse_keyed, kind=kind)))


def _keyed_json(kind: Kind, fields: str) -> ReplyShape:
    return ReplyShape(KEYED_JSON.replace("<fields>", fields), keyed_json_reader(kind), KEYED_SCHEMAS[kind])


KEYED_TEXT = """\
Reply in this format and with nothing else, once for each question:

QUESTION: <the question>
<answer>
REASONS:
##### From [<start> to <end>]:
- <what is seen there>
- <what follows from it>
##### From [<start> to <end>]:
- <...>"""

KEYED_JSON = """\
Reply with one JSON object and with nothing else. It has one field, "questions", a list of objects, one for each \
question. Their fields are "question"; <fields>; and "steps", a list of objects with "start_s" and "end_s", in \
seconds, and "reasons", a list of what is seen there and what follows from it."""

TEXT = ReplyFormat(
    ReplyShape(TEXT_FORMAT, _read_text),
    ReplyShape(SEVERAL_TEXT, _read_several_texts),
    {
        "span": _keyed_text("span", "ANSWER: <start> to <end>; <start> to <end>, in seconds, one or more spans"),
        "number": _keyed_text(
            "number",
            "ANSWER: <the number, in digits>\nTOLERANCE: <0, or how far off a right answer may be>\n"
            "UNIT: <what is counted or measured>",
        ),
        "open": _keyed_text(
            "open",
            "ANSWER: <one to five words>\nACCEPTED: <other form>; <other form>, or none\n"
            "RUBRIC: <what an answer must say to be right>",
        ),
    },
)
JSON = ReplyFormat(
    ReplyShape(JSON_FORMAT, _read_json, QUESTION_SCHEMA),
    ReplyShape(SEVERAL_JSON, parse_json_questions, SCHEMA_OF_SEVERAL),
    {
        "span": _keyed_json("span", '"spans", a list of objects with "start_s" and "end_s" in seconds'),
        "number": _keyed_json(
            "number",
            '"number"; "tolerance", 0 or how far off a right answer may be; "unit", what is counted or measured',
        ),
        "open": _keyed_json(
            "open",
            '"answer", one to five words; "accepted", a list of other forms; "rubric", what an answer must say to be '
            "right",
        ),
    },
)
