"""A run from start to end: preflight checks, passes until all videos have an outcome, compaction, summary."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from itertools import count as count_up

from lvqa_ray.config import Job
from lvqa_ray.config.places import output_path, storage_options
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.compaction import compact_shards
from lvqa_ray.dataset.deduplication import drop_repeated_questions
from lvqa_ray.dataset.identities import Identities
from lvqa_ray.dataset.model_use import ModelUse, ModelUseLog
from lvqa_ray.dataset.outcomes import job_hashes, outcomes
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.resume import remaining, without_copies, without_outcome
from lvqa_ray.dataset.run_order import run_id_in
from lvqa_ray.dataset.run_state import is_finished, write_identities, write_job, write_rerun, write_run
from lvqa_ray.dataset.shards import fill_empty, write_shard
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.dataset.stored_manifest import manifest_time, with_stable_ids
from lvqa_ray.dataset.verify import verify
from lvqa_ray.engine.executors import Executor, ExecutorLost, KeysOfRoles, chosen, opened
from lvqa_ray.engine.paying import paying
from lvqa_ray.engine.preflight.validation import (
    check_addresses,
    check_benchmarks,
    check_endpoints,
    check_models,
    check_output,
    check_prices,
    check_prompts,
    check_whisper,
)
from lvqa_ray.engine.progress import ProgressReader, limits_per_minute
from lvqa_ray.engine.provenance import code_version, provenance_of
from lvqa_ray.engine.reporter import OnProgress, Reporter
from lvqa_ray.engine.run_summary import RunSummary
from lvqa_ray.engine.shutdown import GracefulShutdown
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.costs import spent, total
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.records import Failure, Video
from lvqa_ray.records.table_rows import failure_row
from lvqa_ray.storage.run_lock import RunLock, run_lock

__all__ = ["RunSummary", "run"]
CLOCKS_DIFFER_S = 60.0
"""Clocks may differ by this much (s), so the file time of a shard may be before that of the older manifest."""


def run(
    job: Job,
    on_progress: OnProgress | None = None,
    on_stop: Callable[[], None] | None = None,
    *,
    only: Collection[str] | None = None,
) -> RunSummary:
    """Run a job: process all videos without an outcome.

    In the main thread, the first SIGINT, SIGTERM or SIGHUP drains requests in flight; the second one stops immediately.

    ``engine.executor`` decides where the work is done: in this process and its decoders, or on Ray. A run on Ray starts
    a local one, unless one is running or RAY_ADDRESS names one, and shuts down only what it started.

    Args:
        job: The job.
        on_progress: Called every few seconds with the progress, in another thread.
        on_stop: Called after the first signal, in another thread.
        only: Process only videos that failed in the last run with one of these kinds of failure; empty for all failed
            videos. ``None`` for a normal run.

    Returns:
        The summary, also of a run that was halted.

    Raises:
        ConfigError: A fault was found before the first paid call.
        RunStopped: The output could not be read or written after the first paid call.
        Interrupted: A signal arrived outside a pass, or a second one.
    """
    started = time.time()
    folder = output_path(job)
    stop = GracefulShutdown(on_stop)
    with stop.listening(), Reporter(on_progress) as reporter:
        reporter.phase("the list of videos")
        videos = read_manifest(job.videos, job.limit, without=folder, access=storage_options(job.storage))
        check_prompts(job, videos)
        check_output(folder)
        with run_lock(folder) as hold:
            try:
                return _run(job, videos, started, reporter, only=only, hold=hold, stop=stop)
            except ConfigError:
                if hold.lost:  # another run has taken the lock, and rewrites the output
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
    if not todo:
        if only is None:
            write_job(folder, job, videos)
        write_identities(folder, identities)
        return _settled(job, videos, todo, run_id, started, reporter=reporter, hold=hold, stop=stop)
    kind = chosen(job, todo)
    name = "Ray" if kind == "ray" else "the executor"
    provenance = provenance_of(job, run_id)
    over_budget, used = False, list[ModelUse]()
    served: ModelUseLog | None = None
    try:
        with opened(kind)(job, todo, run_id, provenance) as executor:
            served = ModelUseLog(folder, run_id, executor.models)
            keys = _checked(job, todo, reporter)
            if only is None:
                write_job(folder, job, videos)
            else:
                write_rerun(folder, job, todo)
            write_identities(folder, identities)
            write_run(folder, job, None, run_id=run_id)
            reporter.phase(f"{name} to start")
            executor.connect(keys, reporter.step)
            hold.when_lost(executor.halt)
            with stop.listening(), paying(folder, hold):  # again: `ray.init` replaces the handlers
                longest_s = max(
                    at.attempt_timeout_s for role in job.endpoints.roles for at in job.endpoints.endpoints_of(role)
                )
                with stop.draining(executor.halt, longest_s):
                    halted = _passes(
                        job, todo, executor, run_id, provenance, served=served, reporter=reporter, hold=hold, stop=stop
                    )
                over_budget = executor.over_budget()
            reporter.phase(f"{name} to shut down")
    except ExecutorLost as lost:
        halted = str(lost)
    finally:  # also of a run that ends with an error: the GPUs were held
        if served is not None:
            used = served.write()
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
            used=used,
            halted=halted,
            over_budget=over_budget,
        )


def _checked(job: Job, todo: Videos, reporter: Reporter) -> KeysOfRoles:
    """Check what can be checked before the first paid call; returns the keys of the endpoints."""
    reporter.phase("the endpoints to respond")
    check_prices(job)
    check_models(job)
    check_whisper(job)
    check_benchmarks(job, todo)
    check_addresses(job, todo)
    return check_endpoints(job)


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
    used: Sequence[ModelUse] = (),
    halted: str = "",
    over_budget: bool = False,
) -> RunSummary:
    """Compact and verify the output after the last pass, and summarize it."""
    folder = output_path(job)
    reporter.phase("the tables to be compacted and verified")
    if (todo or not is_finished(folder)) and not hold.lost:
        try:
            compact_shards(folder, run_id, job.engine.rows_per_shard)
            if not halted:
                drop_repeated_questions(folder, job.checks.duplicates, job.job_hash, run_id)
        except OSError as error:
            halted = halted or f"{folder} cannot be written: {error.strerror or error}."
    elif not hold.lost:
        with suppress(OSError):  # an output of an earlier release may lack these files, and be read-only
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
        models=used,
        halted=halted,
        seconds=round(time.time() - started, 1),
        verdict=verdict,
        over_budget=over_budget and bool(halted),
        signal=stop.signum if halted else 0,
        versions={name: version(name) for name in ("lvqa-ray", "ray", "av", "openai")} | {"code": code_version()},
    )
    # Do not overwrite run.json if nothing was done, or if another run took the lock.
    if (todo or not is_finished(folder)) and not hold.lost:
        try:
            hashes = None if verdict.problems else job_hashes(folder)
            write_run(folder, job, asdict(summary), run_id=run_id, finished=not halted, hashes=hashes)
        except ConfigError:
            if not halted:
                raise
    return summary


def _passes(
    job: Job,
    todo: Videos,
    executor: Executor,
    run_id: str,
    provenance: dict[str, str],
    *,
    served: ModelUseLog,
    reporter: Reporter,
    hold: RunLock,
    stop: GracefulShutdown,
) -> str:
    """Run passes until all videos have an outcome of this run; returns the reason if the run was halted, else empty.

    A pass after which requests wait for file batches is a round of batches, and does not count.
    """
    folder, passes, shards = output_path(job), job.engine.passes, count_up(1)

    def stopped_waiting() -> str:
        return hold.lost or ("a signal was received" if stop.signum else "")

    lost: list[Video] = []
    stats, limits = served.with_periodic_write(executor.stats), limits_per_minute(job.endpoints)
    watch = ProgressReader(folder, run_id, len(todo), stats, limits, machine=executor.machine)
    # Copies of a video wait until the first one is done: their replies then come from the journal.
    for videos in without_copies(todo):
        left, number = videos, 1
        while left and number <= passes:
            with reporter.watching(watch):
                stopped = executor.run_pass(left, f"part-{run_id}-{next(shards)}", in_parts=number == 1 < passes)
            reason = hold.lost or stopped or executor.why_halted()
            # Also after a spent budget: what is collected is reserved, and no later run would send it.
            on = not stopped and executor.wait_for_batches(stopped_waiting, reporter.phase)
            if reason := reason or hold.lost or executor.why_halted():
                return reason
            left = without_outcome(left, outcomes(folder), run_id)
            number += not on
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
