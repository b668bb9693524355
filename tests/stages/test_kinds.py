"""Questions without options in each stage: what is asked, what is graded, and what each check finds."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from lvqa_ray.config import Checks, Job
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.messages import Chat
from lvqa_ray.qa.formats.keyed_format import render_keyed
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.records import (
    AskedQuestion,
    FinishedVideo,
    Key,
    KeyedQuestion,
    NumberKey,
    OpenKey,
    OrderKey,
    QuestionedVideo,
    Span,
    SpanKey,
)
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.checks.rewrite import RewriteQuestion
from lvqa_ray.stages.checks.solve import CheckSolve
from lvqa_ray.stages.checks.structure import CheckStructure
from lvqa_ray.stages.reformat import ReformatReasoning
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.stages.test_checks import SOUND, film

SPAN = SpanKey(spans=(Span(start_s=20, end_s=30),))
NUMBER = NumberKey(number=2, unit="times")
ORDER = OrderKey(items=("A dog runs", "A cat sleeps", "A bird sings"), order=(2, 3, 1))
OPEN = OpenKey(text="the locked kitchen", accepted=("kitchen",))
FILM = film("v", ("A dog runs.",) * 9)


def asked(key: Key, stem: str = "When does the woman come out of the house?", row_id: str = "v_q0") -> AskedQuestion:
    question = KeyedQuestion(question=stem, key=key, steps=SOUND.steps)
    text = render_keyed(question)
    return AskedQuestion(id=row_id, category="goal", question=question, reasoning=text)


def row_of(*questions: AskedQuestion) -> QuestionedVideo:
    return QuestionedVideo(film=FILM, questions=questions)


FAULTS: dict[str, tuple[Key, str, str]] = {
    "a time in the stem": (SPAN, "What does she do at 0:25 before she leaves?", "the question names a time: 'at 0:25'"),
    "captions": (SPAN, "When do the captions show the dog?", "it speaks of captions"),
    "a number given away": (NUMBER, "How often do the 2 women meet?", "the question gives its answer away"),
    "an answer given away": (OPEN, "Why does she go into the locked kitchen?", "the question gives its answer away"),
    "moments alike": (replace(ORDER, items=("A dog", "The dog", "A cat")), "In which order?", "two of the moments"),
    "sound": (OPEN, "Where is the dog at the beginning?", ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_structure(name: str) -> None:
    key, stem, fault = FAULTS[name]
    reason = CheckStructure().judge(asked(key, stem), FILM).reason
    assert reason.startswith(fault) if fault else reason == ""


def test_grounding_wants_the_spans_of_a_key_cited() -> None:
    elsewhere = SpanKey(spans=(Span(start_s=20, end_s=30), Span(start_s=50, end_s=60)))
    assert CheckGrounding().judge(asked(SPAN), FILM).passed
    assert CheckGrounding().judge(asked(elsewhere), FILM).reason == "its answer, 50 to 60 s, is cited by no step"


def said(answer: str) -> Any:
    return lambda body: f"Let me see.\nANSWER: {answer}" if 'the line "ANSWER: "' in text_of(body) else None


@pytest.mark.parametrize(
    ("key", "answer", "score"),
    [
        (SPAN, "20 to 30", 1.0), (SPAN, "0:22 - 0:32", 1.0), (SPAN, "25 to 45", 0.0), (SPAN, "none", 0.0),
        (NUMBER, "two", 1.0), (NUMBER, "3", 0.0), (ORDER, "2, 3, 1", 1.0), (ORDER, "3, 2, 1", 0.0),
        (OPEN, "In the kitchen.", 1.0), (OPEN, "the garden", 0.0),
    ],
)  # fmt: skip
def test_answers_are_graded_by_kind(chat: Chat, fake: FakeEndpoint, key: Key, answer: str, score: float) -> None:
    fake.answer = said(answer)
    (row,) = asyncio.run(CheckSolve(policy="mark", tries=2)(row_of(asked(key)), chat))
    assert isinstance(row, QuestionedVideo)
    (verdict,) = row.questions[0].verdicts
    assert (verdict.score, verdict.tries, verdict.passed) == (score, 2, score > 0.5)
    prompt = text_of(fake.requests[0].body)
    assert "multiple-choice" not in prompt
    assert full_question(asked(key).question) in prompt


def test_a_reply_without_an_answer_is_no_answer(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = lambda _: "I would say that\nit is hard to tell when."
    (row,) = asyncio.run(CheckSolve(policy="mark")(row_of(asked(SPAN)), chat))
    assert isinstance(row, QuestionedVideo)
    assert row.questions[0].verdicts[0].reason.startswith("it could not be checked: only 0 of 3")


def test_blind_catches_guesses_and_spans_that_the_middle_of_the_film_meets(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = said("2")
    half = SpanKey(spans=(Span(start_s=25, end_s=70),))
    (row,) = asyncio.run(
        CheckBlind()(row_of(asked(NUMBER), asked(half, row_id="v_q1"), asked(OPEN, row_id="v_q2")), chat)
    )
    assert isinstance(row, QuestionedVideo)
    assert [one.id for one in row.questions] == ["v_q2"]
    reasons = {drop.id: drop.reason for drop in row.drops}
    assert reasons["v_q0"].startswith("4 of 4 guesses without the video are right")
    assert reasons["v_q1"].startswith("the middle half of the video overlaps its answer by 0.89")
    assert len(fake.requests) == 8


def test_a_question_without_options_is_not_rewritten(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = said("2")
    mend = RewriteQuestion(rounds=1).with_checks(Checks().wanted)
    (row,) = asyncio.run(CheckBlind(policy="repair")(row_of(asked(NUMBER)), chat, mend))
    assert isinstance(row, QuestionedVideo)
    assert row.drops[0].reason.endswith("only multiple-choice questions are rewritten")


def test_prose_ends_with_the_answer(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = lambda _: "She shuts the kitchen with the dog inside, and comes out with the dog."
    (done,) = asyncio.run(ReformatReasoning()(row_of(asked(SPAN)), chat))
    assert isinstance(done, FinishedVideo)
    (record,) = done.records
    assert '"answer": "20 to 30"' in record.prompt
    assert "End with the conclusion and the answer." in record.prompt
    assert record.full_question.endswith("Answer with the time spans in seconds, such as 12 to 18; 40 to 44.")


AT = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
JOB: dict[str, Any] = {"videos": "v.mp4", "output": "out", "endpoints": {"vlm": AT, "llm": AT}}


def test_kinds_are_planned_in_proportion_and_a_wrong_one_is_named() -> None:
    stage = AskQuestions(quota={"goal": 2}, kinds={"open": 1, "span": 2, "order": 1}, per_minute=4)
    assert [(part.start, part.kind, len(part.categories)) for part in stage.batches(60)] == [
        (0, "choice", 4), (4, "span", 4), (8, "open", 2), (10, "order", 2),
    ]  # fmt: skip
    assert len(stage.plan(60)) == 12
    alone = Job.of(JOB | {"ask": {"quota": {}, "kinds": {"number": 1}}})
    assert alone.ask.wanted
    assert alone.job_hash != Job.of(JOB).job_hash == Job.of(JOB | {"ask": {"kinds": {}}}).job_hash
    with pytest.raises(ConfigError, match=r"ask\.kinds\.choice"):
        Job.of(JOB | {"ask": {"kinds": {"choice": 1}}})
    with pytest.raises(ConfigError, match="kinds: span must be 0 or more questions, not -1"):
        Job.of(JOB | {"ask": {"kinds": {"span": -1}}})
