"""Questions that can be guessed and keys that are wrong, planted at a known rate, against a solver of known skill."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from lvqa_ray.llm.tally import named_option, turned
from lvqa_ray.records import AskedFilm, AskedQuestion, Failure
from lvqa_ray.stage import Chat
from lvqa_ray.stages.check_blind import CheckBlind
from lvqa_ray.stages.check_solve import CheckSolve
from tests.fakes.characters import Solver
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault
from tests.stages.test_checks import SOUND, asked, film, with_stem

ROWS = tuple(asked(with_stem(f"Why is it that the door number {n} stays shut?"), f"v_q{n}") for n in range(20))
ROW = AskedFilm(film=film(), questions=ROWS)


def key(row: AskedQuestion) -> str:
    return row.question.options[row.question.answer]


def test_what_can_be_guessed_is_caught_and_a_liking_for_a_letter_gains_nothing(chat: Chat, fake: FakeEndpoint) -> None:
    guessable = ROWS[::3]
    fake.answer = Solver(blind={row.question.question: key(row) for row in guessable}, seeing={}, letter="C")
    (row,) = asyncio.run(CheckBlind(policy="drop")(ROW, chat))
    assert isinstance(row, AskedFilm)
    assert {drop.id for drop in row.drops} == {one.id for one in guessable}
    assert {drop.reason for drop in row.drops} == {"5 of 5 guesses without the video are right"}
    assert {one.verdicts[-1].score for one in row.questions} <= {0.2, 0.4}
    assert len(fake.requests) == 5 * len(ROWS)
    assert row.questions[0].verdicts[-1].usage.calls == 5
    assert not any("a dog runs" in str(request.body) for request in fake.requests), "it sees no captions"


def test_a_wrong_key_is_caught_and_the_share_of_right_answers_is_kept(chat: Chat, fake: FakeEndpoint) -> None:
    wrong = ROWS[1::4]
    seen = {row.question.question: key(row) for row in ROWS}
    seen |= {row.question.question: row.question.options["A"] for row in wrong}
    fake.answer = Solver(blind={}, seeing=seen)
    (row,) = asyncio.run(CheckSolve(policy="drop")(ROW, chat))
    assert isinstance(row, AskedFilm)
    assert {drop.id for drop in row.drops} == {one.id for one in wrong}
    assert [one.verdicts[-1].score for one in row.questions] == [1.0] * (len(ROWS) - len(wrong))
    assert SOUND.steps[0].reasons[0] not in str(fake.requests[0].body), "it sees no reasoning"
    (easy,) = asyncio.run(CheckSolve(policy="mark", most=0.9)(ROW, chat))
    assert isinstance(easy, AskedFilm)
    assert all(one.verdicts[-1].action == "marked" for one in easy.questions)
    assert len(fake.requests) == 3 * len(ROWS), "the second time all answers are in the journal"


def test_a_call_that_may_succeed_waits_and_one_that_never_will_is_no_pass(chat: Chat, fake: FakeEndpoint) -> None:
    one = replace(ROW, questions=ROWS[:1])
    fake.fail_next(Fault.UNAVAILABLE, times=20)
    (waits,) = asyncio.run(CheckBlind(policy="drop")(one, chat))
    assert isinstance(waits, Failure)
    assert (waits.stage, waits.retryable) == ("blind", True)


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("ANSWER: B", "B"),
        ("I think of A first.\n\n**ANSWER:** (C)", "C"),
        ("ANSWER: A\nNo, wait.\nANSWER: D", "D"),
        ("<think>ANSWER: A</think>B", "B"),
        ("D.", "D"),
        ("ANSWER:\nC", "C"),
        (f"ANSWER: {SOUND.options['B']}", "B"),
        ("ANSWER: A or B", None),
        ("I cannot say.", None),
        ("", None),
    ],
)
def test_the_option_that_a_reply_names(reply: str, letter: str | None) -> None:
    assert named_option(reply, SOUND) == letter


def test_four_turns_bring_the_key_to_every_place() -> None:
    assert sorted(turned(SOUND, n).answer for n in range(4)) == ["A", "B", "C", "D"]
    for n in range(4):
        assert turned(SOUND, n).options[turned(SOUND, n).answer] == SOUND.options["C"]
