"""A run from start to end: check, pass over what has no outcome yet until all have one, settle, sum up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version

import ray

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path, storage_options
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.deduplication import drop_repeated_questions
from lvqa_ray.dataset.identities import Identities
from lvqa_ray.dataset.outcomes import job_hashes, outcomes
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.resume import remaining, without_copies, without_outcome
from lvqa_ray.dataset.run_order import run_id_in
from lvqa_ray.dataset.run_state import is_finished, write_identities, write_job, write_rerun, write_run
from lvqa_ray.dataset.shards import fill_empty, write_shard
from lvqa_ray.dataset.statistics.audit import Audit
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.dataset.statistics.question_counts import Funnel
from lvqa_ray.dataset.stored_manifest import manifest_time, with_stable_ids
from lvqa_ray.dataset.verify import VerifyResult, verify
from lvqa_ray.engine.paying import paying
from lvqa_ray.engine.preflight.validation import (
    check_addresses,
    check_endpoints,
    check_output,
    check_prices,
    check_prompts,
    check_whisper,
)
from lvqa_ray.engine.progress import ProgressReader
from lvqa_ray.engine.provenance import code_version, provenance_of
from lvqa_ray.engine.ray.budget_actor import start as start_budget
from lvqa_ray.engine.ray.datasink import TableSink
from lvqa_ray.engine.ray.endpoints import Lines, connect_endpoints, halt, why_halted
from lvqa_ray.engine.ray.graph import run_pass
from lvqa_ray.engine.ray.session.cluster import ray_session_for
from lvqa_ray.engine.ray.session.health import RayLost, watch_ray
from lvqa_ray.engine.ray.session.shared_disk import check_shared_disk
from lvqa_ray.engine.reporter import OnProgress, Reporter
from lvqa_ray.engine.shutdown import GracefulShutdown
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.costs import spent, total
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.records import Failure, Usage, Video
from lvqa_ray.records.table_rows import failure_row
from lvqa_ray.storage.run_lock import RunLock, run_lock

CLOCKS_DIFFER_S = 60.0
"""Seconds by which the time of a shard may be before that of the manifest, which was written first."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended.

    Attributes:
        videos: Videos of the manifest.
        already_done: Those that needed nothing, from an earlier run.
        records: Those that have a record now, or several; or results alone, if they are asked no questions.
        failures: Those that have a failure now, by kind.
        retryable: How many of the failures, and of those that lack a result of a task, a rerun may mend.
        unfinished: Those with no outcome, because the run was halted.
        clips: Clips in the table of clips.
        verdict: What the check at the end found.
        questions: What became of their questions.
        audit: What the output holds, measured against chance.
        spent: What this run paid for, by stage; answers from the journal are not among it.
        spent_by_model: The same by stage and model.
        halted: Why the run stopped before its end, or empty.
        over_budget: Whether that was ``engine.max_cost`` or ``engine.max_requests``.
        signal: Number of the signal that stopped it, or 0.
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
    questions: Funnel
    audit: Audit
    spent: dict[str, Usage]
    spent_by_model: dict[str, dict[str, Usage]]
    halted: str
    seconds: float
    verdict: VerifyResult
    over_budget: bool = False
    signal: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        """0: every video has a record or a fault of its own; 1: a rerun may do better; 3: the budget is spent.

        128 and the number of the signal where one stopped the run.
        """
        if self.signal:
            return 128 + self.signal
        if self.over_budget:
            return 3
        return 1 if self.retryable or self.halted or not self.verdict.ok else 0


def run(
    job: Job,
    on_progress: OnProgress | None = None,
    on_stop: Callable[[], None] | None = None,
    *,
    only: Collection[str] | None = None,
) -> RunSummary:
    """Do all of a job that is not done yet.

    In the main thread, Ctrl-C or SIGTERM lets it finish what is under way, and a second one stops it at once.

    Starts a Ray of its own unless one is running or RAY_ADDRESS names one, and shuts down only what it started.

    Args:
        job: The job.
        on_progress: Called every few seconds, in another thread, with how far the run has come.
        on_stop: Called, in another thread, when a signal asks to stop.
        only: Do again the videos of the last run that failed in one of these ways, and no others; all failed ones, if
            it is empty.

    Returns:
        What became of the videos, also when the run was halted.

    Raises:
        ConfigError: Something is wrong that was found before the first paid call.
        RunStopped: The output could not be read or written after the first paid call.
        Interrupted: A signal came where nothing was under way, or a second one.
    """
    started = time.time()
    folder = output_path(job)
    stop = GracefulShutdown(on_stop)
    with stop.listening(), Reporter(on_progress) as reporter:
        reporter.phase("the list of the videos")
        videos = read_manifest(job.videos, job.limit, without=folder, access=storage_options(job.storage))
        check_prompts(job, videos)
        check_output(folder)
        with run_lock(folder) as hold:
            try:
                return _run(job, videos, started, reporter, only=only, hold=hold, stop=stop)
            except ConfigError:
                if hold.lost:  # what could not be read is being rewritten by who has it now
                    raise ConfigError(f"{folder}: {hold.lost}") from None
                raise


def _run(
    job: Job,
    videos: Videos,
    started: float,
    reporter: Reporter,
    *,
    only: Collection[str] | None,
    hold: RunLock,
    stop: GracefulShutdown,
) -> RunSummary:
    folder = output_path(job)
    reporter.phase("the outcomes of earlier runs")
    done = outcomes(folder)
    identities = Identities(folder, done)
    videos = with_stable_ids(identities.identify(videos, storage_options(job.storage)), done, folder)
    todo = remaining(videos, done, job.job_hash, retry_failures=job.engine.retry_failures, only=only).videos
    try:
        run_id = run_id_in(folder, done)
    except OSError as error:
        raise ConfigError(f"{folder / 'cache'} cannot be read: {error.strerror or error}.") from None
    del done
    if todo:
        reporter.phase("the endpoints to answer")
        check_prices(job)
        check_whisper(job)
        check_addresses(job, todo)
        keys = check_endpoints(job)
    if only is None:
        write_job(folder, job, videos)
    elif todo:
        write_rerun(folder, job, todo)
    write_identities(folder, identities)
    if not todo:
        return _settled(job, videos, todo, run_id, started, reporter=reporter, hold=hold, stop=stop)
    write_run(folder, job, None, run_id=run_id)
    reporter.phase("Ray to start")
    over_budget = False
    try:
        # Anew, since Ray has its own way with signals.
        with ray_session_for(job), stop.listening(), watch_ray():
            check_shared_disk(folder, todo)
            purse = start_budget(job.engine, folder / "cache", run_id)
            lines = connect_endpoints(job, keys, folder / "cache", purse)
            hold.when_lost(partial(halt, lines))
            with paying(folder, hold):
                with stop.draining(partial(halt, lines), _patience_s(job)):
                    halted = _passes(job, todo, lines, run_id, reporter, hold=hold)
                over_budget = purse is not None and bool(ray.get(purse.exhausted.remote()))
            reporter.phase("Ray to shut down")
    except RayLost as lost:
        halted = str(lost)
    with paying(folder, hold, halted):
        return _settled(
            job,
            videos,
            todo,
            run_id,
            started,
            reporter=reporter,
            hold=hold,
            stop=stop,
            halted=halted,
            over_budget=over_budget,
        )


def _settled(
    job: Job,
    videos: Videos,
    todo: Videos,
    run_id: str,
    started: float,
    *,
    reporter: Reporter,
    hold: RunLock,
    stop: GracefulShutdown,
    halted: str = "",
    over_budget: bool = False,
) -> RunSummary:
    """Put the output in order after the last pass, and sum it up."""
    folder = output_path(job)
    reporter.phase("the tables to be put in order and checked")
    if (todo or not is_finished(folder)) and not hold.lost:
        try:
            compact_shards(folder, run_id, job.engine.rows_per_shard)
            if not halted:
                drop_repeated_questions(folder, job.checks.duplicates, job.job_hash, run_id)
        except OSError as error:
            halted = halted or f"{folder} cannot be written: {error.strerror or error}."
    elif not hold.lost:
        with suppress(OSError):  # an output of an earlier release may lack these files, and may be read only
            fill_empty(folder)
    verdict = verify(folder, since=manifest_time(folder) - CLOCKS_DIFFER_S, run_id=run_id)
    counted = count(OutputReader(folder), videos.ids)
    bill = spent(open_segments(folder / "cache", make=False), run_id)
    summary = RunSummary(
        output=str(folder),
        run_id=run_id,
        job_hash=job.job_hash,
        videos=verdict.videos,
        already_done=len(videos) - len(todo),
        records=verdict.records,
        failures=verdict.failures,
        retryable=verdict.retryable,
        unfinished=verdict.unfinished,
        clips=verdict.clips,
        questions=counted.selected,
        audit=counted.audit,
        spent={stage: total(models.values()) for stage, models in bill.items()},
        spent_by_model=bill,
        halted=halted,
        seconds=round(time.time() - started, 1),
        verdict=verdict,
        over_budget=over_budget and bool(halted),
        signal=stop.signum if halted else 0,
        versions={name: version(name) for name in ("lvqa-ray", "ray", "av", "openai")} | {"code": code_version()},
    )
    # One that had nothing to do does not hide the one that had; one that was taken over not the one that goes on.
    if (todo or not is_finished(folder)) and not hold.lost:
        try:
            hashes = None if verdict.problems else job_hashes(folder)
            write_run(folder, job, asdict(summary), run_id=run_id, finished=not halted, hashes=hashes)
        except ConfigError:
            if not halted:
                raise
    return summary


def _patience_s(job: Job) -> float:
    """How long a request may be under way."""
    return max(at.timeout_s for role in job.endpoints.roles for at in job.endpoints.replicas(role))


def _passes(job: Job, todo: Videos, lines: Lines, run_id: str, reporter: Reporter, *, hold: RunLock) -> str:
    """Pass over the videos until all have an outcome of this run; gives the reason if the run was halted."""
    folder, passes, provenance = output_path(job), job.engine.passes, provenance_of(job, run_id)
    lost: list[Video] = []
    watch = ProgressReader.of(folder, run_id, len(todo), lines)
    # Copies of a film wait until the first one is done: their answers then come from the journal.
    for part, videos in enumerate(without_copies(todo)):
        left = videos
        for number in range(1, passes + 1) if left else ():
            sink = TableSink(folder, provenance, f"part-{run_id}-{part * passes + number}")
            stopped = ""
            with reporter.watching(watch):
                try:
                    run_pass(job, left, sink, lines, run_id, in_parts=number == 1 < passes)
                except ray.exceptions.RayError as error:
                    stopped = _broken(error)
            if reason := hold.lost or stopped or sink.broken or why_halted(lines):
                return reason
            left = without_outcome(left, outcomes(folder), run_id)
            if not left:
                break
        lost += left
    message = f"the worker died in each of {passes} passes; the file may crash the decoder"
    failures = [
        Failure(video=video, stage="engine", kind="worker_crashed", message=message, attempts=passes) for video in lost
    ]
    try:
        write_shard(folder, "failures", f"part-{run_id}-lost", [failure_row(row) | provenance for row in failures])
    except OSError as error:
        return f"{folder} cannot be written: {error.strerror or error}."
    return ""


def _broken(error: Exception) -> str:
    """Why Ray gave a pass up, in one sentence; only what the operating system says is quoted."""
    logger.error("a pass broke off", exc_info=error)
    cause = getattr(error, "cause", None) or error
    detail = f": {cause}" if isinstance(cause, OSError) else ""
    return f"the pass broke off ({type(cause).__name__}{detail}); Ray's logs have the details."
