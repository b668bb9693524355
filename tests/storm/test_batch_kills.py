"""The driver of a run in batch mode is killed ten times: no request is in two batches, and every answer is used."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.maintenance import stats
from tests.conftest import EXECUTOR
from tests.fakes.endpoint import FakeEndpoint
from tests.storm.storm import Run, check, corpus, job_file
from tests.storm.test_kills import finish

pytestmark = [pytest.mark.storm, pytest.mark.timeout(1800)]


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


def test_the_driver_is_killed_ten_times_in_batch_mode(tmp_path: Path, fake: FakeEndpoint) -> None:
    films = corpus(tmp_path / "films", 6)
    # Without Ray to start, a run is further after the same time.
    starts_s, fake.batches.state_s = (4, 2.0) if EXECUTOR == "local" else (12, 0.5)
    fake.batches.row_s = 0.1
    prices = {"price_in": fake.ledger.prices[0], "price_out": fake.ledger.prices[1]}
    at = {"tier": "batch", "batch_requests": 8, "batch_wait_s": 2, "batch_poll_s": 0.5, **prices}
    job = job_file(tmp_path, fake, films, endpoint=at)
    dice = random.Random(20)  # noqa: S311 - chance that can be repeated is the point
    interrupted = 0
    for kill in range(10):
        with Run(job) as run:
            if kill % 2:  # while a batch is under way, or at any moment of starting up
                run.wait_until(lambda: bool(fake.batches.live()))
                time.sleep(dice.uniform(0, 2))
            else:
                time.sleep(dice.uniform(0, starts_s))
            interrupted += not run.over
            run.signal(signal.SIGKILL)
            run.end()
    finish(job)
    check(job, fake)
    assert interrupted >= 5, "kills that found a run"
    assert max(fake.batches.asked.values()) == 1, "no request is in two batches"
    assert max(fake.batches.answered.values()) == 1
    kept = stats(open_segments(tmp_path / "out" / "cache", make=False))
    assert kept.answers == len(fake.batches.answered) == fake.paid.total(), "every answer is used"
    bill = sum(usage.cost_usd or 0.0 for models in kept.spent.values() for usage in models.values())
    assert bill == pytest.approx(fake.ledger.usd, rel=1e-9)
    print(f"{interrupted} runs were interrupted; {len(fake.batches.made)} batches")  # noqa: T201 - shown by -rP
