"""Six hours of film and a model of 32k tokens: nothing is cut off, and nothing too long is sent."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from lvqa_ray.demo import digest
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text
from lvqa_ray.qa.context_windows import PARTS, WHOLE, captions_for_batch, captions_for_question, tokens, windows
from lvqa_ray.records import CaptionedVideo, Failure, QuestionedVideo, Usage
from lvqa_ray.stage import Chat
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.checks.solve import CheckSolve
from lvqa_ray.stages.summarize import SummarizeVideo
from tests.fakes import answers
from tests.fakes.endpoint import FakeEndpoint
from tests.stages.test_checks import SOUND, film

HOURS_6 = film("six", [f"{answers.caption([str(n)])[:-1]}, while {'somebody says a word or two, ' * 14}of clip {n}."
                       for n in range(2160)])  # fmt: skip
CONTEXT = 32_000
SUMMARIZE = SummarizeVideo(budget=24_000)
ASK = AskQuestions(quota=dict.fromkeys(("temporal", "goal", "spatial", "plot", "causal", "counting"), 2), per_call=4)


def sent(fake: FakeEndpoint, mark: str) -> list[str]:
    return [text for one in fake.requests if mark in (text := answers.text_of(one.body))]


async def asked_of(chat: Chat) -> tuple[CaptionedVideo, QuestionedVideo, QuestionedVideo]:
    (told,) = await SUMMARIZE(HOURS_6, chat)
    assert isinstance(told, CaptionedVideo)
    (written,) = await ASK(told, chat)
    assert isinstance(written, QuestionedVideo)
    (solved,) = await CheckSolve(policy="drop", tries=1)(written, chat)
    assert isinstance(solved, QuestionedVideo)
    return told, written, solved


def test_six_hours_fit_into_a_model_of_32k(chat: Chat, fake: FakeEndpoint) -> None:
    fake.context = CONTEXT
    assert tokens(HOURS_6.captions) > 8 * CONTEXT
    told, written, solved = asyncio.run(asked_of(chat))
    assert max(answers.tokens_in(one.body) for one in fake.requests) < SUMMARIZE.budget
    assert fake.counts == {"ok": len(fake.requests)}, "nothing was too long"

    summed = "\n".join(sent(fake, "Sum them up"))
    lines = HOURS_6.captions.splitlines()
    assert all(summed.count(f"{line}\n") == 1 for line in lines), "every caption is summed up, once"
    spans = [tuple(map(int, span)) for span in re.findall(r"^From (\d+) to (\d+), ", told.overview, re.MULTILINE)]
    assert (spans[0][0], spans[-1][1]) == (0, 21600)
    assert all(one[1] == two[0] for one, two in pairwise(spans)), "without a gap"
    assert tokens(told.overview) <= SUMMARIZE.budget // 4

    asks = sent(fake, "hard multiple-choice questions")
    assert len(asks) == 3
    shown = [set(re.findall(r"of clip (\d+)\.", text)) for text in asks]
    assert all(told.overview in text for text in asks)
    assert all(shown)
    assert not shown[0] & shown[1], "each set of questions is about other windows"
    assert len(written.questions) == 12
    assert told.usage.calls + len(asks) == written.usage.calls, "what the overview cost is the questions' cost"

    solves = sent(fake, 'the line "ANSWER: "')
    assert len(solves) == 12
    for text, one in zip(solves, written.questions, strict=True):
        assert told.overview in text
        for start in [int(step.start_s) for step in one.question.steps if step.end_s - step.start_s <= 10]:
            assert re.search(rf"^From {start} to ", text.partition(PARTS)[2], re.MULTILINE), "with what it cites"
    assert len(solved.questions) + len(solved.drops) == 12


def test_what_is_cited_is_shown_and_what_was_written_from_the_overview_is_told_by_it() -> None:
    told = replace(HOURS_6, overview="From 0 to 21600, much happens", budget=24_000)
    near = [replace(SOUND.steps[0], start_s=9000.0, end_s=9010.0)]
    text = captions_for_question(told, near)
    assert text.startswith(WHOLE)
    assert "of clip 900." in text
    assert "of clip 10." not in text
    far = [replace(SOUND.steps[0], start_s=2000.0 * n, end_s=2000.0 * n + 10) for n in range(10)]
    text = captions_for_question(told, far)
    assert all(f"of clip {200 * n}." in text for n in range(10)), "the cited lines, where their windows are too many"
    assert tokens(text) < told.budget
    wide = [replace(SOUND.steps[0], start_s=0.0, end_s=20000.0), *near]
    text = captions_for_question(told, wide)
    assert told.overview in text
    assert "of clip 900." in text
    assert "of clip 10." not in text


def test_a_film_that_fits_is_told_by_its_captions_and_costs_nothing(chat: Chat, fake: FakeEndpoint) -> None:
    short = film()
    assert asyncio.run(SummarizeVideo()(short, chat)) == [short]
    assert captions_for_batch(short, 0, 1) == captions_for_question(short, SOUND.steps) == short.captions
    assert fake.requests == []


def test_without_a_budget_that_fits_the_model_it_is_a_failure_that_says_so(chat: Chat, fake: FakeEndpoint) -> None:
    fake.context = CONTEXT
    (failed,) = asyncio.run(AskQuestions()(HOURS_6, chat))
    assert isinstance(failed, Failure)
    assert failed.kind == "too_long"


@pytest.mark.parametrize(
    ("reply", "overview"),
    [
        ("From 0 to 60, a.\nFrom 60 to 120, b.", "From 0 to 60, a.\nFrom 60 to 120, b."),
        ("They run about.\nAll day.", "From 0 to 120, They run about. All day."),
        ("From 0 to 60, a.\nFrom 60 to 9999, b.", "From 0 to 120, From 0 to 60, a. From 60 to 9999, b."),
        ("<think>x</think>", None),
        ("From 0 to 120, " + "long " * 2000, None),
    ],
)
def test_a_summary_keeps_its_times_or_stands_for_its_window(reply: str, overview: str | None) -> None:
    async def chat(request: ChatRequest) -> ChatReply:
        return ChatReply(text=reply, model="m", usage=Usage(calls=1))

    long = film(captions=["word " * 150] * 12)
    (told,) = asyncio.run(SummarizeVideo(budget=1600, prompt="{captions}")(long, chat))
    if overview is None:
        assert isinstance(told, Failure)
        assert (told.stage, told.usage.calls > 0) == ("summarize", True)
        return
    assert isinstance(told, CaptionedVideo)
    spans = re.findall(r"^From (\d+) to (\d+),", told.overview, re.MULTILINE)
    assert (spans[0][0], spans[-1][1]) == ("0", "120")


def test_windows_hold_all_lines_in_order_and_none_is_too_long() -> None:
    lines = HOURS_6.captions.splitlines()
    runs = windows(lines, 24_000)
    assert [line for run in runs for line in run] == lines
    assert all(sum(map(tokens, run)) <= 3000 for run in runs)
    assert tokens("ab cd") == 2
    assert tokens("犬が走る") == 4


def test_the_embedded_endpoint_thins_out_what_it_is_to_sum_up() -> None:
    text = SummarizeVideo().filled({"captions": film(captions=["A."] * 40).captions, "lines": "6", "video_id": "v"})
    assert digest.wanted(text) == 6
    lines = digest.digest(text, 6).splitlines()
    assert len(lines) == 6
    assert (lines[0].startswith("From 0 to "), "to 400," in lines[-1]) == (True, True)


def test_the_prompt_is_the_one_that_was_looked_at() -> None:
    sent: list[str] = []

    async def chat(request: ChatRequest) -> ChatReply:
        sent.extend(part.text for part in request.messages[-1].parts if isinstance(part, Text))
        return ChatReply(text="From 0 to 10, a dog runs.", model="m", usage=Usage())

    asyncio.run(SummarizeVideo()._summed(film().video, film().captions.splitlines(), chat))
    assert f"{SummarizeVideo.version}\n\n{sent[0]}\n" == (GOLDEN / "summarize.txt").read_text()


GOLDEN = Path(__file__).parent / "golden"
