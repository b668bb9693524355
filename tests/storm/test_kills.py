"""Processes and nodes die, disks fill up, files crash the decoder: nothing is lost, and nothing is paid for twice."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from tests import media
from tests.conftest import EXECUTOR
from tests.engine.test_hostile import signal_decoders
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.files import bucket, s3_server
from tests.storm.storm import Run, check, corpus, job_file

pytestmark = [pytest.mark.storm, pytest.mark.timeout(1200)]

ASKING = ("FlatMap(VideoChatActor)", "FlatMap(ChatActor)")
"""Processes that have requests under way."""
A_PROCESS_EACH = ("FlatMap(ChatActor)", "FlatMap(ClipAssembler)")
"""Processes of a run that has one for each phase; by default one does all that asks."""
AT_ONCE = 3
"""Requests that may be under way at once."""


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return corpus(tmp_path_factory.mktemp("films"), 8)


@pytest.fixture
def fake() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(latency_s=0.5, jitter_s=0.5) as endpoint:
        yield endpoint


@pytest.fixture
def bucket_of_films(films: list[Path], tmp_path: Path) -> Iterator[list[str]]:
    with s3_server(tmp_path) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        files = bucket(there)
        files.mkdir("films")
        for film in films:
            files.put_file(str(film), f"films/in/{film.name}")
        yield [f"s3://films/in/{film.name}" for film in films]


def paid_for(fake: FakeEndpoint, answers: int) -> bool:
    return fake.paid.total() >= answers


def finish(job: Path, *, most: int = 3) -> None:
    """Run the same command until it is done."""
    for _ in range(most):
        with Run(job) as run:
            status = run.end()
            said = run.said()
        assert "Traceback" not in said, said
        if status == 0:
            return
    raise AssertionError(said)


def test_the_driver_is_killed_ten_times(tmp_path: Path, films: list[Path], fake: FakeEndpoint) -> None:
    fake.latency_s = 1.5  # so slow that ten kills find work to interrupt
    job = job_file(tmp_path, fake, films, endpoint={"max_concurrency": AT_ONCE})
    dice = random.Random(5)  # noqa: S311 - chance that can be repeated is the point
    for kills in range(10):
        with Run(job) as run:
            paid = fake.paid.total()
            if kills % 2:  # in the middle of the work, or at any moment of starting up
                run.wait_until(partial(paid_for, fake, paid + 1))
                time.sleep(dice.uniform(0, 2))
            else:
                time.sleep(dice.uniform(0, 8))
            assert not run.over, run.said()
            run.signal(signal.SIGKILL)
            run.end()
    finish(job)
    check(job, fake, at_risk=10 * AT_ONCE)


@pytest.mark.skipif(EXECUTOR == "local", reason="it has no workers")
@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("FlatMap(VideoChatActor)", (2, 10, 20)),
        ("FlatMap(decode_task)", (0, 1, 2)),  # while there is still something to decode
        ("RateLimiterActor", (2, 10, 20)),
        ("FlatMap(ChatActor)", (2, 10, 20)),
        ("FlatMap(ClipAssembler)", (2, 10, 20)),
    ],
)
def test_a_worker_is_killed_three_times(
    tmp_path: Path, films: list[Path], fake: FakeEndpoint, name: str, when: tuple[int, ...]
) -> None:
    settings = {"num_cpus": 2, "passes": 5, "chat_workers": 1 if name in A_PROCESS_EACH else None}
    job = job_file(tmp_path, fake, films, endpoint={"max_concurrency": AT_ONCE}, engine=settings)
    with Run(job) as run:
        for after in when:
            assert run.wait_until(partial(paid_for, fake, after)), run.said()
            assert run.wait_until(lambda: bool(run.workers(name))), run.said()
            for pid in run.workers(name):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        status = run.end()
        said = run.said()
    assert "Traceback" not in said, said
    if status:
        finish(job)
    check(job, fake, at_risk=AT_ONCE * len(when) if name in ASKING else 0)


@pytest.mark.skipif(EXECUTOR == "local", reason="it has no nodes")
def test_a_node_goes_of_a_cluster_that_shares_no_disk(
    tmp_path: Path, films: list[Path], fake: FakeEndpoint, bucket_of_films: Sequence[str]
) -> None:
    job = job_file(
        tmp_path,
        fake,
        bucket_of_films,
        output="s3://films/out",
        cut={"mode": "copy"},
        endpoint={"max_concurrency": AT_ONCE},
        engine={"passes": 5, "chat_workers": 3},
    )
    with Run(job, [sys.executable, "-m", "tests.storm.cluster"]) as run:
        assert run.wait_until(lambda: fake.paid.total() >= 10)
        run.signal(signal.SIGUSR1)
        assert run.wait_until(lambda: "a node is gone" in run.said())
        status = run.end()
        said = run.said()
    if status:
        finish(job)
    assert "2 nodes" in said, said
    assert re.search("fetched to [23] disks", said), said
    # What was under way, and what had been answered in the second before it goes to the bucket.
    check(job, fake, at_risk=3 * AT_ONCE)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system of its own in a folder, which needs root."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(("place", "size"), [("cache", "16k"), ("data", "16k"), ("clips", "4k")])
def test_a_disk_is_full(tmp_path: Path, films: list[Path], fake: FakeEndpoint, place: str, size: str) -> None:
    job = job_file(tmp_path, fake, films, endpoint={"max_concurrency": AT_ONCE})
    with small_disk(tmp_path / "out" / place, size):
        with Run(job) as run:
            assert run.end() == 1, run.said()
            assert "No space left on device" in run.said()
            assert "Traceback" not in run.said()
        subprocess.run(["mount", "-o", "remount,size=16m", tmp_path / "out" / place], check=True)
        finish(job)
        check(job, fake, at_risk=AT_ONCE if place == "cache" else 0)


def test_files_that_crash_or_fill_the_decoder(tmp_path: Path, films: list[Path], fake: FakeEndpoint) -> None:
    crashing = media.make_video(tmp_path / "crashing.mp4", seconds=30, size=(640, 360))
    bomb = media.make_bomb(tmp_path / "bomb.mov")
    good = [*films, *corpus(tmp_path / "more", 21, seconds=2.2)[9:]]  # none like another
    engine = {"num_cpus": 2, "passes": 5, "decode_memory_gb": 0.3}
    videos = [*good[:7], crashing, *good[7:14], bomb, *good[14:]]
    blind = {"policy": "mark"}  # of so many questions the endpoint's guesses would drop one by chance
    split = {"mode": "scenes", "max_seconds": 2.0}
    job = job_file(
        tmp_path, fake, videos, engine=engine, split=split, checks={"blind": blind, "duplicates": {"corpus": False}}
    )
    over = threading.Event()
    faults = threading.Thread(target=signal_decoders, args=({str(crashing): signal.SIGSEGV}, over))
    faults.start()
    try:
        finish(job, most=1)
    finally:
        over.set()
        faults.join()
    check(job, fake, failures=["bomb", "crashing"])
