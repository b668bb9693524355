"""Replies that SmolLM2-135M-Instruct wrote to the prompts of stage `ask`; see `benchmarks/small_model.py`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lvqa_ray.errors import ParseError
from lvqa_ray.qa.formats.analysis_replies import read_fields, read_list, read_tags, read_tree
from lvqa_ray.qa.formats.answer_choice import read_choice, read_graded
from lvqa_ray.qa.formats.conclusion import concluded, without_conclusion
from lvqa_ray.qa.formats.json_format import parse_json_question
from lvqa_ray.qa.formats.multi_question import ParsedQuestions
from lvqa_ray.qa.formats.reply_format import JSON, TEXT
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.qa.rubric import read_points, read_score
from lvqa_ray.records import KeyedQuestion, Kind, NumberKey, OpenKey, Question, Span, SpanKey
from tests.qa.written import EXPECTED, REPLY, changed, folded

REPLIES = [json.loads(line) for line in Path(__file__).with_name("small_model_replies.jsonl").read_text().splitlines()]
KEYED = [
    KeyedQuestion(question="Which?", key=key, steps=EXPECTED.steps)
    for key in (SpanKey(spans=(Span(start_s=5, end_s=10),)), NumberKey(number=3), OpenKey(text="a red car"))
]
KINDS: tuple[Kind, ...] = ("choice", "span", "number", "open")


def test_no_reader_takes_a_reply_for_anything_but_an_answer_or_a_typed_error() -> None:
    """Whatever it was the reply to."""
    readers: list[Callable[[str], object]] = [
        *(form.shape(count, kind).read for form in (TEXT, JSON) for count in (1, 2) for kind in KINDS),
        *(read_fields, read_list, read_tags, read_tree, concluded, without_conclusion, read_score),
        lambda text: read_choice(text, EXPECTED),
        *(lambda text, question=question: read_graded(text, question) for question in KEYED),
        lambda text: read_points(text, ("ambiguous", "subjective")),
    ]
    assert len(REPLIES) >= 150
    for reply in REPLIES:
        for read in readers:
            try:
                read(reply["text"])
            except ParseError as error:
                assert str(error)  # noqa: PT017 - one of many


def test_what_is_read_stands_in_the_reply() -> None:
    """Each text of a question is one of the reply, word for word, and none is a placeholder of the format."""
    found = 0
    for text in (REPLY, *(reply["text"] for reply in REPLIES)):
        for form in (TEXT, JSON):
            for kind in KINDS:
                for reading in _read(form.shape(1, kind).read, text):
                    question = reading.question
                    if question is None:
                        continue
                    found += 1
                    texts = [question.question, *(reason for step in question.steps for reason in step.reasons)]
                    texts += question.options.values() if isinstance(question, Question) else ()
                    said = folded(json.dumps(text, ensure_ascii=False) + text)
                    assert all(folded(one) in said or folded(json.dumps(one)[1:-1]) in said for one in texts)
                    assert not any(one.startswith("<") for one in texts)
    assert found


def _read(read: Callable[[str], Sequence[ParsedQuestions]], text: str) -> Sequence[ParsedQuestions]:
    try:
        return read(text)
    except ParseError:
        return ()


def test_options_that_are_only_their_letters_are_none() -> None:
    options = {letter: letter for letter in "ABCD"}
    steps = [{"start_s": 2.0, "end_s": 12.0, "reasons": ["A"]}]
    with pytest.raises(ParseError, match="only letters"):
        parse_json_question(json.dumps({"question": "What?", "options": options, "answer": "A", "steps": steps}))
    with pytest.raises(ParseError, match="only the letter A"):
        parse_question(changed("What is the person's main goal?", "A"))
    shuffled = {"A": "C", "B": "A", "C": "D", "D": "B"}
    asked = {"question": "Which letter is on the door?", "options": shuffled, "answer": "A", "steps": steps}
    assert parse_json_question(json.dumps(asked)).options["A"] == "C"


@pytest.mark.parametrize(
    "reply",
    [
        "C\nA\nD\nB\nC\nC\nD",
        "A\nA\nB\nC\nD\nE\nF\nG\nX\nY\nZ\nA\nB",
        "[C]\n\nThis answer is incorrect.",
        "No single moment may be enough to answer it:\n\nQ: What is the best dessert to go for after dinner?\nA:",
        "- A: The question is one-to-one.\n- B: The question is multiple-choice.\n\nThe answer is either A or B.",
        "A question that requires reasoning of all four combinations is:\n- [A, B, C or D]",
    ],
)
def test_a_list_of_letters_chooses_none(reply: str) -> None:
    assert read_choice(reply, EXPECTED).letter is None


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("There is only one correct answer, and it is:\n\nB", "B"),
        ("The answer is [C].", "C"),
        ("C\n", "C"),
        ("C\n\nC", "C"),
        ("A or B?\n\nANSWER: B", "B"),
        ("A\nB\nC\nD\n\nLooking for keys", "A"),
        ("A\nB\nC\nD\n\nB. Reading a book", "B"),
        ("He reads.\n\nB: ", "B"),
        ("I\nB", "B"),
        ("X\n\nB", "B"),
    ],
)
def test_one_letter_is_a_choice(reply: str, letter: str) -> None:
    assert read_choice(reply, EXPECTED).letter == letter


@pytest.mark.parametrize("question", KEYED, ids=lambda question: question.kind)
def test_a_sentence_about_the_task_is_no_answer(question: KeyedQuestion) -> None:
    talk = (
        "A hard multiple-choice question about the video must include all four options: the first and second, the "
        "first and third, the third and fourth, and the third and fifth."
    )
    assert not read_graded(talk, question).read
    assert read_graded(f"{talk}\nANSWER: {question.key_text}", question).score == 1.0
    assert read_graded(question.key_text, question).score == 1.0


def test_many_spans_are_no_talk() -> None:
    spans = tuple(Span(start_s=10.0 * n, end_s=10.0 * n + 5) for n in range(9))
    question = KeyedQuestion(question="When?", key=SpanKey(spans=spans), steps=EXPECTED.steps)
    assert len(question.key_text.split()) > 20
    assert read_graded(question.key_text, question).score == 1.0


@pytest.mark.parametrize("key", ["no one", "none", "nothing", "unknown"])
@pytest.mark.parametrize("before", ["", "I looked.\nANSWER: "])
def test_a_key_that_sounds_like_declining_is_an_answer(key: str, before: str) -> None:
    question = KeyedQuestion(question="Who?", key=OpenKey(text=key), steps=EXPECTED.steps)
    right, wrong = read_graded(f"{before}{key}", question), read_graded(f"{before}unclear", question)
    assert (right.score, right.read, right.answer) == (1.0, True, key)
    assert (wrong.score, wrong.read, wrong.answer) == (0.0, True, "")
