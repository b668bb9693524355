"""What is told of a film as a whole: each task once, from those before it, and a failure is a value."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.errors import RateLimited
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Text
from lvqa_ray.pipeline import analyzing
from lvqa_ray.qa.context_windows import tokens
from lvqa_ray.records import STYLES, Analysis, AnalysisRecord, AnalyzedVideo, CaptionedVideo, Subtitle, Usage
from lvqa_ray.stage import Chat
from lvqa_ray.stage.steps import ChatStep
from lvqa_ray.stage.video_task import Wish
from lvqa_ray.stages.analysis.mind_map import DrawMindMap
from lvqa_ray.stages.analysis.summary import WriteSummary
from lvqa_ray.stages.analysis.titles import WriteTitles
from tests.fakes import answers
from tests.fakes.endpoint import FakeEndpoint
from tests.stages.test_checks import film

AT = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}
STREET = film("v", ["A dog runs over the red street.", "It rains on the green meadow.", "The dog sleeps."])
SPOKEN = replace(STREET, speech=(Subtitle(start_ms=1200, end_ms=2900, text="Come\nback!"),))
TREE = '{"name": "a dog", "children": [{"name": "it runs"}]}'


def job(*tasks: str, ask: Any = None, **settings: Any) -> Job:
    given = {"videos": "v.mp4", "output": "out", "endpoints": {"vlm": AT, "llm": AT}, "ask": ask or {}}
    budget = {"budget": settings.pop("budget", 100_000)}
    return Job.of(given | {"summarize": budget, "analysis": {"tasks": tasks, **settings}})


async def analyzed(job: Job, film: CaptionedVideo, chat: Chat) -> tuple[Sequence[Analysis], list[Any]]:
    """The results of a job's tasks, and what goes on from there."""
    rows: list[Any] = [film]
    for step in analyzing(job):
        done: list[Any] = []
        for row in rows:
            if not isinstance(row, step.takes):
                done.append(row)
            elif isinstance(step, ChatStep):
                done += await step.call(row, chat)
            else:
                done += step.call(row)
        rows = done
    made, *rest = rows
    assert isinstance(made, AnalysisRecord)
    return made.results, rest


def told(job: Job, film: CaptionedVideo, chat: Chat) -> tuple[Sequence[Analysis], list[Any]]:
    return asyncio.run(analyzed(job, film, chat))


def saying(*replies: str | Exception) -> tuple[Chat, list[str]]:
    """A model that says these one after the other, and what it was asked."""
    left, asked = list(replies), []

    async def chat(request: ChatRequest) -> ChatReply:
        parts = [part.text for message in request.messages for part in message.parts if isinstance(part, Text)]
        asked.append(f"[{request.stage}] " + "\n".join(parts))
        said = left.pop(0)
        if isinstance(said, Exception):
            raise said
        return ChatReply(text=said, model="m", usage=Usage(calls=1, input_tokens=10, output_tokens=1))

    return chat, asked


def test_each_task_is_done_once_from_those_before_it_and_a_changed_prompt_redoes_what_rests_on_it(
    chat: Chat, fake: FakeEndpoint
) -> None:
    wanted = ("mind_map", "titles", "analysis")
    changes: list[tuple[dict[str, Any], int]] = [
        ({}, 0),
        ({"titles": {"count": 2}}, 1),
        ({"mind_map": {"prompt": f"{DrawMindMap().prompt} Be brief."}}, 1),
        ({"summary": {"styles": ["summary", "plot_detail"]}}, 3),
        ({"language": "German"}, 3),
        ({"extra_info": "It was shot in Rome."}, 3),
    ]

    async def ask() -> tuple[Sequence[Analysis], list[Any]]:
        first = await analyzed(job(*wanted), SPOKEN, chat)
        sent.extend(answers.text_of(one.body) for one in fake.requests)
        for settings, calls in changes:
            before = len(fake.requests)
            await analyzed(job(*wanted, **settings), SPOKEN, chat)
            assert len(fake.requests) - before == calls, settings
        return first

    sent: list[str] = []
    results, rest = asyncio.run(ask())
    assert rest == [SPOKEN], "the film goes on to its questions"
    assert [(made.task, made.style) for made in results] == [
        ("analysis", ""),
        ("summary", "plot_detail"),
        ("titles", ""),
        ("mind_map", ""),
    ]
    shots, summary, titles, tree = results
    assert shots.value == [
        {"start_ms": 0, "end_ms": 10000, "text": "A dog runs over the red street."},
        {"start_ms": 10000, "end_ms": 20000, "text": "It rains on the green meadow."},
        {"start_ms": 20000, "end_ms": 30000, "text": "The dog sleeps."},
    ]
    assert "“Come back!”" in summary.text
    assert titles.value == {"titles": titles.text.splitlines()}
    assert isinstance(tree.value, dict)
    assert tree.value["children"]
    assert all(made.failure is None and made.text for made in results)
    bill = [made.usage.calls for made in results]
    assert bill == [0, 1, 1, 1]
    assert len(sent) == 3
    assert "From 1 to 3, Come back!" in sent[0]
    assert all(summary.text in text for text in sent[1:])

    assert "It was shot in Rome." in answers.text_of(fake.requests[-1].body)


def test_every_style_has_its_value(chat: Chat) -> None:
    results, rest = told(job("summary", summary={"styles": list(STYLES)}, ask={"quota": {}}), STREET, chat)
    assert rest == [], "no question is asked"
    by_style = {made.style: made for made in results}
    assert all(made.failure is None for made in results)
    assert by_style["plot_detail"].value is by_style["summary"].value is None
    assert by_style["tags"].value == {"tags": ["red", "green"]}
    assert by_style["highlights"].value == {"highlights": by_style["highlights"].text.splitlines()}
    assert all(re.match(r"From \d+ to \d+, ", line) for line in by_style["highlights"].text.splitlines())
    assert isinstance(fields := by_style["multi_task"].value, dict)
    assert list(fields) == ["title", "tags", "highlights"]


def test_a_reply_that_cannot_be_read_is_sent_back_once_and_then_kept_as_a_failure() -> None:
    chat, asked = saying("A dog runs.", '{"name": "a dog"', TREE)
    (_, tree), _ = told(job("mind_map"), STREET, chat)
    assert tree.value == json.loads(TREE)
    assert tree.usage.calls == 2
    assert asked[1] in asked[2]
    assert "That reply cannot be used: The reply holds no JSON that can be read" in asked[2]
    chat, asked = saying("A dog runs.", "no", '{"name": "a dog"}')
    (summary, tree), rest = told(job("mind_map"), STREET, chat)
    assert len(asked) == 3
    assert summary.failure is None
    assert rest == [STREET], "the film keeps its questions"
    assert tree.failure is not None
    assert (tree.failure.kind, tree.failure.raw, tree.failure.retryable) == ("bad_tree", '{"name": "a dog"}', False)
    assert (tree.text, tree.value, tree.usage.calls) == ("", None, 2)


def test_what_rests_on_a_summary_that_failed_asks_nothing_and_may_be_tried_again() -> None:
    chat, asked = saying(RateLimited("Slow down."))
    results, rest = told(job("titles", "mind_map"), STREET, chat)
    assert len(asked) == 1
    assert rest == [STREET]
    assert [(made.task, made.failure and (made.failure.stage, made.failure.kind)) for made in results] == [
        (task, (task, "rate_limited")) for task in ("summary", "titles", "mind_map")
    ]
    assert all(made.failure and made.failure.retryable for made in results)


def test_a_draft_is_no_part_of_a_result() -> None:
    chat, _ = saying("<think>Hm.</think>\nA dog runs.", "<think>Hm.</think>1. Dog\n2. Rain\n3. Sleep\n4. More")
    (summary, titles), _ = told(job("titles"), STREET, chat)
    assert summary.text == "A dog runs."
    assert titles.value == {"titles": ["Dog", "Rain", "Sleep"]}


def test_nothing_is_cut_off_where_speech_and_captions_do_not_fit_together(chat: Chat, fake: FakeEndpoint) -> None:
    captions = [f"Clip {n} shows {'a street and a dog ' * 12}." for n in range(60)]
    speech = tuple(
        Subtitle(start_ms=n * 2000, end_ms=n * 2000 + 1500, text=f"Line {n} has {'some words ' * 6}")
        for n in range(300)
    )
    long = replace(film("v", captions), speech=speech)
    settings = job("summary", budget=4000)
    assert tokens(long.captions) < 4000, "the captions alone would fit"
    (summary,), _ = told(settings, long, chat)
    assert summary.failure is None
    assert summary.note == "the speech is summed up; the descriptions are summed up"
    summed = "\n".join(text for one in fake.requests if "Sum them up" in (text := answers.text_of(one.body)))
    assert all(f"Line {n} has" in summed for n in range(300))
    assert all(f"lip {n} shows" in summed for n in range(60))
    assert summary.usage.calls == len(fake.requests)
    assert max(answers.tokens_in(one.body) for one in fake.requests) < 4000


EXTRA = Wish(language="German", extra_info="It was shot in Rome.")
STAGES: dict[str, tuple[Any, str, Wish]] = {
    **{f"summary_{style}": (WriteSummary(styles=(style,)), style, Wish()) for style in STYLES},
    "titles": (WriteTitles(), "", Wish()),
    "mind_map": (DrawMindMap(), "", EXTRA),
    "summary_own": (WriteSummary(prompt="{video_extra_info}: {video_analysis_text} {video_asr_text}"), "", EXTRA),
}


@pytest.mark.parametrize("name", STAGES)
def test_the_prompts_are_those_that_were_looked_at(name: str) -> None:
    stage, style, wish = STAGES[name]
    chat, asked = saying('{"title": "t", "tags": ["a"], "highlights": ["h"]}' if style == "multi_task" else TREE)
    before = Analysis(task="summary", text="A dog runs home.")
    row = AnalyzedVideo(film=SPOKEN, shots=SPOKEN.captions, speech="From 1 to 3, Come back!", results=(before,))
    (made,) = asyncio.run(stage(row, chat, wish))
    assert made.results[-1].failure is None
    golden = Path(__file__).parent / "golden" / f"{name}.txt"
    assert f"{stage.version}\n\n{asked[0].partition('] ')[2]}\n" == golden.read_text()
