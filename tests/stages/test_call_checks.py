"""Questions that can be guessed and keys that are wrong, planted at a known rate, against a solver of known skill."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Checks
from lvqa_ray.errors import ApiError, Bill, TimedOut, TruncatedReply
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text
from lvqa_ray.qa.formats.answer_choice import read_choice
from lvqa_ray.qa.formats.text_format import parse_question, render_question
from lvqa_ray.qa.repeated_answers import rotate_options
from lvqa_ray.records import AskedQuestion, Clip, Drop, Failure, Frame, QuestionedVideo, Usage, Verdict
from lvqa_ray.stage import CallCheck, Chat, Prompted
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.evidence import CheckEvidence
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.prose import CheckProse
from lvqa_ray.stages.checks.rewrite import RewriteQuestion
from lvqa_ray.stages.checks.solve import CheckSolve
from tests.fakes import answers
from tests.fakes.characters import Solver
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.faults import Fault, Status
from tests.stages.test_checks import SOUND, asked, film, with_stem

ROWS = tuple(asked(with_stem(f"Why is it that the door number {n} stays shut?"), f"v_q{n}") for n in range(20))
ROW = QuestionedVideo(film=film(), questions=ROWS)


def key(row: AskedQuestion) -> str:
    return row.choice.options[row.choice.answer]


def test_what_can_be_guessed_is_caught_and_a_liking_for_a_letter_gains_nothing(chat: Chat, fake: FakeEndpoint) -> None:
    guessable = ROWS[::3]
    fake.answer = Solver(blind={row.question.question: key(row) for row in guessable}, seeing={}, letter="C")
    (row,) = asyncio.run(CheckBlind(tries=5, threshold=0.6)(ROW, chat))
    assert isinstance(row, QuestionedVideo)
    assert {drop.id for drop in row.drops} == {one.id for one in guessable}
    assert {drop.reason for drop in row.drops} == {
        "5 of 5 guesses without the video are right; one says: Let me see. B. comes to mind."
    }
    assert {one.verdicts[-1].score for one in row.questions} <= {0.2, 0.4}
    assert len(fake.requests) == 5 * len(ROWS)
    assert row.questions[0].verdicts[-1].usage.calls == 5
    assert not any("a dog runs" in str(request.body) for request in fake.requests), "it sees no captions"


def test_a_wrong_key_is_caught_and_the_share_of_right_answers_is_kept(chat: Chat, fake: FakeEndpoint) -> None:
    wrong = ROWS[1::4]
    seen = {row.question.question: key(row) for row in ROWS}
    seen |= {row.question.question: row.choice.options["A"] for row in wrong}
    fake.answer = Solver(blind={}, seeing=seen)
    (row,) = asyncio.run(CheckSolve()(ROW, chat))
    assert isinstance(row, QuestionedVideo)
    assert {drop.id for drop in row.drops} == {one.id for one in wrong}
    assert [one.verdicts[-1].score for one in row.questions] == [1.0] * (len(ROWS) - len(wrong))
    assert SOUND.steps[0].reasons[0] not in str(fake.requests[0].body), "it sees no reasoning"
    (easy,) = asyncio.run(CheckSolve(policy="mark", most=0.9)(ROW, chat))
    assert isinstance(easy, QuestionedVideo)
    assert all(one.verdicts[-1].action == "marked" for one in easy.questions)
    assert len(fake.requests) == 3 * len(ROWS), "the second time all answers are in the journal"


def test_a_call_that_may_succeed_waits_and_one_that_never_will_is_no_pass(chat: Chat, fake: FakeEndpoint) -> None:
    one = replace(ROW, questions=ROWS[:1])
    fake.fail_next(Fault.UNAVAILABLE, times=20)
    (waits,) = asyncio.run(CheckBlind()(one, chat))
    assert isinstance(waits, Failure)
    assert (waits.stage, waits.retryable) == ("blind", True)


def test_what_was_paid_before_a_call_failed_for_good_is_on_the_verdict(chat: Chat, fake: FakeEndpoint) -> None:
    check = CheckBlind(policy="mark")

    async def both() -> list[QuestionedVideo | Failure]:
        await check(replace(ROW, questions=ROWS[1:2]), chat)  # a 400 is final only for a stage that has had an answer
        fake.fail_next(Status(400), times=1)
        return await check(replace(ROW, questions=ROWS[:1]), chat)

    (row,) = asyncio.run(both())
    assert isinstance(row, QuestionedVideo)
    (verdict,) = row.questions[0].verdicts
    assert verdict.reason.startswith("it could not be checked: ")
    assert (verdict.usage.calls, verdict.usage.input_tokens > 0) == (3, True)


def rewriter(*replies: str, guessed: AskedQuestion) -> Callable[[dict[str, Any]], str | None]:
    """A writer who writes anew as told, and a solver who guesses the key of the first version, always."""
    solver = Solver(blind={guessed.question.question: key(guessed)}, seeing={})
    left = iter(replies)

    def answer(body: dict[str, Any]) -> str | None:
        return next(left) if "It cannot be used as it is" in answers.text_of(body) else solver(body)

    return answer


def repaired(row: QuestionedVideo, chat: Chat) -> QuestionedVideo:
    mend = RewriteQuestion().with_checks(Checks().wanted)
    (made,) = asyncio.run(CheckBlind(policy="repair")(row, chat, mend))
    assert isinstance(made, QuestionedVideo)
    return made


BETTER = render_question(with_stem("What does she fetch from the house when she goes back?"))
WRITTEN = replace(ROWS[0], reasoning=render_question(ROWS[0].choice))
TWO = replace(ROW, questions=(WRITTEN, ROWS[1]))


def test_what_can_be_guessed_goes_back_to_its_writer_with_the_reason(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = rewriter(BETTER, guessed=WRITTEN)
    row = repaired(TWO, chat)
    assert row.drops == ()
    new, other = row.questions
    assert (new.id, new.question.question) == ("v_q0", "What does she fetch from the house when she goes back?")
    *free, last = new.verdicts
    assert [one.check for one in free] == ["structure", "grounding", "duplicates", "shuffle", "hops"]
    assert (last.check, last.passed, last.action, last.score) == ("blind", False, "repaired", 0.25)
    assert last.usage.calls == 4 + 1 + 4, "guesses, the new version, guesses"
    sent = next(text for body in fake.requests if "It cannot be used" in (text := answers.text_of(body.body)))
    assert "4 of 4 guesses without the video are right; one says: Let me see. B. comes to mind." in sent
    assert WRITTEN.reasoning in sent
    assert other.verdicts[-1].passed
    assert new.reasoning == render_question(new.choice)


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ((BETTER.replace("A. ", "A. All of the above ", 1), "I would rather not."), "the reply cannot be read: "),
        ((WRITTEN.reasoning, BETTER.replace("[0 to 10]", "[700 to 710]")), "step 1, 700 to 710, is outside"),
        ((render_question(ROWS[1].choice), WRITTEN.reasoning), "the reply is the same question"),
        ((render_question(ROWS[1].choice),) * 2, "it repeats v_q1"),
    ],
)
def test_a_question_that_stays_useless_is_dropped_and_says_why(
    chat: Chat, fake: FakeEndpoint, replies: tuple[str, ...], reason: str
) -> None:
    fake.answer = rewriter(*replies, guessed=WRITTEN)
    row = repaired(TWO, chat)
    (drop,) = row.drops
    assert (drop.check, drop.question) == ("blind", WRITTEN.question)
    assert "guesses without the video are right" in drop.reason
    assert f"after being rewritten: {reason}" in drop.reason
    assert drop.verdicts[-1].usage.calls == 4 + 2
    assert [one.id for one in row.questions] == ["v_q1"]


def test_the_second_round_may_succeed(chat: Chat, fake: FakeEndpoint) -> None:
    fake.answer = rewriter("I would rather not.", BETTER, guessed=WRITTEN)
    row = repaired(TWO, chat)
    assert [one.id for one in row.questions] == ["v_q0", "v_q1"]


@pytest.mark.parametrize("useless", ["I would rather not.", WRITTEN.reasoning])
def test_each_round_is_told_what_is_wrong_with_the_question_that_it_shows(
    chat: Chat, fake: FakeEndpoint, useless: str
) -> None:
    fake.answer = rewriter(useless, BETTER, guessed=WRITTEN)
    row = repaired(TWO, chat)
    assert [one.id for one in row.questions] == ["v_q0", "v_q1"]
    told = [text for one in fake.requests if "It cannot be used" in (text := answers.text_of(one.body))]
    assert len(told) == 2
    assert all("used as it is: 4 of 4 guesses without the video are right" in text for text in told)


def judged(questions: dict[str, Verdict | ApiError]) -> CallCheck:
    """A check that has made up its mind."""

    class Sure(CheckBlind):
        async def judge(self, asked: AskedQuestion, row: QuestionedVideo, chat: Chat) -> Verdict:  # noqa: ARG002 - as it is called
            found = questions[asked.question.question]
            if isinstance(found, ApiError):
                raise found
            return found

    return Sure(policy="repair")


@pytest.mark.parametrize("of", [TruncatedReply, TimedOut])
def test_a_new_version_that_cannot_be_judged_bears_the_cost_of_all_before_it(of: type[ApiError]) -> None:
    error = of("It was cut off.")
    error.bill = Bill(1000, 10, 0.5)
    cost = Usage(calls=1, input_tokens=10, cost_usd=0.25)
    first = Verdict(check="blind", passed=False, reason="it can be guessed", score=0.5, usage=cost)
    told: list[str] = []

    async def chat(request: ChatRequest) -> ChatReply:
        told.append("".join(part.text for part in request.messages[-1].parts if isinstance(part, Text)))
        return ChatReply(text=BETTER, model="m", usage=Usage(calls=1, input_tokens=100, cost_usd=0.25))

    check = judged({WRITTEN.question.question: first, parse_question(BETTER).question: error})
    (row,) = asyncio.run(check(replace(ROW, questions=(WRITTEN,)), chat, RewriteQuestion().with_checks(())))
    if of.retryable:
        assert isinstance(row, Failure)
        return
    assert isinstance(row, QuestionedVideo)
    (drop,) = row.drops
    assert drop.reason == "it can be guessed; after being rewritten: it could not be checked: It was cut off."
    assert drop.verdicts[-1].usage == Usage(calls=5, input_tokens=2210, output_tokens=20, cost_usd=1.75)
    assert all(f"{WRITTEN.reasoning}\n\nIt cannot be used as it is: it can be guessed" in text for text in told)


CALLING: list[Prompted] = [CheckBlind(), CheckSolve(), RewriteQuestion(), CheckJudge(), CheckEvidence(), CheckProse()]


@pytest.mark.parametrize("stage", CALLING, ids=lambda stage: stage.name)
def test_the_prompt_is_the_one_that_was_looked_at(stage: Any) -> None:
    """Golden renderings: who changes a prompt sees here what is sent, and counts the version up."""
    sent: list[str] = []

    async def chat(request: ChatRequest) -> ChatReply:
        said = "".join(part.text for part in request.messages[-1].parts if isinstance(part, Text))
        sent.append(f"{request.version}\n\n{said}\n")
        return ChatReply(text="ANSWER: A", model="m", usage=Usage())

    if isinstance(stage, RewriteQuestion):
        asyncio.run(stage.written(WRITTEN, ROW, "it can be guessed", 0, chat))
    elif isinstance(stage, CheckProse):
        asyncio.run(stage.fault(WRITTEN, "So she goes back for the dog. The answer is C.", "v", chat))
    else:
        (shown,) = CheckEvidence().show(replace(ROW, questions=(WRITTEN,)), seen)
        asyncio.run(stage(shown, chat))
    assert sent[0] == (GOLDEN / f"{stage.name}.txt").read_text()


def seen(clip: Clip) -> Iterator[Clip]:
    yield replace(clip, frames=tuple(Frame(time_s=clip.span.start_s + n, jpeg=b"j") for n in range(2)))


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize(
    ("check", "skill", "kept"),
    [
        (CheckBlind(), 0.25, 1 - 13 / 256),  # a guesser finds three of four keys by luck
        (CheckBlind(), 0.9, 1 - 0.9477),
        (CheckSolve(), 0.9, 0.972),  # two of three
        (CheckSolve(), 0.25, 0.15625),  # the price of a wrong key: a guesser confirms it by luck
    ],
)
def test_a_solver_of_known_skill_keeps_the_share_that_chance_says(check: Any, skill: float, kept: float) -> None:
    draw = random.Random(5)  # noqa: S311 - chance that can be repeated is the point
    many = tuple(asked(SOUND, f"v_q{n}") for n in range(400))

    async def chat(request: ChatRequest) -> ChatReply:
        text = "".join(part.text for part in request.messages[-1].parts if isinstance(part, Text))
        letter = re.findall(rf"^([A-D])\. {re.escape(SOUND.options['C'])}$", text, re.MULTILINE)[0]
        wrong = draw.choice([other for other in "ABCD" if other != letter])
        return ChatReply(text=f"ANSWER: {letter if draw.random() < skill else wrong}", model="m", usage=Usage())

    (row,) = asyncio.run(check(QuestionedVideo(film=film(), questions=many), chat))
    assert len(row.questions) / len(many) == pytest.approx(kept, abs=3 * (kept * (1 - kept) / len(many)) ** 0.5)


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
        ("ANSWER: B\n\nThis is because the dog, and not A, is seen.", "B"),
        ("ANSWER: B (low confidence)", "B"),
        ("ANSWER: Option B, blue car", "B"),
        ("ANSWER: <B>", "B"),
        ("ANSWER: \\boxed{B}", "B"),
        ("ANSWER: $\\boxed{\\text{B}}$", "B"),
        ("**ANSWER: B**", "B"),
        ("**ANSWER:** **B** - it is likely", "B"),
        ("The dog is let out. ANSWER: B", "B"),
        ("ANSWER: A is the most likely one", "A"),
        ("It has to do with the dog.\n\nSo the answer is **B**.", "B"),
        ("ANSWER: A guess would be wrong", None),
        ("ANSWER: B, not A", None),
        ("ANSWER: not B", None),
        ("ANSWER: B or the dog", None),
        (f"ANSWER: B, that is: {SOUND.options['C']}", None),
        ("ANSWER: none", None),
        ("ANSWER: A or B", None),
        ("I cannot say.", None),
        ("", None),
    ],
)
def test_the_option_that_a_reply_names(reply: str, letter: str | None) -> None:
    assert read_choice(reply, SOUND).letter == letter


@pytest.mark.parametrize(
    ("reply", "read"),
    [
        ("ANSWER: none", True),
        ("ANSWER: None of them follows.", True),
        ("**ANSWER:** cannot be determined", True),
        ("I cannot say.", True),
        ("Without the video, I can't tell which one is right.", True),
        ("ANSWER: C", True),
        ("ANSWER: A or C", False),
        ("ANSWER: neither A nor C", False),
        ("ANSWER: not C", False),
        ("She goes back and", False),
        ("", False),
        ("<think>ANSWER: C", False),
    ],
)
def test_who_chooses_none_was_understood_and_who_says_two_was_not(reply: str, read: bool) -> None:
    assert read_choice(reply, SOUND).read is read


@pytest.mark.parametrize("check", [CheckBlind(), CheckSolve(tries=4), CheckBlind(policy="repair")])
@pytest.mark.parametrize(
    ("replies", "score"),
    [
        (("ANSWER: A or B",) * 4, None),
        (("ANSWER: C", "hm", "hm", "hm"), None),
        (("ANSWER: C", "ANSWER: none", "hm", "hm"), 0.5),
        (("ANSWER: none",) * 4, 0.0),
    ],
)
def test_replies_that_cannot_be_read_are_no_wrong_guesses(check: Any, replies: tuple[str, ...], score: float) -> None:
    left = iter(replies)

    async def chat(request: ChatRequest) -> ChatReply:
        del request
        return ChatReply(text=next(left), model="m", usage=Usage(calls=1))

    mend = RewriteQuestion().with_checks(Checks().wanted)  # would ask for a fifth reply
    (row,) = asyncio.run(check(replace(ROW, questions=ROWS[:1]), chat, mend))
    left_over: list[AskedQuestion | Drop] = [*row.questions, *row.drops]
    (one,) = left_over
    verdict = one.verdicts[-1]
    assert (verdict.score, verdict.usage.calls) == (score, 4)
    assert verdict.reason.startswith("it could not be checked: only ") == (score is None)
    assert bool(row.drops) == (score is None or isinstance(check, CheckSolve)), "as where a call fails"


def test_four_turns_bring_the_key_to_every_place() -> None:
    assert sorted(rotate_options(SOUND, n).answer for n in range(4)) == ["A", "B", "C", "D"]
    for n in range(4):
        assert rotate_options(SOUND, n).options[rotate_options(SOUND, n).answer] == SOUND.options["C"]
