"""Prompt echo: replies that copy the format instead of filling it in."""

from __future__ import annotations

import json
import re

import pytest

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.qa.formats import reply_format
from lvqa_ray.qa.formats.json_format import parse_json_question
from lvqa_ray.qa.formats.keyed_format import parse_keyed
from lvqa_ray.qa.formats.placeholders import PLACEHOLDERS
from lvqa_ray.qa.formats.reply_format import TEXT, TEXT_FORMAT
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.records import KeyedQuestion, OpenKey
from tests.qa.written import EXPECTED, REPLY, changed

FILLED = TEXT_FORMAT.partition("QUESTION:")[2]


def test_every_placeholder_of_the_formats_is_known() -> None:
    shapes = [shape.words for shape in (TEXT.one, TEXT.several, *TEXT.keyed.values())]
    found = {name.casefold() for words in shapes for name in re.findall(r"<([^<>]+)>", words)}
    assert found <= PLACEHOLDERS
    assert reply_format.JSON_FIELDS.count("what is seen there and what follows from it") == 1


def test_the_copied_format_is_no_question() -> None:
    """With times and a letter, it has the right form: a small model wrote it so."""
    copied = "QUESTION:" + FILLED.replace("<A, B, C or D>", "A").replace("<start> to <end>", "0 to 5")
    with pytest.raises(ParseError, match="'<the question>' is a placeholder of the format"):
        parse_question(copied)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("What is the person's main goal?", "[The question]", ParseFault.NO_QUESTION),
        ("Reading a book", "<second option>", ParseFault.EMPTY_OPTION),
        ("Reading a book", "second option", ParseFault.EMPTY_OPTION),
        ("Reading a book", "...", ParseFault.EMPTY_OPTION),
        ("Person enters room", "<what is seen there>", ParseFault.BAD_STEP),
        ("Person enters room", "<...>", ParseFault.BAD_STEP),
    ],
)
def test_a_placeholder_is_no_text(old: str, new: str, kind: ParseFault) -> None:
    with pytest.raises(ParseError) as error:
        parse_question(changed(old, new))
    assert error.value.kind == kind


def test_in_json() -> None:
    options = {
        letter: f"<{place} option>"
        for letter, place in zip("ABCD", ("first", "second", "third", "fourth"), strict=True)
    }
    steps = [{"start_s": 0.0, "end_s": 5.0, "reasons": ["what is seen there and what follows from it"]}]
    reply = {"question": "What happens?", "options": options, "answer": "A", "steps": steps}
    with pytest.raises(ParseError, match="'<first option>' is a placeholder"):
        parse_json_question(json.dumps(reply))


def test_of_a_question_without_options() -> None:
    reply = "QUESTION: What?\nANSWER: a red car\nACCEPTED: none\nRUBRIC: <what an answer must say to be right>\n"
    reasons = "REASONS:\n##### From [0 to 5]:\n- A red car drives by."
    with pytest.raises(ParseError, match="placeholder"):
        parse_keyed(reply + reasons, "open")
    assert isinstance(
        parse_keyed(reply.replace("<what an answer must say to be right>", "red") + reasons, "open"), KeyedQuestion
    )


def test_words_of_a_placeholder_within_a_text_are_kept() -> None:
    assert parse_question(REPLY) == EXPECTED
    read = parse_question(
        changed("Reading a book", "He takes the first option", "bookshelf\n", "bookshelf... at the end\n")
    )
    assert read.options["B"] == "He takes the first option"


def test_words_that_are_placeholders_in_brackets_alone_are_texts_without() -> None:
    options = {"A": "Start", "B": "Middle", "C": "End", "D": "It never appears"}
    steps = [{"start_s": 0.0, "end_s": 5.0, "reasons": ["It is there at once.", "..."]}]
    reply = {"question": "Where does it appear?", "options": options, "answer": "A", "steps": steps}
    assert parse_json_question(json.dumps(reply)).options == options
    with pytest.raises(ParseError, match="'<start>' is a placeholder"):
        parse_json_question(json.dumps(reply | {"options": options | {"A": "<start>"}}))
    reasons = "REASONS:\n##### From [0 to 5]:\n- The sign says so."
    asked = parse_keyed(f"QUESTION: What does the sign say?\nANSWER: End\nACCEPTED: start; ...\n{reasons}", "open")
    assert isinstance(asked.key, OpenKey)
    assert (asked.key.text, asked.key.accepted) == ("End", ("start",))


def test_an_ellipsis_after_other_reasons_is_no_fault() -> None:
    reply = REPLY.rstrip() + "\n- ..."
    read = parse_question(reply)
    assert (read.question, read.options, read.answer) == (EXPECTED.question, EXPECTED.options, EXPECTED.answer)
    assert parse_question(render_question(read)) == read
    with pytest.raises(ParseError, match=r"'\.\.\.' is a placeholder"):
        parse_keyed("QUESTION: What?\nANSWER: a red car\nREASONS:\n##### From [0 to 5]:\n- ...", "open")
