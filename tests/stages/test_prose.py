"""Rewritten reasoning keeps its facts, adds none, and leads to the key; if it does not, twice, it stays as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.demo.question_writer import write
from lvqa_ray.errors import ApiError, Bill, ConfigError, ContentFiltered, TimedOut, TruncatedReply
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.qa.fact_consistency import prose_fault
from lvqa_ray.qa.formats.answer_choice import read_choice
from lvqa_ray.qa.formats.conclusion import concluded, without_conclusion
from lvqa_ray.qa.formats.text_format import full_question
from lvqa_ray.qa.rewording import reason_text
from lvqa_ray.records import (
    LETTERS,
    AskedQuestion,
    Failure,
    FinishedVideo,
    Question,
    QuestionedVideo,
    Record,
    Trace,
    Usage,
    Verdict,
)
from lvqa_ray.records.table_rows import data_row
from lvqa_ray.stage import Chat
from lvqa_ray.stages.checks.prose import CheckProse
from lvqa_ray.stages.reformat import ReformatReasoning
from tests.demo import asking
from tests.demo.test_questions import long_film, merged
from tests.fakes import answers
from tests.fakes.endpoint import FakeEndpoint
from tests.stages.test_checks import SOUND, asked, film

TOLD: Question = replace(
    SOUND,
    steps=(
        replace(SOUND.steps[0], reasons=("At 4 s the woman, Alice, locks 3 dogs into the kitchen of the house",)),
        replace(SOUND.steps[1], reasons=("She comes out with the dog", "So the answer is C")),
    ),
)
GOOD = (
    "I watch the woman, Alice, lock three dogs into the kitchen of the house. When she comes out she has the dog with "
    "her. So the correct answer is C."
)


@pytest.mark.parametrize(
    ("prose", "fault"),
    [
        (GOOD, ""),
        (GOOD.replace("three", "3"), ""),
        (GOOD.replace("I watch", "At 4 seconds I watch"), ""),
        (GOOD.replace("So the correct answer is C.", "Option A and option B never happen, which leaves C."), ""),
        (GOOD.replace("I watch", "The captions say that I watch"), "it speaks of captions"),
        (GOOD.replace("I watch", "Going by the descriptions, I watch"), "it speaks of captions"),
        (f"- {GOOD}", "it is a list"),
        (f"Step 1: {GOOD}", "it is a list"),
        (GOOD.replace("is C", "is B"), "it concludes with option B, and the key is C"),
        (GOOD.replace("is C", "must be **option D**"), "it concludes with option D"),
        (GOOD.replace("three dogs", "three dogs, of 5 in all,"), "it adds the number 5"),
        (GOOD.replace("three", "seven"), "it adds the number 7"),
        (GOOD.replace("three ", "the "), "it leaves out the number 3"),
        (GOOD.replace("When she", "At 12 s she"), "it adds the number 12"),
        (GOOD.replace("the kitchen", "the London kitchen"), "it adds the name London"),
        (GOOD.replace(", Alice,", ""), "it leaves out the name Alice"),
    ],
)  # fmt: skip
def test_what_can_be_told_without_a_call(prose: str, fault: str) -> None:
    found = prose_fault(TOLD, prose)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


@pytest.mark.parametrize(
    ("told", "said", "fault"),
    [
        ("La mujer, Alicia, entra en la cocina", "Veo que la mujer, Alicia, entra en la cocina.", ""),
        (
            "La mujer, Alicia, entra en la cocina",
            "Veo que la mujer entra en la cocina.",
            "it leaves out the name Alicia",
        ),
        ("La femme entre dans la cuisine", "La femme, Élodie, entre dans la cuisine.", "it adds the name Élodie"),
        ("Die Frau geht in die Küche des Hauses", "Ich sehe, wie die Frau das Haus betritt.", ""),
        ("La mujer, Alicia, entra en la cocina", "The woman, Alice, is in the kitchen of the house.", ""),
        ("Женщина входит в кухню", "Я вижу, как Анна входит в кухню.", ""),
    ],
)
def test_names_are_told_where_capitals_make_them(told: str, said: str, fault: str) -> None:
    none = dict.fromkeys(LETTERS, "")
    step = replace(SOUND.steps[0], reasons=(told,))
    assert prose_fault(replace(SOUND, question=told, options=none, steps=(step,)), said) == fault


def test_the_letter_is_hidden_and_nothing_else() -> None:
    assert without_conclusion(GOOD) == GOOD.partition(" So the")[0]
    said = "The dog is let out, so the answer is C. Nobody sees it."
    assert without_conclusion(said) == "The dog is let out, so the answer is -. Nobody sees it."
    assert without_conclusion("Option A fails. Therefore, the correct answer is (B)!") == "Option A fails."


BODY = GOOD.partition(" So the")[0]


@pytest.mark.parametrize(
    "end",
    [
        "Therefore, the correct option is {}.",
        "Therefore, option {} is right.",
        "Therefore, option {} must be the correct choice.",
        "She wants the dog out, so {} is right.",
        "Thus {} is correct.",
        "The best choice is **{}**.",
        "The answer to the question is ({}).",
        "The answer, then, is {}.",
        "The final choice is therefore option {}.",
        "So it must be {}.",
        "That leaves only {}.",
        "\u6240\u4ee5\u7b54\u6848\u662f{}\u3002",
        "Damit ist Antwort {} richtig.",
        "Also ist {} richtig.",
        "Por eso la respuesta correcta es {}.",
        "La r\u00e9ponse est donc {}.",
        "La risposta giusta \u00e8 {}.",
        "\u041e\u0442\u0432\u0435\u0442: {}.",
    ],
)
def test_the_letter_is_read_and_hidden_in_all_usual_wordings(end: str) -> None:
    assert prose_fault(TOLD, f"{BODY} {end.format('C')}") == ""
    assert prose_fault(TOLD, f"{BODY} {end.format('B')}") == "it concludes with option B, and the key is C"
    for more in ("", " She is glad."):
        shown = without_conclusion(f"{BODY} {end.format('C')}{more}")
        assert shown.startswith(BODY)
        assert "C" not in shown.removeprefix(BODY)


def test_options_that_are_ruled_out_are_no_conclusion() -> None:
    said = "Option B is not right. B is wrong, so A cannot be. Team B is right behind. Antwort A ist nicht richtig."
    assert concluded(said) == []
    assert without_conclusion(f"{said} She is glad.") == f"{said} She is glad."


def test_whatever_letter_the_last_sentence_names_is_hidden() -> None:
    assert without_conclusion("A dog runs. I would go with B!") == "A dog runs. I would go with -!"
    assert without_conclusion("A dog is let out, as in C") == "A dog is let out, as in -"


def test_what_is_seen_before_a_conclusion_stays() -> None:
    said = "So she goes back into the house for the dog, and option C is right. She is glad."
    assert without_conclusion(said) == said.replace("C", "-")


def test_of_what_the_embedded_endpoint_writes_nothing_is_lost_and_the_key_follows() -> None:
    count = 0
    for seed in range(10):
        for question in write(merged(long_film(seed, clips=20)), 4):
            prose = asking.told("reformat", reason=reason_text(question), answer=question.answer)
            assert prose_fault(question, prose) == ""
            said = asking.told("prose", question=full_question(question), prose=without_conclusion(prose))
            assert read_choice(said, question).letter == question.answer, prose
            count += 1
    assert count >= 35


def reader(*proses: str, says: str = "C") -> Callable[[dict[str, Any]], str]:
    """A writer of these texts, one after the other, and a reader to whom all of them say the same."""
    left = iter(proses)
    return lambda body: f"ANSWER: {says}" if "What was thought" in answers.text_of(body) else next(left)


def told(chat: Chat, check: CheckProse) -> Record:
    row = QuestionedVideo(film=film(), questions=(asked(TOLD),))
    (done,) = asyncio.run(ReformatReasoning()(row, chat, check))
    assert isinstance(done, FinishedVideo)
    (record,) = done.records
    return record


def test_sound_prose_passes_and_says_what_that_cost(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = reader(GOOD)
    record = told(chat, CheckProse())
    (verdict,) = record.verdicts
    assert (record.reformatted_reasoning, verdict.check, verdict.passed, verdict.usage.calls) == (
        GOOD,
        "prose",
        True,
        1,
    )
    (question,) = (text for one in fake.requests if "What was thought" in (text := answers.text_of(one.body)))
    assert "correct answer is" not in question


def test_prose_with_a_fault_is_written_once_more(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = reader(GOOD.replace("three ", "the "), GOOD)
    record = told(chat, CheckProse())
    (verdict,) = record.verdicts
    assert (verdict.action, verdict.reason) == ("repaired", "it leaves out the number 3")
    assert record.reformatted_reasoning == GOOD
    assert record.usage["reformat"].calls == 2
    assert "That cannot be used: it leaves out the number 3." in answers.text_of(fake.requests[1].body)
    assert [(trace.text, trace.correct, trace.check) for trace in verdict.traces] == [
        (GOOD.replace("three ", "the "), False, "prose"),
        (GOOD, True, "prose"),
    ], "a pair for preference training"


@pytest.mark.parametrize(
    ("proses", "says", "reason"),
    [
        ((GOOD, GOOD + " So it is."), "B", "it leads to option B, and the key is C; after being rewritten once more"),
        ((GOOD, GOOD + " So it is."), "none", "it leads to no option"),
        ((GOOD, GOOD + " So it is."), "A or B", "it could not be checked: the reply names no option"),
        (("The captions say so.", "I cannot."), "C", "descriptions; after being rewritten once more: it leaves out"),
    ],
)  # fmt: skip
def test_what_fails_twice_stays_as_it_was_and_is_marked(
    chat: Chat, fake: FakeEndpoint, proses: tuple[str, ...], says: str, reason: str
) -> None:
    fake.answer = reader(*proses, says=says)
    record = told(chat, CheckProse())
    (verdict,) = record.verdicts
    assert (verdict.action, verdict.passed) == ("marked", False)
    assert reason in verdict.reason
    assert record.reformatted_reasoning == reason_text(TOLD)


@pytest.mark.parametrize("of", [TruncatedReply, ContentFiltered, TimedOut])
def test_a_second_version_that_never_comes_is_marked_and_one_that_may_come_is_waited_for(of: type[ApiError]) -> None:
    replies = iter([ChatReply(text=GOOD.replace("three ", "the "), model="m", usage=Usage(calls=1, input_tokens=7))])

    async def chat(request: ChatRequest) -> ChatReply:
        if reply := next(replies, None):
            return reply
        error = of("The reply is of no use.")
        error.bill = Bill(100, 20, None)
        raise error

    row = QuestionedVideo(film=film(), questions=(asked(TOLD),))
    (done,) = asyncio.run(ReformatReasoning()(row, chat, CheckProse()))
    if of.retryable:
        assert isinstance(done, Failure)
        assert done.retryable
        return
    assert isinstance(done, FinishedVideo)
    (record,) = done.records
    (verdict,) = record.verdicts
    assert (verdict.action, verdict.passed, done.drops) == ("marked", False, ())
    assert verdict.reason == "it leaves out the number 3; after being rewritten once more: The reply is of no use."
    assert record.reformatted_reasoning == reason_text(TOLD)
    assert (record.usage["reformat"].calls, record.usage["reformat"].input_tokens) == (2, 107)


SEEN = "I look at the pictures. At 4 s Alice locks 3 dogs up; later she has one dog with her."


def watched(*, letters_unclear: bool = False) -> AskedQuestion:
    trace = Trace(
        check="watch",
        attempt=0,
        question="q",
        media="frames",
        thoughts=SEEN,
        correct=True,
        letters_unclear=letters_unclear,
    )
    return replace(asked(TOLD), verdicts=(Verdict(check="watch", passed=True, score=0.5, traces=(trace,)),))


@pytest.mark.parametrize(
    ("source", "unclear", "holds", "lacks"),
    [
        ("steps", False, "Step 1: ", SEEN),
        ("trace", False, f"Start thinking.\n{SEEN}", "Step 1: "),
        ("both", False, SEEN, "nothing of it"),
        ("trace", True, "Step 1: ", SEEN),
    ],
)
def test_the_best_trace_can_be_rewritten(
    chat: Chat, fake: FakeEndpoint, source: Any, *, unclear: bool, holds: str, lacks: str
) -> None:
    fake.answer = reader(GOOD.replace("three ", "the "), GOOD)  # the trace has the number as well as the steps
    row = QuestionedVideo(film=film(), questions=(watched(letters_unclear=unclear),), note="so it is")
    (done,) = asyncio.run(ReformatReasoning(source=source)(row, chat, CheckProse()))
    assert isinstance(done, FinishedVideo)
    (record,) = done.records
    prompt = answers.text_of(fake.requests[0].body)
    assert holds in prompt
    assert lacks not in prompt
    assert record.prompt == prompt
    assert record.reformatted_reasoning == GOOD
    assert record.verdicts[-1].reason == "it leaves out the number 3", "it is compared with what was rewritten"
    assert ("from the steps" in record.note) is unclear
    assert record.note.startswith("so it is")
    assert data_row(record)["best_trace"] == (None if unclear else SEEN)


def test_rewriting_traces_needs_the_check_that_makes_them() -> None:
    at = {"base_url": "http://h/v1", "model": "m"}
    given: dict[str, Any] = {"videos": "v", "output": "o", "endpoints": {"vlm": at, "llm": at}}
    with pytest.raises(ConfigError, match=r"reformat.source=both rewrites traces of checks.watch, which is off"):
        Job.of(given | {"reformat": {"source": "both"}})
    watch = {"checks": {"watch": {"policy": "mark"}}}
    assert Job.of(given | watch | {"reformat": {"source": "both"}}).job_hash != Job.of(given | watch).job_hash


def test_the_policy_decides(chat: Chat, fake: FakeEndpoint) -> None:
    bad = GOOD.replace("is C", "is B")
    fake.answer = reader(bad)
    record = told(chat, CheckProse(policy="mark", implied=False))
    assert (record.reformatted_reasoning, record.verdicts[0].action) == (bad, "marked")
    assert told(chat, CheckProse(policy="off")).verdicts == ()
    assert len(fake.requests) == 1
