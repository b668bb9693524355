"""Whole runs on every tier: the same data, a bill that equals the endpoint's, and nothing paid twice."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from lvqa_ray.engine.run import RunSummary, run
from lvqa_ray.journal.batch_log import BatchLog
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batch_queue import BatchEntry
from tests import media
from tests.conftest import JobMaker, tables
from tests.fakes import answers
from tests.fakes.answers import answer, text_of, tokens_in, tokens_out
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, check, job_file

pytestmark = pytest.mark.usefixtures("ray_session")

OF_THE_RUN = {"usage", "cost_usd", "run_id", "cached_tokens", "cache_write_tokens"}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("films")
    return [
        media.make_video(folder / f"{name}.mp4", seconds=2, scenes=(0.5 + 0.4 * n,)) for n, name in enumerate("abc")
    ]


def settings(fake: FakeEndpoint, tier: str) -> dict[str, Any]:
    prices = {"price_in": fake.ledger.prices[0], "price_out": fake.ledger.prices[1]}
    return {
        "endpoint": {"tier": tier, "batch_poll_s": 0.2, "backoff_base_s": 0.05, **prices},
        "split": {"max_seconds": 1},
        "checks": {"duplicates": {"corpus": False}},
    }


def on(executor: str) -> dict[str, Any]:
    return {"num_cpus": 2, "executor": executor}


def bill(summary: RunSummary) -> float:
    return sum(usage.cost_usd or 0.0 for usage in summary.spent.values())


def said(output: Path | str) -> list[dict[str, Any]]:
    """The rows of `data`, without what they cost and which run made them."""
    rows = tables(str(output))["data"]
    return sorted((plain(row) for row in rows), key=lambda row: str(row["id"]))


def plain(value: Any) -> Any:
    """A value without the usage and the run, at any depth."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name not in OF_THE_RUN}
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("executor", ["ray", "local"])
def test_every_tier_gives_the_same_data(
    fake: FakeEndpoint, make_job: JobMaker, tmp_path: Path, films: list[Path], executor: str
) -> None:
    made: dict[str, list[dict[str, Any]]] = {}
    paid: dict[str, int] = {}
    fake.flex = 0.3
    for tier in ("standard", "flex", "batch_chat", "batch"):
        fake.tier = "batch_chat" if tier == "batch_chat" else "standard"
        fake.paid.clear()
        before = fake.ledger.usd
        output = tmp_path / tier
        summary = run(make_job(*films, output=output, **settings(fake, tier), engine=on(executor)))
        assert (summary.exit_status, summary.records) == (0, 3), summary
        tested = [asked.body for asked in fake.requests if "Reply with the word yes" in text_of(asked.body)]
        fake.requests.clear()
        costs = [tokens_in(body) * 1.0 + tokens_out(answer(body)) * 4.0 for body in tested]
        assert bill(summary) == pytest.approx(fake.ledger.usd - before - sum(costs) / 2e6, rel=1e-9)
        assert len(tested) == (tier in {"flex", "batch_chat"}), "the request that tests the tier is not in the bill"
        assert max(fake.paid.values()) == 1
        made[tier], paid[tier] = said(output), fake.paid.total() - len(tested)
    assert made["standard"] == made["flex"] == made["batch_chat"] == made["batch"]
    assert len(set(paid.values())) == 1
    assert max(fake.batches.asked.values()) == 1
    assert 2 * fake.ledger.usd_of("batch") == pytest.approx(fake.ledger.usd_of("standard"))


@pytest.mark.parametrize("how", [("local", None), ("local", "LVQA_NEW"), ("ray", "LVQA_NEW")])
def test_a_change_of_tier_waits_for_the_open_batch(
    fake: FakeEndpoint, make_job: JobMaker, tmp_path: Path, films: list[Path], how: tuple[str, str | None]
) -> None:
    """A run is stopped while its batch is under way; the next one is on the standard tier, with another variable."""
    executor, env = how
    fake.batches.state_s = 1.0
    job = make_job(*films, **settings(fake, "batch"), engine=on("local"))
    log = BatchLog(Path(job.output) / "cache", "20260101T000000000000Z")
    endpoint = job.endpoints.of("vlm")
    summary = run(make_job(*films, output=tmp_path / "first", **settings(fake, "batch"), engine=on("local")))
    assert summary.exit_status == 0
    caption = next(batch for batch in fake.batches.made.values() if answers.media_urls(batch.rows[0]["body"]))
    api = BatchApi(endpoint, SecretStr(""))
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in caption.rows)
    path = tmp_path / "requests.jsonl"
    path.write_bytes(lines)

    async def begin() -> None:
        entries = [BatchEntry(row["custom_id"], "caption") for row in caption.rows]
        batch = log.intend("lvqa-0", endpoint, entries)
        batch = log.note(batch, file=await api.upload(path, "lvqa-0.jsonl"))
        await api.create(batch.file, "lvqa-0", 24)  # and then it is killed
        await api.aclose()

    asyncio.run(begin())
    paid, ledger = fake.paid.total(), fake.ledger.usd
    at = settings(fake, "standard")
    at["endpoint"]["api_key_env"] = env
    summary = run(make_job(*films, **at, engine=on(executor)))
    assert (summary.exit_status, summary.records) == (0, 3)
    assert fake.paid.total() - paid == paid, "each request once, as in the first run"
    assert fake.ledger.replies["standard"] == paid - len(caption.rows), "the captions are those of the open batch"
    assert bill(summary) == pytest.approx(fake.ledger.usd - ledger, rel=1e-9)


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_a_spent_budget_sends_what_it_has_reserved(
    fake: FakeEndpoint, make_job: JobMaker, films: list[Path], executor: str
) -> None:
    at = settings(fake, "batch")
    summary = run(make_job(*films, **at, engine=on(executor) | {"max_requests": 4}))
    assert (summary.exit_status, summary.over_budget) == (3, True)
    assert fake.paid.total() == 4, "no more, and no fewer: a run that sends nothing would never end"
    for _ in range(9):
        summary = run(make_job(*films, **at, engine=on(executor) | {"max_requests": 8}))
        if not summary.halted:
            break
    assert (summary.exit_status, summary.records) == (0, 3)
    assert max(fake.paid.values()) == 1


def test_a_signal_ends_the_run_and_not_its_batch(fake: FakeEndpoint, tmp_path: Path, films: list[Path]) -> None:
    fake.batches.state_s, fake.batches.stuck = 0.5, True
    at = settings(fake, "batch")["endpoint"]
    checks = {"duplicates": {"corpus": False}, "blind": {"policy": "off"}}
    job = job_file(tmp_path, fake, films, endpoint=at, engine=on("local"), split={"max_seconds": 1}, checks=checks)
    with Run(job) as stopped:
        assert stopped.wait_until(lambda: bool(fake.batches.asked))
        stopped.signal(signal.SIGTERM)
        assert stopped.end() == 143, stopped.said()  # it does not wait for the batch, which does not end
        assert "Traceback" not in stopped.said()
    fake.batches.state_s, fake.batches.stuck = 0.05, False
    with Run(job) as again:
        assert again.end() == 0, again.said()
    check(job, fake)
    assert max(fake.batches.asked.values()) == 1
