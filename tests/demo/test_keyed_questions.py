"""One question of each kind by the demo endpoint on films with known cuts: its keys are true of the film."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pytest

from lvqa_ray.demo.captions import NAMED, Look, looks
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.grading import temporal_iou
from lvqa_ray.records import (
    KEYED_KINDS,
    CaptionedVideo,
    FinishedVideo,
    KeyedQuestion,
    NumberKey,
    OpenKey,
    OrderKey,
    QuestionedVideo,
    Span,
    SpanKey,
)
from lvqa_ray.records.table_rows import data_row
from lvqa_ray.rewards import reward
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.duplicates import CheckDuplicates
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.prose import CheckProse
from lvqa_ray.stages.checks.shuffle import ShuffleOptions
from lvqa_ray.stages.checks.solve import CheckSolve
from lvqa_ray.stages.checks.structure import CheckStructure
from lvqa_ray.stages.reformat import ReformatReasoning
from tests.demo.asking import demo
from tests.demo.test_questions import merged
from tests.stages.test_checks import film as film_of

PALETTES = (
    ("red", "black"),
    ("green", "white"),
    ("blue", "grey"),
    ("yellow", "brown"),
    ("pink", "teal"),
    ("orange", "purple"),
)
RARE = (
    Look("dim", ("teal", "orange")),
    Look("evenly lit", ("pink", "grey")),
    Look("dim", ("purple", "yellow")),
    Look("evenly lit", ("brown", "white")),
)
"""Looks that each film shows in one clip only."""
CLIP_S = 10


def known_film(seed: int, clips: int = 24) -> list[Look]:
    """A film of one look per clip; its cuts are the changes of look."""
    draw = random.Random(seed)  # noqa: S311 - a draw to repeat
    pool = [Look(draw.choice(("dark", "bright")), palette) for palette in PALETTES]
    pool += [Look("dim", ("red", "blue")), Look("evenly lit", ("green", "black"))]
    made: list[Look] = []
    while len(made) < clips:
        made += [draw.choice(pool)] * draw.randint(1, 2)
    made = made[:clips]
    for at, look in zip(draw.sample(range(0, clips, 3), len(RARE)), RARE, strict=True):
        made[at] = look
    return made


def captioned(film: Sequence[Look]) -> CaptionedVideo:
    lines = merged([[look] for look in film]).splitlines()
    return film_of("v", [line.partition(", ")[2] for line in lines])


def written(film: Sequence[Look], **settings: Any) -> QuestionedVideo:
    kinds: Any = dict.fromkeys(KEYED_KINDS, 1)
    stage = AskQuestions(quota={}, kinds=kinds, **settings)
    (row,) = asyncio.run(stage(captioned(film), demo))
    assert isinstance(row, QuestionedVideo)
    return row


def true_of(film: Sequence[Look], question: KeyedQuestion) -> bool:
    """Whether the key follows from the film, found again from nothing but its looks."""
    runs: list[tuple[Look, int, int]] = []
    at = 0
    for look, group in groupby(film):
        length = len(list(group))
        runs.append((look, at * CLIP_S, (at + length) * CLIP_S))
        at += length
    named = [look.sameness for look in looks(NAMED, question.question)]
    mine = [Span(start_s=start, end_s=end) for look, start, end in runs if named and look.sameness == named[0]]
    match question.key:
        case SpanKey():
            return temporal_iou(question.key.spans, mine) == 1.0
        case NumberKey(unit="s"):
            first, second = (next(start for look, start, _ in runs if look.sameness == one) for one in named)
            return (question.key.number, question.key.tolerance) == (second - first, CLIP_S)
        case NumberKey():
            return (question.key.number, question.key.tolerance) == (len(mine), 0)
        case OrderKey():
            firsts = [
                film.index(next(look for look in film if look.clause in item.lower())) for item in question.key.items
            ]
            assert all(sum(look.clause in item.lower() for look in film) == 1 for item in question.key.items)
            return [firsts[number - 1] for number in question.key.order] == sorted(firsts)
        case OpenKey():
            place = next(at for at, (look, _, _) in enumerate(runs) if look.sameness == named[0])
            return question.key.text == f"{runs[place + 1][0].lighting}, {runs[place + 1][0].palette}"


def test_keys_are_true_on_films_with_known_cuts() -> None:
    seen: dict[str, int] = {}
    for seed in range(40):
        film = known_film(seed)
        for asked in written(film).questions:
            assert isinstance(asked.question, KeyedQuestion)
            assert true_of(film, asked.question), (seed, asked.question)
            seen[asked.question.kind] = seen.get(asked.question.kind, 0) + 1
    assert seen["open"] == seen["number"] == 40
    assert seen["span"] >= 20
    assert seen["order"] >= 10  # a film needs three moments that are like no other


@pytest.mark.parametrize("reply_format", ["text", "json_schema"])
def test_one_question_of_each_kind_passes_all_checks_and_becomes_a_record(reply_format: Any) -> None:
    film = next(film for film in map(known_film, range(99)) if len(written(film).questions) == len(KEYED_KINDS))
    row = written(film, reply_format=reply_format)
    assert [asked.id for asked in row.questions] == ["v_q0", "v_q1", "v_q2", "v_q3"]
    assert row.drops == ()

    async def finished() -> FinishedVideo:
        judged = row
        for check in (CheckStructure(), CheckGrounding(), CheckDuplicates(), ShuffleOptions()):
            (judged,) = check(judged)
        for calling in (CheckBlind(), CheckSolve(), CheckJudge(policy="drop")):
            (made,) = await calling(judged, demo)
            assert isinstance(made, QuestionedVideo)
            judged = made
        (done,) = await ReformatReasoning()(judged, demo, CheckProse())
        assert isinstance(done, FinishedVideo)
        return done

    done = asyncio.run(finished())
    assert done.drops == ()
    records = [data_row(record) for record in done.records]
    assert [record["kind"] for record in records] == ["span", "number", "open", "order"]
    for record, asked in zip(records, row.questions, strict=True):
        assert isinstance(asked.question, KeyedQuestion)
        assert record["failed_checks"] == [], record["checks"]
        assert (record["blind_rate"], record["solve_rate"]) == (0.0, 1.0)
        gold = asked.question.key_text
        assert record["messages"][1]["content"].endswith(f"\n\nAnswer: {gold}")
        assert record["messages"][0]["content"] == full_question(asked.question)
        for reply in (f"<answer>{gold}</answer>", rf"\boxed{{{gold}}}", record["messages"][1]["content"]):
            assert reward(reply, record) == pytest.approx(1.0)
        assert record["hops"] >= 1
        assert record["reach_s"] > 0
    span, number, _, order = records
    (first, *_) = span["typed_answer"]["spans"]
    shifted = Span(start_s=first["start_s"] + 5, end_s=first["end_s"] + 5)
    keys = [Span(**one) for one in span["typed_answer"]["spans"]]
    shifted_reply = f"{shifted.start_s:g} to {shifted.end_s:g}"
    assert reward(shifted_reply, span) == pytest.approx(temporal_iou([shifted], keys))
    assert reward(f"{number['typed_answer']['number'] + 1:g}", number) == 0.0
    assert reward(", ".join(map(str, reversed(order["typed_answer"]["order"]))), order) == 0.0
    assert re.search(r"^1\. ", order["full_question"], re.MULTILINE)


def test_without_a_clear_look_seconds_are_asked_for() -> None:
    film = [
        Look("dim", colours)
        for colours in (("red", "blue"), ("red",), ("green",), ("grey",), ("red", "blue"), ("red",))
    ]
    stage = AskQuestions(quota={}, kinds={"number": 1})
    (row,) = asyncio.run(stage(captioned(film), demo))
    assert isinstance(row, QuestionedVideo)
    (asked,) = row.questions
    assert isinstance(asked.question, KeyedQuestion)
    assert asked.question.question.startswith("How many seconds")
    assert true_of(film, asked.question)
    (solved,) = asyncio.run(CheckSolve()(row, demo))
    assert isinstance(solved, QuestionedVideo)
    assert solved.questions[0].verdicts[-1].score == 1.0


def test_a_questions_group_is_that_of_the_first_about_the_same_clips() -> None:
    groups = {asked.id: asked.group_id for seed in range(10) for asked in written(known_film(seed)).questions}
    assert all(group <= row_id for row_id, group in groups.items())


def test_choices_are_asked_as_before_and_kinds_come_after_them() -> None:
    film = known_film(1)
    alone = AskQuestions(quota={"temporal": 2})
    both = AskQuestions(quota={"temporal": 2}, kinds={"number": 1})
    row = captioned(film)
    assert both.request(row) == alone.request(row)
    (first,), (second,) = asyncio.run(alone(row, demo)), asyncio.run(both(row, demo))
    assert isinstance(first, QuestionedVideo)
    assert isinstance(second, QuestionedVideo)
    assert [one.question for one in second.questions][:2] == [one.question for one in first.questions]
    assert [one.id for one in second.questions] == ["v_q0", "v_q1", "v_q2"]
    assert both.plan(240) == ("temporal", "temporal", "counting")
