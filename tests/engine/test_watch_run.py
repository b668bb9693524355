"""Sampled answers in real runs: a killed run pays no attempt twice, and the demo endpoint answers from pixels."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from lvqa_ray.dataset.shards import read_rows
from tests import media
from tests.fakes.answers import media_urls, text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, job_file

TRIES = 12
AT_ONCE = 2
SETTINGS: dict[str, Any] = {
    "ask": {"quota": {"goal": 1, "plot": 1}},
    "split": {"max_seconds": 2.0},
    "checks": {
        "duplicates": {"corpus": False},
        **{name: {"policy": "off"} for name in ("blind", "solve", "prose")},
        "watch": {"policy": "mark", "tries": TRIES, "frames": 3},
    },
}


def watching(body: dict[str, Any]) -> bool:
    return "going by what can be seen" in text_of(body)


@pytest.mark.timeout(400)
def test_a_killed_run_pays_no_attempt_twice(tmp_path: Path) -> None:
    """All attempts at one question with one order of its options have the same body, and are told apart by the key."""
    film = media.make_video(tmp_path / "film.mp4", seconds=4.0, scenes=(2.0,), size=(96, 54))
    with FakeEndpoint(latency_s=0.4) as fake:
        local = {"executor": "local"}
        job = job_file(tmp_path, fake, [film], endpoint={"max_concurrency": AT_ONCE}, engine=local, **SETTINGS)

        def sent() -> list[dict[str, Any]]:
            return [one.body for one in fake.requests if watching(one.body)]

        with Run(job) as run:
            assert run.wait_until(lambda: len(sent()) >= TRIES // 2), run.said()
            run.signal(signal.SIGKILL)
            run.end()
        killed_at = len(sent())
        assert killed_at < 2 * TRIES
        with Run(job) as again:
            assert again.end() == 0, again.said()
        output = Path(yaml.safe_load(job.read_text())["output"])
        questions = len(list(read_rows(output, "data")))
        traces = list(read_rows(output, "traces"))
        assert [row["attempt"] for row in traces] == [*range(TRIES)] * questions
        assert all(len(media_urls(body)) == 3 for body in sent())
        assert questions * TRIES <= len(sent()) <= questions * TRIES + AT_ONCE, "what was on the wire may be lost"
        paid = sum(row["usage"]["calls"] - row["usage"]["cached"] for row in traces)
        assert paid <= len(sent()) - killed_at, "the rest came from the cache"
        before = fake.asked
        with Run(job) as third:
            assert third.end() == 0
        assert fake.asked - before <= 2, "at most lists of models"
        assert max(fake.paid.values()) <= TRIES // 4 + AT_ONCE
