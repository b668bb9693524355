"""One run in a folder at a time: on one machine by the operating system, across machines by a lease that expires."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from lvqa_ray.engine.run import run
from lvqa_ray.errors import ConfigError
from lvqa_ray.storage.lease import HeldLease, Lease, LeaseTakenError, LocalLeaseStore, lease_of
from lvqa_ray.storage.run_lock import run_lock
from tests import media
from tests.conftest import JobMaker
from tests.fakes.endpoint import FakeEndpoint

ELSEWHERE = replace(Lease.mine(), host="node-7", pid=17, kernel="another kernel", since="2026-01-01 00:00:00 UTC")


def silent_for(folder: Path, seconds: float) -> None:
    """Make the last sign of life so long ago."""
    (path,) = folder.glob(".lease-*")
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    with (
        run_lock(tmp_path),
        pytest.raises(ConfigError, match=rf"is in use by process {os.getpid()} on .* since .* UTC"),
    ):
        run_lock(tmp_path).__enter__()
    assert not list(tmp_path.glob(".lease-*"))
    with run_lock(tmp_path) as hold:
        assert not hold.lost


def test_a_run_on_another_machine_is_seen_until_it_is_silent_for_too_long(tmp_path: Path) -> None:
    LocalLeaseStore(tmp_path).put(ELSEWHERE, None)
    says = r"process 17 on node-7 since 2026-01-01 00:00:00 UTC, last heard of \d+ s ago; .* its hold ends in \d+ s"
    with pytest.raises(ConfigError, match=says), run_lock(tmp_path):
        pass
    silent_for(tmp_path, 3600)
    with run_lock(tmp_path) as hold:
        assert not hold.lost
    assert LocalLeaseStore(tmp_path).latest() is None


def test_a_run_that_was_killed_on_this_machine_is_not_waited_for(tmp_path: Path) -> None:
    held = "from lvqa_ray.storage.run_lock import run_lock; from pathlib import Path; import sys, time\n"
    held += "with run_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", held, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match=f"process {process.pid}"), run_lock(tmp_path):
            pass
        process.kill()
    before = LocalLeaseStore(tmp_path).latest()
    assert before is not None
    assert before.lease.pid == process.pid
    with run_lock(tmp_path) as hold:
        assert not hold.lost


def test_one_that_was_taken_over_learns_it_and_takes_nothing_away(tmp_path: Path) -> None:
    with run_lock(tmp_path, beat_s=0.02) as hold:
        LocalLeaseStore(tmp_path).put(ELSEWHERE, LocalLeaseStore(tmp_path).latest())
        until = time.monotonic() + 20
        while not hold.lost and time.monotonic() < until:
            time.sleep(0.02)
        assert "another run took the output folder over" in hold.lost
    latest = LocalLeaseStore(tmp_path).latest()
    assert latest is not None
    assert latest.lease == ELSEWHERE


def test_a_hold_that_cannot_be_written_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too large"), limited_to(0):
        run_lock(tmp_path).__enter__()
    assert not list(tmp_path.glob(".lease-*"))
    with run_lock(tmp_path):
        pass


class Unremovable(LocalLeaseStore):
    """Leases in a place that cannot be written any more when the hold ends."""

    def release(self, held: HeldLease) -> None:
        raise PermissionError(f"{held.version} stays")


def test_a_lease_that_could_not_be_removed_does_not_keep_its_own_process_out(tmp_path: Path) -> None:
    with run_lock(tmp_path, Unremovable(tmp_path)):
        pass
    (left,) = tmp_path.glob(".lease-*")
    assert lease_of(left.read_text()).ended


@contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Let this process write files of at most so many bytes: as on a full disk, a file is made and stays empty."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_signs_of_life_are_given(tmp_path: Path) -> None:
    with run_lock(tmp_path, beat_s=0.02):
        silent_for(tmp_path, 3600)
        until = time.monotonic() + 20
        while (latest := LocalLeaseStore(tmp_path).latest()) and latest.age_s > 60 and time.monotonic() < until:
            time.sleep(0.02)
        assert latest is not None
        assert latest.age_s < 60


def test_of_many_that_find_it_expired_one_wins(tmp_path: Path) -> None:
    stale = LocalLeaseStore(tmp_path).put(ELSEWHERE, None)
    won: list[HeldLease] = []
    start = threading.Barrier(8)

    def take() -> None:
        start.wait()
        with suppress(LeaseTakenError):
            won.append(LocalLeaseStore(tmp_path).put(Lease.mine(), stale))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    with pytest.raises(LeaseTakenError):
        LocalLeaseStore(tmp_path).renew(stale)
    latest = LocalLeaseStore(tmp_path).latest()
    assert latest is not None
    assert latest.lease == won[0].lease


def test_one_that_slept_between_looking_and_taking_takes_nothing(tmp_path: Path) -> None:
    first = LocalLeaseStore(tmp_path).put(ELSEWHERE, None)
    second = LocalLeaseStore(tmp_path).put(ELSEWHERE, first)  # which clears the first away
    with pytest.raises(LeaseTakenError):
        LocalLeaseStore(tmp_path).put(Lease.mine(), None)
    LocalLeaseStore(tmp_path).renew(second)


@pytest.mark.usefixtures("ray_session")
def test_a_run_that_was_taken_over_stops_in_its_midst(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lvqa_ray.engine.run.run_lock", partial(run_lock, beat_s=0.1))
    film = media.make_video(tmp_path / "film.mp4", seconds=10)
    job = make_job(film, split={"max_seconds": 0.2}, endpoint={"max_concurrency": 1})
    out = Path(job.output)

    def take_over(_: object) -> None:
        if sum(fake.paid.values()) == 1:
            LocalLeaseStore(out).put(ELSEWHERE, LocalLeaseStore(out).latest())
        time.sleep(0.3)

    fake.answer = take_over
    summary = run(job)
    assert "another run took the output folder over" in summary.halted
    assert (summary.exit_status, summary.unfinished) == (1, 1)
    assert sum(fake.paid.values()) < 40
    assert json.loads((out / "run.json").read_text())["summary"] is None, "it is the other one's"
