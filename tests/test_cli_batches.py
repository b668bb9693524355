"""``lvqa batches``: the open batches of a killed run are listed, waited for and cancelled."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lvqa_ray.cli.commands import app
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.maintenance import stats
from tests.fakes.endpoint import FakeEndpoint
from tests.llm.batched import BatchRun, answers, batched, request

ASKED = [request(f"What is {number}?") for number in range(6)]


def lvqa(*words: str | Path) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["batches", *map(str, words)])


def killed(fake: FakeEndpoint, folder: Path) -> None:
    """A run that ended while its batch was under way."""
    with BatchRun(folder, batched(fake)) as run:
        run.one_pass(ASKED)
        run.runner._flush = True
        until = time.monotonic() + 10
        while not fake.batches.asked and time.monotonic() < until:
            time.sleep(0.01)


def test_an_open_batch_is_listed_and_waited_for(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.state_s, fake.batches.row_s = 0.4, 0.4
    killed(fake, tmp_path)
    (batch,) = fake.batches.made.values()
    shown = lvqa(tmp_path)
    assert shown.exit_code == 0
    assert all(word in shown.output for word in (batch.id, "in_progress", "fake-llm"))
    (listed,) = json.loads(lvqa(tmp_path, "--json").stdout)
    assert (listed["batch"], listed["requests"]) == (batch.id, 6)
    waited = lvqa(tmp_path, "--wait", "--json")
    assert (waited.exit_code, json.loads(waited.stdout)) == (0, [])
    kept = stats(open_segments(tmp_path / "cache", make=False))
    assert kept.answers == fake.paid.total() == 6
    bill = sum(usage.cost_usd or 0.0 for models in kept.spent.values() for usage in models.values())
    assert bill == pytest.approx(fake.ledger.usd, rel=1e-12)
    with BatchRun(tmp_path, batched(fake), "r2") as run:
        assert answers(run.ask(ASKED)) == 6
    assert fake.paid.total() == 6


def test_a_cancelled_batch_keeps_what_was_answered(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.row_s = 0.3
    killed(fake, tmp_path)
    assert "cancelling" in lvqa(tmp_path, "--cancel").output
    assert lvqa(tmp_path, "--wait").exit_code == 0
    before = fake.paid.total()
    assert before < 6
    fake.batches.row_s = 0.0
    with BatchRun(tmp_path, batched(fake), "r2") as run:
        assert answers(run.ask(ASKED)) == 6
    assert (fake.paid.total(), max(fake.batches.answered.values())) == (6, 1)


def test_a_forgotten_batch_is_sent_again(fake: FakeEndpoint, tmp_path: Path) -> None:
    fake.batches.row_s = 0.3
    killed(fake, tmp_path)
    assert lvqa(tmp_path, "--wait", "--forget").exit_code == 2
    said = lvqa(tmp_path, "--forget").output
    assert "File batches forgotten: 1. The next run sends their requests again." in said
    assert json.loads(lvqa(tmp_path, "--json").stdout) == []
    with BatchRun(tmp_path, batched(fake), "r2") as run:
        assert answers(run.ask(ASKED)) == 6
    assert len(fake.batches.made) == 2


def test_a_folder_without_batches(fake: FakeEndpoint, tmp_path: Path) -> None:
    assert lvqa(tmp_path).exit_code == 2, "it is no output folder"
    (tmp_path / "cache").mkdir()
    assert json.loads(lvqa(tmp_path, "--json").stdout) == []
