# ruff: noqa: RUF001 -- full-width marks and other dashes are what some models write
"""Whatever a model writes: a question or a typed error, soon; and what is rendered is read as it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lvqa_ray.errors import ParseError
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.qa.formats.placeholders import PLACEHOLDERS
from lvqa_ray.qa.formats.reasoning_steps import is_bare_span
from lvqa_ray.qa.formats.text_format import _folded, parse_question, render_question
from lvqa_ray.records import LETTERS, Letter, Question, ReasoningStep
from tests.qa.written import EXPECTED, OPTION_BLOCK, REPLY, changed, folded

# What looks like a part of the format, to be mixed into texts and replies.
FRAGMENTS = [
    "QUESTION:", "OPTIONS:", "ANSWER: C", "answer", "REASONS:", "A.", "B)", "(C)", "**D.**", "E.", "option C. is wrong",
    "- ", "* ", "• ", "1. ", "#####", "##### From [0 to 10]:", "From 10 to 20", "Step 2:", "[0:10–0:20]", "(note)", ":",
    "：", "**", "__", "```", "---", "</think>", "<think>", "\n", "\r\n", " ", "   ", "-5 degrees", "I'm sorry",
    "ſ", "İ", "10 to 20: he", "10sec", "10ſ", "Answer: ", "<THINK>",
]  # fmt: skip
# Restricted by what `render_question` documents: one line, no white space at an end, no <think> tag, no chat-template
# token, no placeholder. Hypothesis also draws string constants of the package, such as "</s>".
lines_of_text = (
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.sampled_from([f for f in FRAGMENTS if "think" not in f.lower()]) | st.text(max_size=8), max_size=6
        ).map("".join),
    )
    .map(lambda text: text.replace("\r", " ").replace("\n", " ").strip())
    .filter(lambda text: text != "" and strip_thinking(text) == text)
    .filter(lambda text: text.strip("<>[](){}\"'`* ").casefold() not in PLACEHOLDERS)
)
numbers = st.integers(0, 999_999).map(str) | st.decimals(0, 9_999, places=2).map(str)
clocks = st.builds("{}:{:02}".format, st.integers(0, 99), st.integers(0, 59)) | st.builds(
    "{:02}:{:02}:{:02}".format, st.integers(0, 99), st.integers(0, 59), st.integers(0, 59)
)


def in_seconds(time: str) -> float:
    total = 0.0
    for part in time.split(":"):
        total = total * 60 + float(part)
    return total


@st.composite
def steps(draw: st.DrawFn) -> ReasoningStep:
    times, joins = draw(st.sampled_from([(numbers, [" to "]), (clocks, [" to ", " - ", "–"])]))
    start, end = sorted((draw(times), draw(times)), key=in_seconds)
    # A reason that is a step header and nothing else is the one further text that cannot be carried.
    texts = lines_of_text.filter(lambda text: not is_bare_span(text))
    reasons = draw(st.lists(texts, min_size=1, max_size=4))
    return ReasoningStep(
        timestamp=start + draw(st.sampled_from(joins)) + end,
        start_s=in_seconds(start),
        end_s=in_seconds(end),
        reasons=tuple(reasons),
    )


@st.composite
def questions(draw: st.DrawFn) -> Question:
    texts = draw(st.lists(lines_of_text, min_size=4, max_size=4, unique_by=folded))
    options: dict[Letter, str] = dict(zip(LETTERS, texts, strict=True))
    # Further lines of a question start with a word of their own, so that none is a label, a rule or a fence.
    more = draw(st.lists(lines_of_text.map(lambda text: f"and {text}"), max_size=2))
    question = "\n".join([draw(lines_of_text), *more])
    # A question that is only a letter, and options that are only their letters, are refused as such.
    assume(_folded(question).upper() not in LETTERS)
    assume(any(_folded(text).upper() != letter for letter, text in options.items()))
    return Question(
        question=question,
        options=options,
        answer=draw(st.sampled_from(LETTERS)),
        steps=tuple(draw(st.lists(steps(), min_size=1, max_size=3))),
    )


@given(questions())
def test_what_is_rendered_reads_the_same(question: Question) -> None:
    assert parse_question(render_question(question)) == question


@given(question=st.text(), option=st.text(), reason=st.text(), timestamp=st.text())
@example(question="x\nAnswer: y", option="x", reason="x", timestamp="0 to 10")
@example(question="x", option="x", reason="0 to 10", timestamp="0 to 10")
def test_any_text_is_carried_whole_or_not_at_all(question: str, option: str, reason: str, timestamp: str) -> None:
    step = replace(EXPECTED.steps[0], timestamp=timestamp, reasons=(reason,))
    given_question = replace(EXPECTED, question=question, options={**EXPECTED.options, "A": option}, steps=(step,))
    try:
        reply = render_question(given_question)
    except ValueError:
        return
    assert parse_question(reply) == given_question


@given(st.text() | st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_is_a_question_or_a_parse_error(reply: str) -> None:
    _read(reply)


@st.composite
def mutated(draw: st.DrawFn) -> str:
    reply = REPLY
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(reply)))
        end = draw(st.integers(start, min(len(reply), start + 30)))
        reply = reply[:start] + draw(st.sampled_from(FRAGMENTS) | st.text(max_size=5)) + reply[end:]
    return reply


@given(mutated())
def test_a_damaged_reply_is_a_question_or_a_parse_error(reply: str) -> None:
    question = _read(reply)
    assume(question is not None)
    assert question is not None
    assert tuple(question.options) == LETTERS
    assert len({folded(text) for text in question.options.values()}) == len(LETTERS)
    assert all(step.reasons and step.start_s <= step.end_s for step in question.steps)


def _read(reply: str) -> Question | None:
    try:
        return parse_question(reply)
    except ParseError:
        return None


LONG = 200_000
ADVERSARIAL: dict[str, Callable[[str], str]] = {
    "question": lambda text: changed("main goal", text),
    "label": lambda text: f"**QUESTION{text}{REPLY}",
    "option": lambda text: changed("Looking for keys", text),
    "one line of options": lambda text: changed(OPTION_BLOCK, f"A. {text}"),
    "answer": lambda text: changed("ANSWER: B", f"ANSWER: {text}"),
    "header": lambda text: changed("[0 to 10]", text),
    "header after its span": lambda text: changed("[0 to 10]:", f"[0 to 10{text}"),
    "header after its step": lambda text: changed("From [0 to 10]", f"Step 1{text}"),
    "reason": lambda text: changed("Person enters room", text),
    "lines after a reason": lambda text: f"{REPLY}\n{text}",
    "whole": lambda text: text,
}


@pytest.mark.timeout(30)
@pytest.mark.parametrize("place", ADVERSARIAL.values(), ids=ADVERSARIAL)
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "\n",
        "a\n",
        "- a\n",
        "*",
        "#",
        "[",
        "] ",
        "(a) ",
        ",]",
        ", a",
        "1",
        "1:",
        "from ",
        "answer is ",
        " B. ",
        "**a",
    ],
)
def test_long_replies_end(place: Callable[[str], str], unit: str) -> None:
    _read(place(unit * (LONG // len(unit))))
