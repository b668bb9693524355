"""Several questions a video: what is asked for, what is taken of a reply, and how the records share its cost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from lvqa_ray.llm.messages import ChatRequest, Media, Text
from lvqa_ray.qa.formats.reply_format import JSON, TEXT
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.qa.question_plan import planned
from lvqa_ray.records import CaptionedVideo, Failure, FinishedVideo, QuestionedVideo, Usage
from lvqa_ray.records.question_columns import open_twin
from lvqa_ray.stage import Chat
from lvqa_ray.stages.ask import PICTURES, AskQuestions
from lvqa_ray.stages.checks.grounding import CheckGrounding
from lvqa_ray.stages.reformat import ReformatReasoning
from lvqa_ray.stages.sample import SampleFrames
from tests import media
from tests.fakes import answers
from tests.fakes.characters import Habit, Writer
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault, Status
from tests.stages.test_checks import SOUND, film, with_stem

Go = Callable[[Coroutine[Any, Any, Any]], Any]
GOLDEN = Path(__file__).parent / "golden"
FILM = film("v", [answers.caption([str(n)]) for n in range(6)])


@pytest.fixture
def go() -> Iterator[Go]:
    with asyncio.Runner() as runner:
        yield runner.run


def said(request: ChatRequest) -> str:
    return "\n".join(part.text for part in request.messages[-1].parts if isinstance(part, Text))


def short() -> CaptionedVideo:
    return film("v", ["A dog runs over a meadow.", "The dog sleeps under a tree."])


@pytest.mark.parametrize(
    ("name", "stage", "kind"),
    [
        ("several", AskQuestions(), TEXT),
        ("several_json", AskQuestions(), JSON),
        ("one", AskQuestions(quota={"goal": 1}), TEXT),
        ("one_json", AskQuestions(quota={"goal": 1}), JSON),
        ("own_german", AskQuestions(quota={"weather": 2}, categories={"weather": "the sky"}, language="German"), TEXT),
    ],
)
def test_the_prompt_is_the_one_that_was_looked_at(name: str, stage: AskQuestions, kind: Any) -> None:
    """Golden renderings: who changes a prompt sees here what is sent, and counts the version up."""
    assert said(stage.request(short(), form=kind)) + "\n" == (GOLDEN / f"ask_{name}.txt").read_text()
    assert stage.version == "ask/2"


def test_the_reformat_prompt_is_the_one_that_was_looked_at() -> None:
    from tests.stages.test_checks import asked

    assert ReformatReasoning().prompt_for(asked(), "v") + "\n" == (GOLDEN / "reformat.txt").read_text()
    assert ReformatReasoning.version == "reformat/2"


@pytest.mark.parametrize(
    ("quota", "minutes", "per_minute", "plan"),
    [
        ({"temporal": 1, "goal": 1}, 60, None, ["temporal", "goal"]),
        ({"temporal": 3, "goal": 1, "plot": 0}, 1, None, ["temporal", "temporal", "temporal", "goal"]),
        ({"temporal": 1, "goal": 1}, 2.4, 1.0, ["temporal", "goal"]),
        ({"temporal": 2, "goal": 1}, 3, 2.0, ["temporal", "temporal", "goal"] * 2),
        ({"temporal": 1}, 0.01, 1.0, ["temporal"]),
        ({"temporal": 1}, 6000, 1.0, ["temporal"] * 40),
    ],
)
def test_the_quota_is_kept(quota: dict[str, int], minutes: float, per_minute: float | None, plan: list[str]) -> None:
    found = planned(quota, minutes * 60, per_minute, 40)
    assert sorted(found) == sorted(plan)
    assert set(found[: len(set(plan))]) <= set(quota)


def test_the_order_in_which_a_job_names_things_changes_no_prompt() -> None:
    """It is not in the hash of a job either, so that two jobs of one hash ask the same."""
    quota = {"own": 1, "another": 1, "plot": 2, "goal": 1}
    told = {"own": "what is owned", "another": "what is other"}
    one, turned = (
        AskQuestions(quota=quota, categories=told),
        AskQuestions(quota=dict(reversed(quota.items())), categories=dict(reversed(told.items()))),
    )
    assert one.plan(60) == turned.plan(60) == ("plot", "goal", "plot", "another", "own")
    assert one.request(short()) == turned.request(short())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"quota": {"weather": 1}}, "there is no category weather"),
        ({"quota": {"goal": -1}}, "0 or more"),
        ({"categories": {"Sky": "clouds", "sky": "birds"}, "quota": {"sky": 1}}, "Sky and sky differ in capitals only"),
        ({"categories": {"Plot": "how it ends"}, "quota": {"Plot": 1}}, "plot and Plot differ in capitals only"),
        ({"prompt": "{captions}"}, r"must hold \{questions\}"),
        ({"prompt": "{captions} {questions}", "language": "German"}, "language is set"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_it_is_paid(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        AskQuestions(**given)


@pytest.mark.parametrize("reply_format", ["text", "json_schema"])
def test_several_questions_come_in_one_reply(go: Go, chat: Chat, fake: FakeEndpoint, reply_format: Any) -> None:
    (row,) = go(AskQuestions(reply_format=reply_format)(FILM, chat))
    assert isinstance(row, QuestionedVideo)
    assert [one.id for one in row.questions] == ["v_q0", "v_q1", "v_q2", "v_q3"]
    assert [one.category for one in row.questions] == ["temporal", "goal", "spatial", "plot"]
    assert all(parse_question(one.reasoning) == one.question for one in row.questions)
    assert (len(fake.requests), row.drops, row.usage.calls) == (1, (), 1)


def test_more_than_fit_one_reply_are_asked_for_in_turns_that_know_of_each_other(
    go: Go, chat: Chat, fake: FakeEndpoint
) -> None:
    (row,) = go(AskQuestions(per_call=3)(FILM, chat))
    assert [one.id for one in row.questions] == ["v_q0", "v_q1", "v_q2", "v_q3"]
    assert len(fake.requests) == 2
    second = answers.text_of(fake.requests[1].body)
    assert all(f"- {one.question.question}" in second for one in row.questions[:3])
    assert len({one.question.question for one in row.questions}) == 4


def test_an_endpoint_without_schemas_writes_several_as_text(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.fail_next(Status(400))
    (row,) = go(AskQuestions(reply_format="json_schema", per_call=2)(FILM, chat))
    assert (len(row.questions), row.note) == (4, "the endpoint takes no JSON schema: asked for text")
    assert ["response_format" in request.body for request in fake.requests] == [True, False, False]


def test_one_question_that_cannot_be_read_costs_no_other(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    """It is sent back once; then the readable ones are taken, and the drop holds the reply and the reason."""
    fake.answer = Writer({Habit.FORGETS_AN_OPTION: 0.3})
    (row,) = go(AskQuestions()(FILM, chat))
    spoiled = {f"v_q{number}" for _, number in fake.answer.spoiled}
    assert 0 < len(spoiled) < 4
    assert {drop.id for drop in row.drops} == spoiled
    assert {one.id for one in row.questions} | spoiled == {f"v_q{number}" for number in range(4)}
    assert {(drop.check, drop.kind, "QUESTION:" in drop.raw) for drop in row.drops} == {("ask", "missing_option", True)}
    assert len(fake.requests) == 2
    assert "OPTIONS has no option" in answers.text_of(fake.requests[1].body)


def test_questions_that_are_missing_are_counted_and_those_too_many_left_out(
    go: Go, chat: Chat, fake: FakeEndpoint
) -> None:
    fake.answer = lambda body: answers.questions(answers.text_of(body), 3)
    (row,) = go(AskQuestions(reasks=0)(FILM, chat))
    assert [(drop.id, drop.kind, drop.reason) for drop in row.drops] == [
        ("v_q3", "no_question", "The reply holds 3 of 4 questions.")
    ]
    fake.answer = lambda body: answers.questions(answers.text_of(body), 6)
    (row,) = go(AskQuestions(system="Hm.")(FILM, chat))
    assert (len(row.questions), row.drops) == (4, ())


def test_a_reply_without_any_question_is_asked_for_anew_and_then_a_failure(
    go: Go, chat: Chat, fake: FakeEndpoint
) -> None:
    fake.answer = lambda _: "I'm sorry, but I can't help with that."
    (row,) = go(AskQuestions()(FILM, chat))
    assert isinstance(row, Failure)
    assert (row.kind, row.attempts, row.raw) == ("refusal", 4, "I'm sorry, but I can't help with that.")
    assert (row.usage.calls, row.usage.input_tokens) == (4, fake.tokens_in)


def test_each_question_becomes_a_record_and_bears_its_part_of_the_cost(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (row,) = go(AskQuestions()(FILM, chat))
    (done,) = go(ReformatReasoning()(row, chat))
    assert isinstance(done, FinishedVideo)
    assert [record.id for record in done.records] == ["v_q0", "v_q1", "v_q2", "v_q3"]
    assert all(record.question.question in record.prompt for record in done.records)
    parts = sum((record.usage["ask"] for record in done.records), Usage())
    assert (parts.calls, parts.input_tokens, parts.output_tokens) == (
        1,
        row.usage.input_tokens,
        row.usage.output_tokens,
    )
    assert max(record.usage["ask"].input_tokens for record in done.records) <= row.usage.input_tokens // 4 + 4


def test_a_rewriting_that_never_comes_costs_its_question_alone(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    (row,) = go(AskQuestions()(FILM, chat))
    fake.fail_next(Fault.CONTENT_FILTER)
    (done,) = go(ReformatReasoning()(row, chat))
    assert (len(done.records), done.failure) == (3, None)
    assert [(drop.check, drop.kind) for drop in done.drops] == [("reformat", "content_filtered")]
    assert done.drops[0].question is not None
    fake.fail_next(Fault.SERVER_ERROR, times=99)
    (waits,) = go(ReformatReasoning(system="Hm.")(row, chat))
    assert isinstance(waits, Failure)
    assert waits.retryable, "a rerun may finish the video with all of its questions"
    assert waits.usage == row.usage


def test_a_video_without_a_question_left_is_a_failure_of_its_own_kind(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = Writer({Habit.SPANS_OUTSIDE: 1.0})
    (row,) = go(AskQuestions()(FILM, chat))
    (empty,) = CheckGrounding()(row)
    (done,) = go(ReformatReasoning()(empty, chat))
    assert (done.records, len(done.drops)) == ((), 4)
    assert done.failure is not None
    assert (done.failure.kind, done.failure.retryable) == ("no_question_left", False)
    assert done.failure.usage == row.usage != Usage()
    assert "none of 4 questions is left: 4 by grounding" in done.failure.message


@pytest.mark.parametrize(
    ("said", "categories", "noted"),
    [
        (("**Category:** Counting", "CATEGORY: blabla"), ["temporal", "goal", "spatial", "plot"], True),
        (("CATEGORY: Temporal", "CATEGORY: plot"), ["temporal", "temporal", "spatial", "plot"], False),
    ],
)
def test_a_reply_may_name_requested_categories_and_no_others(
    go: Go, chat: Chat, fake: FakeEndpoint, said: tuple[str, str], categories: list[str], *, noted: bool
) -> None:
    """A known category that the quota does not name is no category of a record, and what was requested is kept."""

    def other(body: dict[str, Any]) -> str:
        return answers.answer(body).replace("CATEGORY: goal", said[0]).replace("CATEGORY: plot", said[1])

    fake.answer = other
    (row,) = go(AskQuestions()(FILM, chat))
    assert [one.category for one in row.questions] == categories
    assert [one.requested for one in row.questions] == ["temporal", "goal", "spatial", "plot"] == [*row.requested]
    assert bool(row.note) is noted
    assert not noted or "blabla" in row.note


@pytest.mark.parametrize(
    ("said", "categories"),
    [
        (["plot"], ["plot", "goal", "temporal"]),
        (["Goal", "plot"], ["goal", "plot", "temporal"]),
        ([None], ["temporal", "goal", "plot"]),
        ([None, "temporal"], ["goal", "temporal", "plot"]),
        ([None, None, None], ["temporal", "goal", "plot"]),
        (["plot", "goal", "temporal"], ["plot", "goal", "temporal"]),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_what_was_written_is_never_what_is_missing(
    chat: Chat, fake: FakeEndpoint, said: list[str | None], categories: list[str], *, own: bool
) -> None:
    """Also where a category of one's own has a capital."""
    named = {"plot": "Cooking"} if own else {}

    def some(body: dict[str, Any]) -> str:
        blocks = answers.questions(answers.text_of(body), len(said)).split("CATEGORY: ")[1:]
        texts = [block.partition("\n")[2] for block in blocks]
        return "\n\n".join(
            f"CATEGORY: {named.get(name, name)}\n{text}" if name else text
            for name, text in zip(said, texts, strict=True)
        )

    fake.answer = some
    quota = dict.fromkeys([named.get(name, name) for name in ("temporal", "goal", "plot")], 1)
    stage = AskQuestions(quota=quota, categories={"Cooking": "what is cooked"}, reasks=0)
    (row,) = asyncio.run(stage(FILM, chat))
    assert isinstance(row, QuestionedVideo)
    found = [(one.id, one.category) for one in row.questions] + [(drop.id, drop.category) for drop in row.drops]
    assert found == [(f"v_q{place}", named.get(name, name)) for place, name in enumerate(categories)]
    assert len(row.questions) == len(said)


def test_json_of_several_questions_is_held_to_the_strict_schema(go: Go, chat: Chat, fake: FakeEndpoint) -> None:
    go(AskQuestions(reply_format="json_schema")(FILM, chat))
    held = fake.requests[0].body["response_format"]["json_schema"]
    assert (held["name"], held["strict"]) == ("questions", True)
    assert '"additionalProperties": false' in json.dumps(held["schema"])
    assert "category" in held["schema"]["$defs"]["Labelled"]["required"]


def test_a_writer_that_sees_is_shown_pictures_of_the_whole_film(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", seconds=6)
    at = replace(short(), video=replace(short().video, uri=str(path)), info=replace(short().info, duration_sec=6.0))
    stage = AskQuestions(quota={"goal": 1}, frames=3)
    (shown,) = stage.show(at, SampleFrames(count=3, short_side=64))
    assert isinstance(shown, CaptionedVideo)
    request = stage.request(shown)
    assert [part.mime for part in request.messages[-1].parts if isinstance(part, Media)] == ["image/jpeg"] * 3
    assert said(request).endswith(f"{PICTURES}\nFrame at 1.00 s:\nFrame at 3.00 s:\nFrame at 5.00 s:")
    assert not [part for part in stage.request(short()).messages[-1].parts if isinstance(part, Media)]
    (failed,) = stage.show(replace(at, video=replace(at.video, uri="/nowhere.mp4")), SampleFrames(count=3))
    assert isinstance(failed, Failure)
    assert (failed.stage, failed.kind, failed.clip_id, failed.retryable) == ("ask", "missing_file", "", True)


@pytest.mark.parametrize(
    ("stem", "alone"),
    [
        ("Why does she go back into the house?", True),
        ("How many of the guests are left?", True),
        ("Which of these is seen first?", False),
        ("Which of the following happens last?", False),
        ("What does she not do before she leaves?", False),
        ("Welche der Antworten stimmt?", False),
        ("Was tut sie zuletzt?", True),
        ("以下哪一项最先出现", False),
    ],
)
def test_a_question_that_needs_no_options_has_an_open_twin(stem: str, alone: bool) -> None:
    twin = open_twin(with_stem(stem))
    assert twin == {
        "open_question": stem if alone else None,
        "open_answer": SOUND.options["C"] if alone else None,
    }
