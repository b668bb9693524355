"""What a whole run makes of drafts in replies, and of an endpoint that rejects every request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lvqa_ray.engine.run import run
from tests import media
from tests.conftest import JobMaker, tables
from tests.fakes import answers
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.scripted import Reply, Scripted


def test_a_draft_reaches_no_table_and_no_prompt_of_another_stage(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path
) -> None:
    fake.answer = lambda body: (
        f"<thought>\nDRAFT of this reply\n</thought>\n<answer>{answers.answer(body)}\u202e\x1b[31m</answer><|im_end|>"
    )
    job = make_job(media.make_video(tmp_path / "a.mp4", seconds=2, scenes=(1.0,)))
    summary = run(job)
    assert (summary.records, summary.exit_status) == (1, 0)
    rows = {name: table for name, table in tables(job.output).items() if name != "cache"}
    said = json.dumps([rows, [asked.body for asked in fake.requests]], default=str, ensure_ascii=False)
    for unwanted in ("DRAFT", "thought>", "<answer>", "im_end", "\u202e", "\\u001b"):
        assert unwanted not in said, unwanted


def test_an_endpoint_that_rejects_every_request_stops_the_run_and_a_rerun_finishes_it(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path
) -> None:
    films = [media.make_video(tmp_path / f"{name}.mp4", seconds=4, scenes=()) for name in "abcdef"]
    rejection: dict[str, Any] = {"error": {"message": "This picture format is not supported.", "code": None}}
    with Scripted(lambda _: Reply.of(400, rejection)) as server:
        at = {"base_url": server.base_url, "model": "m", "max_concurrency": 1, "max_rejections": 3}
        settings: dict[str, Any] = {"split": {"max_seconds": 0.5}}
        stopped = run(make_job(*films, endpoint=at, **settings))
        assert len(server.bodies) <= 4
    assert "not supported" in stopped.halted
    assert (stopped.records, stopped.exit_status) == (0, 1)
    finished = run(make_job(*films, **settings))
    assert (finished.records, finished.exit_status) == (6, 0)
