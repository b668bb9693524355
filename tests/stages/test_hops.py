"""Multi-hop questions: an oracle that answers from the lines it gets finds all single-hop ones and drops no other."""

from __future__ import annotations

import asyncio
import json
import random
import re
from dataclasses import replace
from typing import Any, get_args

import pytest

from lvqa_ray.config import Checks, Job
from lvqa_ray.llm.messages import Chat
from lvqa_ray.qa.context_windows import captions_for_question, captions_of_steps, captions_without_key
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.records import LETTERS, AskedQuestion, Question, QuestionedVideo, ReasoningStep, hops
from lvqa_ray.stages.checks.hops import CheckHops, Probe
from lvqa_ray.stages.checks.solve import CheckSolve, CheckUnaided
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.stages.test_checks import film

EACH = 10
CLIPS = 24
PROBES: tuple[Probe, ...] = get_args(Probe)
COLOURS = ("red", "blue", "green", "white")
DRAW = random.Random(7)  # noqa: S311 - reproducible


def fact(number: int, clip: int) -> str:
    return f"sign {number} of part {clip} has the number {(number * 37 + clip * 101) % 9000 + 1000}"


class Planted:
    """Questions about facts in the captions, and an oracle that knows which facts each of them needs.

    The answer to a question is the sum of what its facts say, so that no fact less will do. Habits: ``multi`` needs one
    fact of each cited clip; ``single_span`` needs those of one cited clip only; ``leave_out`` needs facts that stand
    outside of the cited clips too; ``summary_only`` needs one that the summary gives; ``options_only`` needs none.
    """

    def __init__(self) -> None:
        self.lines: list[list[str]] = [[] for _ in range(CLIPS)]
        self.needs: dict[str, tuple[str, ...]] = {}
        self.told: list[str] = []
        self.questions: list[AskedQuestion] = []
        self.habits: dict[str, str] = {}
        for number in range(4 * EACH + 4 * EACH):
            self.plant(number, "multi" if number >= 4 * EACH else PROBES[number % 4])

    def plant(self, number: int, habit: str) -> None:
        clips = sorted(DRAW.sample(range(0, CLIPS, 2), 3))  # never neighbours, so three moments
        facts = [fact(number, clip) for clip in clips]
        for clip, told in zip(clips, facts, strict=True):
            self.lines[clip].append(told)
        needed = facts[:1] if habit in ("single_span", "summary_only") else facts
        if habit == "leave_out":
            for told in facts:  # the same is said elsewhere
                self.lines[next(clip for clip in range(1, CLIPS) if clip not in clips and clip % 2)].append(told)
        if habit == "summary_only":
            needed = [f"sign {number} is known to everybody"]
            self.told += needed
        key = LETTERS[number % 4]
        options = {letter: f"{COLOURS[at]} thing {number}" for at, letter in enumerate(LETTERS)}
        steps = tuple(
            ReasoningStep(timestamp=f"{10 * c} to {10 * c + 10}", start_s=10 * c, end_s=10 * c + 10, reasons=(told,))
            for c, told in zip(clips, facts, strict=True)
        )
        stem = f"Which thing do the signs numbered {number} speak of?"
        question = Question(question=stem, options=options, answer=key, steps=steps)
        self.needs[options[key]] = () if habit == "options_only" else tuple(needed)
        self.habits[f"v_q{number}"] = habit
        self.questions.append(AskedQuestion(id=f"v_q{number}", category="goal", question=question, reasoning=""))

    def __call__(self, body: dict[str, Any]) -> str:
        text = text_of(body)
        if "Sum up in at most five sentences" in text:
            return " ".join(self.told)
        for letter, option in re.findall(r"^([A-D])\. (.+)$", text, re.MULTILINE):
            if option in self.needs and all(need in text for need in self.needs[option]):
                return f"The lines tell it.\nANSWER: {letter}"
        return "They do not tell.\nANSWER: none"

    def row(self) -> QuestionedVideo:
        captions = [". ".join(DRAW.sample(told, len(told))) or "A street" for told in self.lines]
        return QuestionedVideo(film=film("v", captions), questions=tuple(self.questions))


def test_an_oracle_finds_every_planted_single_hop_question_and_drops_no_multi_hop_one(
    chat: Chat, fake: FakeEndpoint
) -> None:
    fake.answer = planted = Planted()
    row = planted.row()
    (judged,) = asyncio.run(CheckHops(policy="drop", probes=PROBES)(row, chat))
    assert isinstance(judged, QuestionedVideo)
    assert {drop.id: planted.habits[drop.id] for drop in judged.drops} == {
        row_id: habit for row_id, habit in planted.habits.items() if habit != "multi"
    }
    assert len(judged.drops) == len(judged.questions) == 4 * EACH
    said = {
        "options_only": "what the options say suffices",
        "summary_only": "a summary of the video suffices",
        "leave_out": "what is outside of the cited moments suffices",
        "single_span": "the moment ",
    }
    for drop in judged.drops:
        assert drop.reason.startswith(said[planted.habits[drop.id]]), drop.reason
    assert {one.verdicts[-1].score for one in judged.questions} == {0.0}
    assert judged.summary == ""
    summaries = [body for body in fake.requests if "Sum up in at most" in json.dumps(body.body)]
    assert len(summaries) == 1
    verdicts = [one.verdicts[-1] for one in judged.questions] + [one.verdicts[-1] for one in judged.drops]
    assert sum(verdict.usage.calls for verdict in verdicts) == len(fake.requests)


def test_without_probes_moments_are_counted_and_nothing_is_asked(chat: Chat, fake: FakeEndpoint) -> None:
    planted = Planted()
    one, two, *_ = planted.questions
    near = tuple(
        replace(step, timestamp=f"{n} to {n + 10}", start_s=n, end_s=n + 10)
        for n, step in zip((0, 10, 20), two.question.steps, strict=True)
    )
    row = replace(planted.row(), questions=(one, replace(two, question=replace(two.question, steps=near))))
    (check,) = [check for check in Checks().wanted if check.name == "hops"]
    (judged,) = check(row)
    first, second = (asked.verdicts[-1] for asked in judged.questions)
    assert (first.passed, first.score, second.passed, second.score, second.action) == (True, 3, False, 1, "marked")
    assert second.reason == "its reasoning cites one moment, and 2 are needed"
    (asked,) = asyncio.run(CheckHops(probes=("leave_out",))(row, chat))
    assert isinstance(asked, QuestionedVideo)
    assert asked.questions[1].verdicts[-1].reason == second.reason
    assert len(fake.requests) == 3  # the first question's; the second needs no call
    assert [len(hops(each.question)) for each in row.questions] == [3, 1]


AT = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
JOB: dict[str, Any] = {"videos": "v.mp4", "output": "out", "endpoints": {"vlm": AT, "llm": AT}}


def test_a_job_that_sets_no_probes_keeps_its_hash_and_one_that_does_not_its_plan() -> None:
    plain, same = Job.of(JOB), Job.of(JOB | {"checks": {"hops": {"least": 2}, "unaided": {"policy": "off"}}})
    probing = Job.of(JOB | {"checks": {"hops": {"probes": ["single_span"]}}})
    assert plain.job_hash == same.job_hash != probing.job_hash
    assert "hops" not in {stage.name for stage in plain.asking}
    assert "hops" in {stage.name for stage in probing.asking}
    assert "hops" not in {check.name for check in probing.checks.wanted}


def long_row() -> QuestionedVideo:
    """A video whose captions are four times the budget, with a question about two moments."""
    captions = [f"At door {n} a {name} is seen " + "and nothing else happens " * 12 for n, name in enumerate(
        ["walrus", "teapot", "violin", "lantern", *["street"] * 60])]  # fmt: skip
    made = replace(film("v", captions), overview="From 0 to 640, doors are seen.", budget=1600)
    steps = tuple(
        ReasoningStep(timestamp=f"{10 * n} to {10 * n + 10}", start_s=10 * n, end_s=10 * n + 10, reasons=("x",))
        for n in (40, 50)
    )
    question = Question(
        question="Is the walrus seen before the violin?",
        options={"A": "yes, long before", "B": "no, long after", "C": "at the same door", "D": "never at all"},
        answer="A",
        steps=steps,
    )
    asked = AskedQuestion(id="v_q0", category="temporal", question=question, reasoning="")
    return QuestionedVideo(film=made, questions=(asked,))


def test_windows_without_the_key_are_chosen_by_the_words_of_the_question() -> None:
    row = long_row()
    (asked,) = row.questions
    aided = captions_for_question(row.film, asked.question.steps)
    unaided = captions_without_key(row.film, full_question(asked.question))
    assert ("From 400 to 410" in aided, "walrus" in aided) == (True, False)
    assert ("From 400 to 410" in unaided, "walrus" in unaided, "violin" in unaided) == (False, True, True)
    assert len(unaided) < 4 * 1600
    assert captions_of_steps(row.film, asked.question.steps).count("From ") == 2
    short = replace(row.film, overview="", budget=0)
    assert captions_without_key(short, "x") == short.captions


@pytest.mark.parametrize("is_long", [True, False])
def test_solving_without_the_key_is_measured_on_long_videos_only(
    chat: Chat,
    fake: FakeEndpoint,
    is_long: bool,
) -> None:
    fake.answer = lambda body: "ANSWER: A" if "From 400 to 410" in text_of(body) else "ANSWER: none"
    row = long_row()
    row = row if is_long else replace(row, film=replace(row.film, overview="", budget=0))

    async def both_checks() -> QuestionedVideo:
        (aided,) = await CheckSolve(tries=1)(row, chat)
        assert isinstance(aided, QuestionedVideo)
        (both,) = await CheckUnaided(policy="mark", tries=1)(aided, chat)
        assert isinstance(both, QuestionedVideo)
        return both

    both = asyncio.run(both_checks())
    solve, unaided = both.questions[0].verdicts
    assert (solve.score, unaided.score, unaided.passed) == (1.0, 0.0 if is_long else None, True)
    assert len(fake.requests) == 1 + is_long
