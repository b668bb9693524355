"""A run from start to end: check, pass over what has no outcome yet until all have one, settle, sum up."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ray

from lvqa_ray.config import Job
from lvqa_ray.engine.governor import Traffic
from lvqa_ray.engine.graph import run_pass
from lvqa_ray.engine.lines import Lines, start_lines, traffic, why_halted
from lvqa_ray.engine.lock import lock
from lvqa_ray.engine.manifest import read_manifest
from lvqa_ray.engine.preflight import check_endpoints, check_output, check_prices, check_prompts
from lvqa_ray.engine.purse import start as start_purse
from lvqa_ray.engine.resume import outcomes, remaining, settle
from lvqa_ray.engine.sink import TableSink
from lvqa_ray.engine.tables import read_rows, write_shard
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.ledger import Spent, spent, total
from lvqa_ray.llm.segments import LocalSegments
from lvqa_ray.records import Failure, Video, shown
from lvqa_ray.records.tables import failure_line

EVERY_S = 2.0
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended.

    Attributes:
        videos: Videos of the manifest.
        already_done: Those that needed nothing, from an earlier run.
        records: Those that have a record now.
        failures: Those that have a failure now, by kind.
        retryable: How many of the failures a rerun may mend.
        unfinished: Those with no outcome, because the run was halted.
        clips: Clips in the table of clips.
        spent: What this run paid for, by stage; answers from the journal are not among it.
        spent_by_model: The same by stage and model.
        halted: Why the run stopped before its end, or empty.
        over_budget: Whether that was ``engine.max_cost`` or ``engine.max_requests``.
        seconds: How long it took.
    """

    output: str
    run_id: str
    job_hash: str
    videos: int
    already_done: int
    records: int
    failures: dict[str, int]
    retryable: int
    unfinished: int
    clips: int
    spent: dict[str, Spent]
    spent_by_model: dict[str, dict[str, Spent]]
    halted: str
    seconds: float
    over_budget: bool = False
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0: every video has a record or a fault of its own; 1: a rerun may do better; 3: the budget is spent."""
        if self.over_budget:
            return 3
        return 1 if self.retryable or self.unfinished or self.halted else 0


Progress = Callable[[Mapping[str, Traffic]], None]
"""Takes the traffic of each endpoint, by its label."""


def run(job: Job, on_progress: Progress | None = None) -> RunSummary:
    """Do all of a job that is not done yet.

    Starts a Ray of its own unless one is running or RAY_ADDRESS names one, and shuts down only what it started.

    Args:
        job: The job.
        on_progress: Called every few seconds with the traffic of each endpoint.

    Returns:
        What became of the videos, also when the run was halted.

    Raises:
        ConfigError: Something is wrong that was found before the first paid call.
    """
    started = time.monotonic()
    folder = Path(job.output)
    videos = read_manifest(job.videos, job.limit, without=folder)
    check_prompts(job, videos)
    check_output(folder)
    with lock(folder):
        return _run(job, videos, started, on_progress)


def _run(job: Job, videos: Sequence[Video], started: float, on_progress: Progress | None) -> RunSummary:
    folder = Path(job.output)
    todo = remaining(videos, outcomes(folder), job.job_hash, retry_failures=job.engine.retry_failures)
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    halted, over_budget = "", False
    if todo:
        check_prices(job)
        keys = check_endpoints(job)
        _write_json(folder / "run.json", _report(job, None))
        with _ray(job):
            purse = start_purse(job, run_id)
            halted = _passes(job, todo, start_lines(job, keys, folder / "cache", purse), run_id, on_progress)
            over_budget = purse is not None and bool(ray.get(purse.exhausted.remote()))
        settle(folder, run_id, job.engine.rows_per_shard)
    seconds = time.monotonic() - started
    summary = _summary(job, videos, len(videos) - len(todo), run_id, halted=halted, seconds=seconds)
    summary = replace(summary, over_budget=over_budget and bool(halted))
    if todo or not (folder / "run.json").exists():  # a run that had nothing to do does not hide the one that had
        _write_json(folder / "run.json", _report(job, summary))
    return summary


def _passes(job: Job, todo: list[Video], lines: Lines, run_id: str, on_progress: Progress | None) -> str:
    """Pass over the videos until all have an outcome of this run; gives the reason if the run was halted."""
    folder = Path(job.output)
    left = todo
    for number in range(1, job.engine.passes + 1):
        sink = TableSink(folder, job.job_hash, run_id, f"part-{run_id}-{number}")
        stopped = ""
        with _watching(lines, on_progress):
            try:
                run_pass(job, left, sink, lines, run_id)
            except ray.exceptions.RayError as error:
                stopped = _broken(error)
        left = _without_outcome(left, folder, run_id)
        if reason := stopped or sink.broken or why_halted(lines):
            return reason
        if not left:
            return ""
    lost = [
        Failure(
            video=video,
            stage="engine",
            kind="worker_crashed",
            message=f"the worker died in each of {job.engine.passes} passes; the file may crash the decoder",
            attempts=job.engine.passes,
        )
        for video in left
    ]
    provenance = {"job_hash": job.job_hash, "run_id": run_id}
    try:
        write_shard(folder, "failures", f"part-{run_id}-lost", [failure_line(row) | provenance for row in lost])
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror or error}."
    return ""


def _broken(error: Exception) -> str:
    """Why Ray gave a pass up, in one sentence; only what the operating system says is quoted."""
    logger.error("a pass broke off", exc_info=error)
    cause = getattr(error, "cause", None) or error
    detail = f": {cause}" if isinstance(cause, OSError) else ""
    return f"the pass broke off ({type(cause).__name__}{detail}); Ray's logs have the details."


def _without_outcome(videos: Sequence[Video], folder: Path, run_id: str) -> list[Video]:
    done = outcomes(folder)
    return [video for video in videos if video.id not in done or done[video.id].run_id != run_id]


@contextmanager
def _ray(job: Job) -> Any:  # noqa: ANN401 - a generator that contextmanager wraps
    if ray.is_initialized():
        _check_cpus(job)
        yield
        return
    elsewhere = bool(os.environ.get("RAY_ADDRESS"))
    # Ray's core would print to the terminal that restarted actors may lose arguments that Ray Data in fact keeps.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    ray.init(
        # "local": a Ray that happens to run on this machine is somebody else's.
        address=None if elsewhere else "local",
        num_cpus=None if elsewhere else job.engine.num_cpus or os.cpu_count(),
        include_dashboard=None if elsewhere else False,
        logging_level=logging.ERROR,
        log_to_driver=False,
    )
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        _check_cpus(job)
        yield
    finally:
        ray.shutdown()


def _check_cpus(job: Job) -> None:
    """Refuse a task that fits on no node: Ray would wait for one for ever."""
    nodes: Any = ray.nodes  # it has no types
    most = max((node["Resources"].get("CPU", 0.0) for node in nodes() if node["Alive"]), default=0.0)
    if job.engine.video_cpus > most:
        raise ConfigError(f"engine.video_cpus is {job.engine.video_cpus:g}, and the largest node has {most:g} cores.")


@contextmanager
def _watching(lines: Lines, on_progress: Progress | None) -> Any:  # noqa: ANN401 - as above
    """Report the traffic every few seconds from a thread, for as long as the pass runs."""
    if on_progress is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(EVERY_S):
            on_progress(traffic(lines))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        on_progress(traffic(lines))


def _summary(
    job: Job, videos: Sequence[Video], already_done: int, run_id: str, *, halted: str, seconds: float
) -> RunSummary:
    folder = Path(job.output)
    wanted = {video.id: (video.fingerprint, video.input_hash) for video in videos}
    done = {
        video_id: outcome
        for video_id, outcome in outcomes(folder).items()
        if wanted.get(video_id) == (outcome.fingerprint, outcome.input_hash) and outcome.job_hash == job.job_hash
    }
    failures = [
        row for row in read_rows(folder, "failures", ["id", "kind"]) if row["id"] in done and done[row["id"]].failed
    ]
    records = sum(not outcome.failed for outcome in done.values())
    bill = spent(LocalSegments(folder / "cache", make=False), run_id)
    return RunSummary(
        output=str(folder),
        run_id=run_id,
        job_hash=job.job_hash,
        videos=len(videos),
        already_done=already_done,
        records=records,
        failures=dict(Counter(row["kind"] for row in failures).most_common()),
        retryable=sum(outcome.retryable for outcome in done.values()),
        unfinished=len(videos) - len(done),
        clips=sum(1 for row in read_rows(folder, "clips", ["video_id"]) if row["video_id"] in done),
        spent={stage: total(models.values()) for stage, models in bill.items()},
        spent_by_model=bill,
        halted=halted,
        seconds=round(seconds, 1),
        versions={name: version(name) for name in ("lvqa-ray", "ray", "av", "openai")},
    )


def _report(job: Job, summary: RunSummary | None) -> dict[str, Any]:
    return {
        "job": job.model_dump(mode="json") | {"videos": [shown(video) for video in job.videos]},
        "job_hash": job.job_hash,
        "finished": summary is not None and not summary.halted,
        "summary": asdict(summary) if summary else None,
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None
