"""A disk that is full to the last byte while a run pays, with no room for ``run.json`` either."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.engine.run import run
from lvqa_ray.errors import RunStopped
from tests import media
from tests.conftest import JobMaker
from tests.fakes.endpoint import FakeEndpoint

AT_ONCE = 2


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own for the output."""
    (out := tmp_path / "out").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(out)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk needs the right to mount one")
    try:
        yield out
    finally:
        subprocess.run(["umount", "-l", out], check=True)


def fill(disk: Path) -> None:
    with suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


@pytest.mark.storm
def test_a_full_disk_stops_the_run_with_status_1_and_the_same_command_goes_on(
    small: Path, ray_session: None, make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path
) -> None:
    film = media.make_video(tmp_path / "a.mp4", seconds=4, scenes=(0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5))

    def after_three(_: dict[str, Any]) -> None:
        if fake.paid.total() >= 3:
            fill(small)

    fake.answer = after_three
    job = make_job(film, output=small, split={"max_seconds": 0.5}, endpoint={"max_concurrency": AT_ONCE})
    try:
        summary = run(job)
        status, why = summary.exit_status, summary.halted
    except RunStopped as stopped:
        status, why = 1, str(stopped)
    assert (status, "No space left on device" in why) == (1, True), why
    (small / "filler").unlink()
    fake.answer = None
    finished = run(job)
    assert (finished.records, finished.exit_status) == (1, 0)
    assert sum(times - 1 for times in fake.paid.values()) <= AT_ONCE
