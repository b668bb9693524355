"""Open file batches of earlier runs: after kills, late results and refusals, nothing is paid twice."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from lvqa_ray.engine.batching.batch_control import forget_batches, open_batches
from lvqa_ray.engine.batching.batch_runner import BatchRunner
from lvqa_ray.engine.batching.request_files import BatchLine
from lvqa_ray.errors import (
    BatchFailed,
)
from lvqa_ray.journal.batch_log import BatchLog
from lvqa_ray.llm.batches.batch_api import BatchApi
from lvqa_ray.llm.batches.batch_queue import BatchQueue, LocalQueue
from lvqa_ray.llm.endpoint import Endpoint
from tests.fakes.endpoint import FakeEndpoint
from tests.llm.batched import ASKED, REQUESTS, BatchRun, answers, batched, billed, deferred, request, statuses


class TestKilled:
    """Runs that end at every point between the log and the results; the next one finds their batches."""

    def begun(self, fake: FakeEndpoint, folder: Path, until: str, env: str | None = None, key: str = "") -> None:
        """A run that was killed right after a step; the log has what it had then."""
        fake.batches.state_s = 0.3
        fake.batches.drop_next["upload"] = 100 if until == "intent" else 0
        fake.batches.drop_next["create"] = 100 if until == "upload" else 0
        run = BatchRun(folder, batched(fake, api_key_env=env), key=key)
        with run:
            run.one_pass(ASKED)
            run.runner._flush = True
            deadline = time.monotonic() + 10
            while not self.reached(folder, until) and time.monotonic() < deadline:
                time.sleep(0.005)
            run.runner._over.set()
        self.cut(folder, until)
        fake.batches.state_s = 0.05
        fake.batches.drop_next.clear()

    @staticmethod
    def log(folder: Path) -> Path:
        (path,) = (folder / "cache" / "batches").glob("*.jsonl")
        return path

    def reached(self, folder: Path, until: str) -> bool:
        paths = list((folder / "cache" / "batches").glob("*.jsonl"))
        wanted = {"intent": '"requests"', "upload": '"file"', "create": '"file"', "created": '"id"'}
        return bool(paths) and wanted.get(until, '"status"') in paths[0].read_text()

    def cut(self, folder: Path, until: str) -> None:
        """Take the lines away that were written after the step."""
        lines = self.log(folder).read_text().splitlines()
        kept = {"intent": 1, "upload": 2, "create": 2, "created": 3}.get(until, 3)
        self.log(folder).write_text("".join(f"{line}\n" for line in lines[:kept]))

    @pytest.mark.parametrize("until", ["intent", "create", "created", "recorded"])
    def test_the_next_run_finds_its_batch(self, fake: FakeEndpoint, tmp_path: Path, until: str) -> None:
        self.begun(fake, tmp_path, until)
        before = len(fake.batches.made)
        with BatchRun(tmp_path, batched(fake), "r2") as run:
            assert deferred(run.one_pass(ASKED)) + answers(run.one_pass(ASKED)) == len(ASKED)
            assert answers(run.ask(ASKED)) == len(ASKED)
        assert (before, len(fake.batches.made)) == (until != "intent", 1)
        assert max(fake.batches.asked.values()) == 1
        assert billed(tmp_path, "r1") + billed(tmp_path, "r2") == pytest.approx(fake.ledger.usd, rel=1e-12), (
            "each answer is in the bill once"
        )

    def test_a_batch_that_was_never_created_cannot_come_later(self, fake: FakeEndpoint, tmp_path: Path) -> None:
        self.begun(fake, tmp_path, "upload")
        file = json.loads(self.log(tmp_path).read_text().splitlines()[1])["file"]
        fake.batches.files[file] = ("x", b"")
        with BatchRun(tmp_path, batched(fake), "r2") as run:
            assert answers(run.ask(ASKED)) == len(ASKED)
        assert file not in fake.batches.files, "a late request for the batch would find no file"
        assert max(fake.batches.asked.values()) == 1
        assert fake.paid.total() == len(ASKED)


def test_four_kills_at_any_moment(tmp_path: Path) -> None:
    """The process is killed by SIGKILL; `tests/storm` does the same to whole runs on Ray."""
    dice = random.Random(11)  # noqa: S311 - chance that can be repeated
    with FakeEndpoint() as fake:
        fake.batches.state_s, fake.batches.row_s = 0.1, 0.01
        command = [sys.executable, "-m", "tests.llm.batched", fake.base_url, str(tmp_path)]
        for kill in range(4):
            with subprocess.Popen([*command, f"r{kill}"], stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                process.stdout.readline()  # it has begun
                time.sleep(dice.uniform(0, 1.2))
                process.kill()
        ended = subprocess.run([*command, "r9"], stdout=subprocess.PIPE, text=True, check=True)
        assert ended.stdout.split() == ["begins", str(REQUESTS)]
        assert max(fake.batches.asked.values()) == 1, "no request is in two batches"
        assert (len(fake.batches.answered), fake.paid.total()) == (REQUESTS, REQUESTS)
        bills = [billed(tmp_path, f"r{number}") for number in range(10)]
        assert sum(bills) == pytest.approx(fake.ledger.usd, rel=1e-12)
        assert fake.batches.files == {}


@pytest.mark.parametrize("what", ["files", "status", "content"])
def test_results_that_come_late_are_not_paid_twice(fake: FakeEndpoint, tmp_path: Path, what: str) -> None:
    """A batch that is completed before its files are there, on a server without counts, and one or two 404s."""
    fake.batches.uncounted = True
    fake.batches.late = 3 if what == "files" else 0
    fake.batches.missing[what] = 2
    with BatchRun(tmp_path, batched(fake)) as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert len(fake.batches.made) == 1
    assert max(fake.batches.answered.values()) == 1
    assert billed(tmp_path) == pytest.approx(fake.ledger.usd, rel=1e-12)


def test_a_batch_that_the_endpoint_denies_is_not_sent_again(fake: FakeEndpoint, tmp_path: Path) -> None:
    """As with a key of another project: the rows fail with a message, and a later run uses the answers."""
    with BatchRun(tmp_path, batched(fake)) as run:
        run.one_pass(ASKED)
        run.runner._flush = True
        until = time.monotonic() + 10
        while not fake.batches.asked and time.monotonic() < until:
            time.sleep(0.01)
        made = dict(fake.batches.made)
        fake.batches.made.clear()
        outcomes = run.ask(ASKED)
    assert {type(outcome) for outcome in outcomes} == {BatchFailed}
    assert "--forget" in str(outcomes[0])
    assert (fake.batches.made, statuses(tmp_path)) == ({}, [""])
    fake.batches.made = made
    with BatchRun(tmp_path, batched(fake), "r2") as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert max(fake.batches.answered.values()) == 1


def test_a_batch_that_is_given_up_is_paid_again(fake: FakeEndpoint, tmp_path: Path) -> None:
    TestKilled().begun(fake, tmp_path, "created")
    assert forget_batches(tmp_path / "cache") == 1
    assert (open_batches(tmp_path / "cache"), statuses(tmp_path)) == ([], ["forgotten"])
    with BatchRun(tmp_path, batched(fake), "r2") as run:
        assert answers(run.ask(ASKED)) == len(ASKED)
    assert len(fake.batches.made) == 2


def test_open_batches_keep_the_prices_of_their_job(tmp_path: Path) -> None:
    """`lvqa batches --wait` knows the endpoint from the log only; lines of earlier releases lack two prices."""
    prices = {"price_in": 2.0, "price_out": 8.0, "price_cached": 0.5, "price_cache_write": 2.5}
    endpoint = Endpoint.model_validate({"base_url": "https://a.test/v1", "model": "m", "tier": "batch"} | prices)
    log = BatchLog(tmp_path, "r1")
    log.intend("lvqa-0", endpoint, [])
    log.close()
    (path,) = (tmp_path / "batches").glob("*.jsonl")
    (batch,) = open_batches(tmp_path)
    assert batch.endpoint.model_dump(include=set(prices)) == prices
    line = json.loads(path.read_text())
    del line["endpoint"]["price_cached"], line["endpoint"]["price_cache_write"]
    path.write_text(json.dumps(line) + "\n")
    (batch,) = open_batches(tmp_path)
    assert (batch.endpoint.price_in, batch.endpoint.price_cached) == (2.0, None)


def test_an_open_batch_goes_to_the_key_that_created_it(fake: FakeEndpoint, tmp_path: Path) -> None:
    """Two roles with the same model and two keys: only the account that created a batch sees it."""
    TestKilled().begun(fake, tmp_path, "created")
    mine = batched(fake)
    other = mine.model_copy(update={"api_key_env": "OTHER_KEY"})
    lines = [
        BatchLine(at, BatchApi(at, SecretStr("")), LocalQueue(BatchQueue(at, tmp_path / name, 1e9)))
        for name, at in (("mine", mine), ("other", other))
    ]
    runner = BatchRunner(lines, BatchLog(tmp_path / "cache", "r2"), None)
    runner.start()
    try:
        (batch,) = runner._open.values()
        assert batch.line is lines[0]
    finally:
        runner.stop()


class TestOtherKeys:
    """The job names another variable, or the variable holds another key, while a batch of an earlier run is open."""

    @pytest.mark.parametrize("until", ["upload", "create", "created", "recorded"])
    @pytest.mark.parametrize("key", ["first", "second of the account"])
    def test_a_renamed_variable_finds_the_batch(self, fake: FakeEndpoint, tmp_path: Path, until: str, key: str) -> None:
        fake.batches.accounts["second of the account"] = "first"
        killed = TestKilled()
        killed.begun(fake, tmp_path, until, env="LVQA_OLD", key="first")
        if until == "upload":  # the run that was killed has not deleted it
            fake.batches.files[json.loads(killed.log(tmp_path).read_text().splitlines()[1])["file"]] = ("x", b"")
        with BatchRun(tmp_path, batched(fake, api_key_env="LVQA_NEW"), "r2", key=key) as run:
            assert answers(run.ask(ASKED)) == len(ASKED)
        assert (len(fake.batches.made), max(fake.batches.asked.values())) == (1, 1)
        assert billed(tmp_path, "r1") + billed(tmp_path, "r2") == pytest.approx(fake.ledger.usd, rel=1e-12)

    @pytest.mark.parametrize(
        "at", [("created", 404), ("created", 401), ("created", 403), ("created", 400), ("create", 404), ("create", 400)]
    )
    @pytest.mark.parametrize("env", ["LVQA_NEW", "LVQA_OLD"])
    def test_the_key_of_another_account_sends_nothing_again(
        self,
        fake: FakeEndpoint,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        at: tuple[str, int],
        env: str,
    ) -> None:
        """The rows fail with the user's choice; the first key, wherever the environment has it, gets the answers."""
        until, denial = at
        if env == "LVQA_OLD" and denial == 401:
            pytest.skip("a refused key of the job stops the run")
        TestKilled().begun(fake, tmp_path, until, env="LVQA_OLD", key="first")
        fake.batches.denial = denial
        with BatchRun(tmp_path, batched(fake, api_key_env=env), "r2", key="other") as run:
            outcomes = run.ask(ASKED)
            again = run.one_pass(ASKED)
        assert {type(outcome) for outcome in (*outcomes, *again)} == {BatchFailed}
        assert "lvqa batches OUT --forget" in str(outcomes[0])
        assert ("LVQA_OLD" in str(outcomes[0]), env in str(outcomes[0])) == (True, True)
        assert "other" not in str(outcomes[0])
        assert (len(fake.batches.made), statuses(tmp_path)) == (1, [""])
        monkeypatch.setenv("LVQA_OLD", "first")
        key = "other" if env == "LVQA_NEW" else "first"
        with BatchRun(tmp_path, batched(fake, api_key_env=env), "r3", key=key) as run:
            assert answers(run.ask(ASKED)) == len(ASKED)
        assert (len(fake.batches.made), max(fake.batches.asked.values())) == (1, 1)

    @pytest.mark.parametrize("seen", ["print", True])
    def test_only_the_key_that_saw_the_file_may_say_that_there_is_no_batch(
        self, fake: FakeEndpoint, tmp_path: Path, *, seen: str | bool
    ) -> None:
        """A run saw the file, and was killed before it logged the end; a log of an earlier release names no key."""
        killed = TestKilled()
        killed.begun(fake, tmp_path, "create", env="LVQA_OLD", key="first")
        tag = json.loads(killed.log(tmp_path).read_text().splitlines()[0])["tag"]
        print_ = BatchApi(batched(fake), SecretStr("first")).key_print(tag)
        with killed.log(tmp_path).open("a") as log:
            log.write(json.dumps({"tag": tag, "at": 0.0, "seen": print_ if seen == "print" else seen}) + "\n")
        with BatchRun(tmp_path, batched(fake, api_key_env="LVQA_OLD"), "r2", key="other") as run:
            assert {type(outcome) for outcome in run.ask(ASKED)} == {BatchFailed}
        assert (len(fake.batches.made), statuses(tmp_path)) == (1, [""])
        with BatchRun(tmp_path, batched(fake, api_key_env="LVQA_OLD"), "r3", key="first") as run:
            assert answers(run.ask(ASKED)) == len(ASKED)
        assert (len(fake.batches.made), max(fake.batches.asked.values())) == (1, 1)

    @pytest.mark.parametrize("collects", [True, False])
    def test_a_replaced_queue_waits_for_the_open_batch(
        self, fake: FakeEndpoint, tmp_path: Path, *, collects: bool
    ) -> None:
        """Its process died: it is empty, and the run may be on a tier that sends new requests at once."""
        TestKilled().begun(fake, tmp_path, "created")
        fake.batches.state_s = 0.5
        at = batched(fake, tier="batch" if collects else "standard")
        with BatchRun(tmp_path, at, "r2", collects=collects) as run:
            run.queue._queue = BatchQueue(at, tmp_path / "files-r2", 1e9, known=False)
            assert deferred(run.one_pass(ASKED)) == len(ASKED)
            assert answers(run.ask([*ASKED, request("new")])) == len(ASKED) + 1
        assert max(fake.paid.values()) == 1
        assert len(fake.batches.made) == 1 + collects

    def test_a_restarted_queue_does_not_send_what_was_left(self, fake: FakeEndpoint, tmp_path: Path) -> None:
        TestKilled().begun(fake, tmp_path, "created", env="LVQA_OLD", key="first")
        with BatchRun(tmp_path, batched(fake, api_key_env="LVQA_NEW"), "r2", key="other") as run:
            assert answers(run.ask(ASKED)) == 0
            run.queue._queue._failed.clear()  # as after the death of its actor
            run.queue._queue._failures.clear()
            assert answers(run.ask(ASKED)) == 0
        assert len(fake.batches.made) == 1
