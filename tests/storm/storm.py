"""A run in a process group of its own, the processes that belong to it, and what must be true at its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from lvqa_ray.dataset.shards import read_rows
from lvqa_ray.storage.paths import storage_path
from tests import media
from tests.conftest import EXECUTOR, MODEL
from tests.fakes.endpoint import FakeEndpoint

LVQA = [sys.executable, "-c", "from lvqa_ray.cli import main; main()"]
PATIENCE_S = 400.0


def corpus(folder: Path, count: int, *, seconds: float = 2.0) -> list[Path]:
    """Short films, each another one."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"film{number:02d}.mp4" for number in range(count)]
    for number, path in enumerate(made):
        media.make_video(path, seconds=seconds, scenes=(0.3 + 1.4 * number / count,), size=(96, 54))
    return made


def job_file(folder: Path, fake: FakeEndpoint, videos: Sequence[Path | str], **settings: Any) -> Path:
    """A job of six calls a film."""
    at = {"base_url": fake.base_url, "model": MODEL, "api_key_env": None, **settings.pop("endpoint", {})}
    job = {
        "videos": [str(video) for video in videos],
        "output": str(folder / "out"),
        "endpoints": {"vlm": at, "llm": at},
        "split": {"max_seconds": 0.5},
        "sample": {"count": 2, "short_side": 54},
        "engine": {"num_cpus": 2, "passes": 5, "executor": EXECUTOR, **settings.pop("engine", {})},
        "ask": {"quota": {"goal": 1}},
        "checks": {"duplicates": {"corpus": False}},  # films made alike are asked alike
    }
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(job | settings))
    return path


class Run:
    """``lvqa run`` in a process group of its own, without a terminal.

    Args:
        job: The job file.
        command: What takes it, if not ``lvqa run``.
        cluster: Address of the Ray to use, if it is not to start one of its own.
    """

    def __init__(self, job: Path, command: Sequence[str] = LVQA, *, cluster: str = "") -> None:
        self._log = (job.parent / f"log-{time.monotonic_ns()}.txt").open("w+")
        words = [*command, "run", str(job)] if command is LVQA else [*command, str(job)]
        patient = os.environ | {"RAY_raylet_start_wait_time_s": "120"}  # the machine may have much else to do
        patient |= {"RAY_ADDRESS": cluster} if cluster else {}
        self._process = subprocess.Popen(words, stdout=self._log, stderr=self._log, start_new_session=True, env=patient)
        self.pid = self._process.pid

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
            self._process.wait()
        self._log.close()

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def signal(self, signum: int, *, group: bool = False) -> None:
        """Send a signal to the driver, or as a terminal does to its whole process group."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, signum)

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for something to come true; false if the run ended before."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            if self.over:
                return False
            assert time.monotonic() < until, self.said()
            time.sleep(0.02)
        return True

    def end(self) -> int:
        """Wait for the exit status."""
        try:
            return self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None

    def said(self) -> str:
        """What it has printed so far."""
        self._log.flush()
        return Path(self._log.name).read_text()

    def workers(self, name: str) -> list[int]:
        """Processes of its Ray whose title holds a name, such as that of the function or class that runs there."""
        return [pid for pid, title in below(self.pid).items() if name in title]


def below(root: int) -> dict[int, str]:
    """All descendants of a process, with their titles."""
    parents, titles = {}, {}
    for process in Path("/proc").iterdir():
        with suppress(OSError, IndexError):
            if process.name.isdigit():
                parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
                titles[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    found: dict[int, str] = {}
    for pid in parents:
        line = pid
        while line > 1 and line != root:
            line = parents.get(line, 0)
        if line == root and pid != root:
            found[pid] = titles.get(pid, "")
    return found


def check(job: Path, fake: FakeEndpoint, *, at_risk: int = 0, failures: Sequence[str] = ()) -> None:
    """Every video has one outcome, every record all its clips, and no answer was paid for again that was not lost.

    Args:
        job: The job file.
        fake: The endpoint.
        at_risk: How many requests may have been under way, from the wire to the disk, whenever a process died that had
            some, or the disk of the journal was full. The death of any other process costs none.
        failures: Videos that are to have failed.
    """
    settings = yaml.safe_load(job.read_text())
    output = storage_path(settings["output"])
    records = list(read_rows(output, "data"))
    failed = list(read_rows(output, "failures"))
    ids = Counter([*(row["video_id"] for row in records), *(row["id"] for row in failed)])
    assert ids == Counter(Path(video).stem for video in settings["videos"])
    assert sorted(row["id"] for row in failed) == sorted(failures)
    clips = Counter(row["video_id"] for row in read_rows(output, "clips"))
    assert all(row["num_clips"] == clips[row["video_id"]] for row in records)
    assert len({row["id"] for row in read_rows(output, "clips")}) == clips.total()
    assert all(row["caption"] for row in read_rows(output, "clips") if row["video_id"] not in failures)
    repeated = sum(times - 1 for times in fake.paid.values())
    said = f"{repeated} of {fake.paid.total()} answers were paid for twice, {fake.undelivered} were not delivered"
    print(f"{said}; {at_risk} were at risk")  # noqa: T201 - shown by -rP
    assert repeated <= at_risk, said
