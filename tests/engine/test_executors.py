"""One contract for every executor: the same tables, nothing paid twice, the same ends of a run.

The storm tests and the other tests of whole runs take their executor from LVQA_TEST_EXECUTOR, see `tests.conftest`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.engine import executors
from lvqa_ray.engine.decoding.pool import DecodePool
from lvqa_ray.engine.executors import chosen
from lvqa_ray.engine.run import run
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.found_clips import clips_folder
from lvqa_ray.records import Clip, Row, Video
from lvqa_ray.stage.steps import VideoStep
from tests import media
from tests.conftest import JobMaker, tables
from tests.engine.test_hostile import signal_decoders
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import told
from tests.storm.storm import Run, check, corpus, job_file

KINDS = ("ray", "local")
OF_A_RUN = {"run_id", "created", "created_at", "code_version", "seconds", "usage", "answered_at"}
"""Columns that differ between two runs of the same job."""


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each executor; Ray is that of the session."""
    if request.param == "ray":
        pytest.importorskip("ray")
        request.getfixturevalue("ray_of_the_session")
    return str(request.param)


@pytest.fixture
def ray_of_the_session(ray_session: None) -> None:
    """The Ray of the session; the tests start none of their own."""


def engine(kind: str, **settings: Any) -> dict[str, Any]:
    return {"executor": kind, "num_cpus": 2, **settings}


def compared(job: Job) -> dict[str, list[dict[str, Any]]]:
    """The tables without what is of the run, in the order of their ids."""
    found = {}
    for table, rows in tables(job.output).items():
        kept = [{name: value for name, value in row.items() if name not in OF_A_RUN} for row in rows]
        text = [{name: str(value).replace(job.output, "OUT") for name, value in row.items()} for row in kept]
        found[table] = sorted(text, key=lambda row: sorted(row.items()))
    return found


@pytest.mark.usefixtures("ray_of_the_session")
@pytest.mark.parametrize(
    "settings",
    [
        {"split": {"max_seconds": 1.0}, "cut": {"mode": "copy"}, "checks": {"evidence": {"policy": "mark"}}},
        {"split": {"mode": "scenes", "max_seconds": 2.0}, "cut": {"mode": "exact"}, "ask": {"frames": 2}},
        {"analysis": {"tasks": ["analysis", "summary", "titles"]}, "ask": {"quota": {}}, "split": {"max_seconds": 1.0}},
    ],
    ids=["fixed", "scenes", "analysis"],
)
def test_both_write_the_same_tables(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path, settings: dict[str, Any]
) -> None:
    if "analysis" in settings:
        fake.answer = told
    films = corpus(tmp_path / "films", 3)
    (tmp_path / "text.mp4").write_text("This is no video.")
    twin = tmp_path / "twin.mp4"
    twin.write_bytes(films[0].read_bytes())
    manifest = tmp_path / "corpus.csv"
    files = (*films, tmp_path / "text.mp4", twin, tmp_path / "gone.mp4")
    manifest.write_text("\n".join(["video", *map(str, files)]))
    found, paid = [], []
    for kind in KINDS:
        job = make_job(manifest, output=tmp_path / kind, engine=engine(kind), **settings)
        before = fake.paid.total()
        summary = run(job)
        assert summary.records >= 3
        assert summary.failures.items() >= {"not_a_video": 1, "missing_file": 1}.items()
        found.append(compared(job))
        paid.append((fake.paid.total() - before, summary.records, summary.failures, summary.exit_status))
    assert paid[0] == paid[1], "each has its own journal"
    for table in found[0]:
        assert found[0][table] == found[1][table], table


@pytest.mark.parametrize("mode", ["fixed", "scenes"])
def test_consecutive_clips_are_decoded_in_one_go(
    make_job: JobMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Also the clips that an earlier run found with scene detection, and the tables stay the same."""
    film = media.make_video(tmp_path / "film.mp4", seconds=16, scenes=[3.0, 8.0], gop=100)
    settings = {"split": {"mode": mode, "max_seconds": 1.0}, "engine": engine("local")}
    first, again = (make_job(film, output=tmp_path / name, **settings) for name in ("first", "again"))
    assert run(first).records == 1
    found, known = (str(clips_folder(Path(job.output) / "cache")) for job in (first, again))
    shutil.copytree(found, known)
    together, rows = [], DecodePool.rows

    def recorded(pool: DecodePool, steps: Sequence[VideoStep], given: Sequence[Row], path: str | None = None) -> Any:
        together.append(sum(isinstance(row, Clip) for row in given))
        return rows(pool, steps, given, path)

    monkeypatch.setattr(DecodePool, "rows", recorded)
    assert run(again).records == 1
    runs = [clips for clips in together if clips]
    assert sum(runs) >= 15
    assert runs == sorted(runs, reverse=True)
    assert 3 <= runs[0] <= 4
    assert compared(first) == compared(again)


@pytest.mark.usefixtures("ray_of_the_session")
@pytest.mark.parametrize("first", KINDS)
def test_what_one_has_begun_the_other_finishes(tmp_path: Path, first: str) -> None:
    """The driver is killed in the middle, and the run goes on with the other executor."""
    import ray

    other = next(kind for kind in KINDS if kind != first)
    with FakeEndpoint(latency_s=0.5) as fake:
        job = job_file(
            tmp_path, fake, corpus(tmp_path / "films", 4), engine=engine(first), endpoint={"max_concurrency": 2}
        )
        cluster = str(ray.get_runtime_context().gcs_address) if first == "ray" else ""
        with Run(job, cluster=cluster) as going:
            assert going.wait_until(lambda: fake.paid.total() >= 6 and fake.in_flight > 0)
            going.signal(signal.SIGKILL)
            going.end()
        fake.latency_s = 0.0
        assert run(Job.load(job, [f"engine.executor={other}"])).exit_status == 0
        check(job, fake, at_risk=2)
        paid = fake.paid.total()
        assert run(Job.load(job, ["engine.executor=local"])).already_done == 4
        assert fake.paid.total() == paid


def test_ctrl_c_drains_and_the_second_signal_ends_at_once(tmp_path: Path) -> None:
    """On Ray `tests.storm.test_stop` does the same."""
    with FakeEndpoint(latency_s=1.0) as fake:
        job = job_file(
            tmp_path, fake, corpus(tmp_path / "films", 2), engine=engine("local"), endpoint={"max_concurrency": 2}
        )
        with Run(job) as going:
            assert going.wait_until(lambda: fake.paid.total() >= 2 and fake.in_flight > 0)
            going.signal(signal.SIGINT, group=True)
            assert going.end() == 130, going.said()
            assert "Traceback" not in going.said()
            assert "run the same command to resume" in going.said()
        assert fake.undelivered == 0
        paid = fake.paid.total()
        with Run(job) as going:
            assert going.wait_until(lambda: fake.paid.total() > paid and fake.in_flight > 0)
            fake.latency_s = 60.0  # nobody waits for that
            going.signal(signal.SIGTERM)
            assert going.wait_until(lambda: "when the requests in flight are answered" in going.said())
            going.signal(signal.SIGTERM)
            assert going.end() == 143, going.said()
            assert "Traceback" not in going.said()
            assert "destroyed" not in going.said()
        fake.latency_s = 0.0
        assert run(Job.load(job)).exit_status == 0
        check(job, fake, at_risk=2)  # at the second SIGTERM


def test_a_budget_stops_the_run_and_a_larger_one_finishes_it(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path, kind: str
) -> None:
    films = corpus(tmp_path / "films", 2)
    stopped = run(make_job(*films, split={"max_seconds": 1.0}, engine=engine(kind, max_requests=3)))
    assert (stopped.over_budget, stopped.exit_status, stopped.failures) == (True, 3, {})
    assert "engine.max_requests" in stopped.halted
    assert fake.asked == 3
    finished = run(make_job(*films, split={"max_seconds": 1.0}, engine=engine(kind)))
    assert (finished.exit_status, finished.records) == (0, 2)
    assert max(fake.paid.values()) == 1


def test_a_film_that_crashes_its_decoder_fails_alone(make_job: JobMaker, tmp_path: Path, kind: str) -> None:
    crashing = media.make_video(tmp_path / "crashing.mp4", seconds=30, size=(640, 360))
    job = make_job(*corpus(tmp_path / "films", 2), crashing, split={"mode": "scenes"}, engine=engine(kind))
    over = threading.Event()
    faults = threading.Thread(target=signal_decoders, args=({str(crashing): signal.SIGSEGV}, over))
    faults.start()
    try:
        summary = run(job)
    finally:
        over.set()
        faults.join()
    assert (summary.records, summary.failures, summary.exit_status) == (2, {"decoder_crashed": 1}, 0)


def test_a_bad_endpoint_is_found_before_anything_starts(make_job: JobMaker, tmp_path: Path, kind: str) -> None:
    at = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "api_key_env": None}
    job = make_job(*corpus(tmp_path / "films", 1), endpoints={"vlm": at, "llm": at}, engine=engine(kind))
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1"):
        run(job)


def test_a_refused_key_halts_and_a_retry_mends_what_failed(
    make_job: JobMaker, fake: FakeEndpoint, tmp_path: Path, kind: str
) -> None:
    films = corpus(tmp_path / "films", 2)

    def job(**settings: Any) -> Job:
        given = {"endpoint": {"max_concurrency": 1, "max_attempts": 1}, "engine": engine(kind), **settings}
        return make_job(*films, split={"max_seconds": 1.0}, **given)

    def nothing(body: dict[str, Any]) -> str | None:
        return "No question." if "ANSWER: <" in text_of(body) else None

    def after_two(body: dict[str, Any]) -> str | None:
        if fake.paid.total() >= 2:
            fake.api_key = "another key"
        return nothing(body)

    fake.answer = after_two
    stopped = run(job())
    assert (bool(stopped.halted), stopped.unfinished, stopped.failures, stopped.exit_status) == (True, 2, {}, 1)
    fake.api_key = None
    fake.answer = nothing
    assert run(job()).failures == {"no_question": 2}
    fake.answer = None
    captions = sum("caption" in name for name in os.listdir(f"{job().output}/cache"))  # noqa: PTH208
    mended = run(job(engine=engine(kind, retry_failures=True)), only=["no_question"])
    assert (mended.records, mended.failures, mended.exit_status) == (2, {}, 0)
    assert "caption" not in mended.spent
    assert captions


def test_a_run_loads_what_it_uses(tmp_path: Path) -> None:
    """A small run loads no Ray; one with nothing to do loads no client either, and leaves its report."""
    program = "import sys\nfrom lvqa_ray.cli import main\ntry:\n    main()\nexcept SystemExit as ended:\n"
    program += "    assert not ended.code, ended\nprint('loaded', *sorted({'ray', 'openai'} & set(sys.modules)))"
    said = []
    with FakeEndpoint() as fake:
        job = job_file(tmp_path, fake, corpus(tmp_path / "films", 1), engine={"executor": "auto"})
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", program, "run", str(job)],
                capture_output=True,
                text=True,
                check=True,
                env=alone(),
            )
            said.append(done.stdout.splitlines()[-1])
            said.append(str((tmp_path / "out" / "report.html").stat().st_mtime_ns))
    assert (said[0], said[2]) == ("loaded openai", "loaded")
    assert said[1] == said[3]


def alone() -> dict[str, str]:
    """The environment without the address of a cluster."""
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}


def test_auto_takes_ray_for_a_cluster_for_its_settings_and_for_large_runs(
    make_job: JobMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = media.make_video(tmp_path / "film.mp4", seconds=1)
    monkeypatch.setattr(executors, "_has_ray", lambda: bool(os.environ.get("RAY_ADDRESS")))  # the session has one

    def of(*videos: Path | str, name: str = "auto", stage: Any = (), **settings: Any) -> str:
        job = make_job(*videos, engine={"executor": name, **settings}, **dict(stage))
        return chosen(job, Videos.of(Video(id=str(uri), uri=str(uri), fingerprint="f") for uri in videos))

    assert of(film) == "local"
    assert of(film, name="ray") == "ray"
    assert of(film, chat_workers=2) == of(film, video_memory_gb=1.0) == "ray"
    assert of(*(f"s3://films/{number}.mp4" for number in range(16))) == "local"
    assert of(*(f"s3://films/{number}.mp4" for number in range(17))) == "ray"
    large = tmp_path / "large.mp4"
    with large.open("wb") as file:
        file.truncate(executors.SMALL_BYTES)
    assert of(large) == "local"
    assert of(large, film) == "ray"
    large_scenes = {"split": {"mode": "scenes"}}
    assert of(large, stage=large_scenes) == "ray", "which reads its parts at the same time"
    assert (of(large, num_cpus=1, stage=large_scenes), of(film, stage=large_scenes)) == ("local", "local")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert (of(film), of(film, name="local")) == ("ray", "local")
