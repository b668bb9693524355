"""Requests of several stages about one video begin alike, up to its last caption."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.records import CaptionedVideo, QuestionedVideo, Usage
from lvqa_ray.stages.ask import AskQuestions
from lvqa_ray.stages.checks.blind import CheckBlind
from lvqa_ray.stages.checks.judge import CheckJudge
from lvqa_ray.stages.checks.rewrite import RewriteQuestion
from lvqa_ray.stages.checks.solve import CheckSolve
from tests.stages.test_checks import asked, film

LONG = [f"A dog runs past house number {n}, " + "and past a red door, " * 20 for n in range(30)]


def requests_about(video: CaptionedVideo, **settings: Any) -> dict[str, list[ChatRequest]]:
    sent: list[ChatRequest] = []

    async def chat(request: ChatRequest) -> ChatReply:
        sent.append(request)
        return ChatReply(text="ANSWER: A", model="m", usage=Usage())

    row = QuestionedVideo(film=video, questions=(asked(), asked()))

    async def run() -> None:
        await AskQuestions(fresh_tries=0, **settings)(video, chat)
        await CheckSolve()(row, chat)
        await CheckJudge()(row, chat)
        await CheckBlind()(row, chat)
        await RewriteQuestion().written(row.questions[0], row, "it is easy", 0, chat)

    asyncio.run(run())
    return {
        stage: [one for one in sent if one.stage == stage] for stage in ("ask", "solve", "judge", "rewrite", "blind")
    }


def text(request: ChatRequest) -> str:
    return "".join(getattr(part, "text", "") for message in request.messages for part in message.parts)


def test_everything_up_to_the_last_caption_is_equal_for_all_stages_that_show_the_captions() -> None:
    video = film(captions=LONG)
    sent = requests_about(video)
    alike = [one for stage in ("ask", "solve", "judge", "rewrite") for one in sent[stage]]
    assert len(alike) >= 1 + 6 + 2 + 1
    assert len({one.prefix for one in alike}) == 1
    (begin,) = {text(one).partition(video.captions)[0] for one in alike}
    assert begin.startswith("Below are descriptions of the parts of one video")
    assert all(one.prefix for one in alike)
    assert not any(one.prefix for one in sent["blind"]), "it shows no captions"
    assert {one.prefix for one in requests_about(film("w", LONG[:-1]))["solve"]} != {
        one.prefix for one in sent["solve"]
    }


def test_a_system_message_of_one_stage_is_another_beginning() -> None:
    sent = requests_about(film(captions=LONG), system="You are strict.")
    assert {one.prefix for one in sent["ask"]} != {one.prefix for one in sent["solve"]}


def test_a_short_video_and_one_of_several_windows_are_not_taken_for_what_they_are_not() -> None:
    assert not any(one.prefix for each in requests_about(film()).values() for one in each)
    video = film(captions=LONG)
    parts = replace(video, overview="From 0 to 300, " + "a dog runs, " * 100, budget=6000)
    assert {one.prefix for one in requests_about(parts)["solve"]} != {
        one.prefix for one in requests_about(video)["solve"]
    }
