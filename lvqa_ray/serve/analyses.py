"""Job manager of the service: runs a limited number of analyses, publishes their events and stores their results."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache, output_path, storage_options
from lvqa_ray.corpus.video_ids import named_after
from lvqa_ray.dataset.identities import identified
from lvqa_ray.engine.local.analysis_document import AnalysisDocument
from lvqa_ray.engine.local.analysis_store import AnalysisStore
from lvqa_ray.engine.local.executor import LocalExecutor
from lvqa_ray.records import Analysis, CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo, Row, Video, redact_url
from lvqa_ray.serve.addresses import checked
from lvqa_ray.serve.analysis_request import AnalysisRequest, job_for
from lvqa_ray.serve.invalid import RefusedError, invalid
from lvqa_ray.storage.ssrf import SsrfGuard

GROWTH = 1.1
"""Growth factor of the captions between two progress events. Each event holds all results so far, so sending one per
caption would make the total size quadratic."""
STARTED, BEGUN, GROWN = "task-started", "task-progress-start-generating", "task-progress-generating"
MADE = "result-generated"
FINISHED, FAILED = "task-finished", "task-failed"
OVER = (FINISHED, FAILED)
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Running:
    """An analysis that runs or has run in this process, with its event log.

    Attributes:
        analysis: The results so far.
        events: Name and subject of all events so far.
        changed: Set and then replaced when an event is added.
    """

    analysis: AnalysisDocument
    events: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None
    reported_captions: int = 0

    @property
    def over(self) -> bool:
        """Whether the last event has been added."""
        return bool(self.events) and self.events[-1][0] in OVER

    def emit(self, name: str, about: str = "") -> None:
        """Add an event and wake the clients that wait for it."""
        if not self.over:
            self.events.append((name, about))
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()

    def add(self, row: Row | Analysis) -> None:
        """Add a row to the results, and emit an event if the row is worth one."""
        self.analysis.add(row)
        match row:
            case ProbedVideo():
                self.emit(BEGUN, "video")
            case Clip() if row.index == 0 and row.heard:
                self.emit(MADE, "speech")
            case CaptionedClip() if len(self.analysis.captions) >= GROWTH * self.reported_captions:
                self.reported_captions = len(self.analysis.captions)
                self.emit(GROWN, "analysis")
            case CaptionedVideo():
                self.emit(MADE, "analysis")
            case Analysis() if row.task != "analysis" and row.failure is None:
                self.emit(MADE, row.task)

    async def wait_events(self, since: int, within_s: float) -> list[tuple[str, str]]:
        """Wait for events from this index on; an empty list after the timeout."""
        changed = self.changed
        if len(self.events) <= since and not self.over:
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), within_s)
        return self.events[since:]


class AnalysisRuns:
    """Starts, finds and stops analyses.

    Args:
        job: Settings shared by all analyses.

    Raises:
        ConfigError: The environment variable of an API key is not set.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._settings = job.serve
        self._executor = LocalExecutor(job)
        self._storage = replace(storage_options(job.storage), guard=SsrfGuard(job.serve.networks))
        most = round(job.serve.max_gb * 2**30)
        self._downloads = replace(download_cache(job), access=self._storage, largest=(most, "serve.max_gb"))
        self._slots = asyncio.Semaphore(job.serve.at_once)
        self._running: dict[str, Running] = {}

    def store(self, workspace: str) -> AnalysisStore:
        """The stored results of a workspace."""
        return AnalysisStore(output_path(self._job), self._settings.kept_days, workspace)

    def forget(self) -> None:
        """Remove expired results."""
        served = output_path(self._job) / "served"
        with suppress(OSError):
            for workspace in [*served.iterdir()]:
                self.store(workspace.name).forget()

    async def start(self, wanted: AnalysisRequest, workspace: str) -> Running:
        """Start an analysis.

        Raises:
            RefusedError: The request is not valid, or the queue is full.
        """
        if len(self._running) >= self._settings.at_once + self._settings.waiting:
            raise RefusedError("Throttling", "Too many analyses wait for their turn; try again later.", 429)
        before = await self._before(wanted, workspace)
        if before:
            wanted = wanted.on(before["asked"])
        elif wanted.video is None:
            days = f"{self._settings.kept_days:g} days"
            gone = f"There is no such earlier session, or it is older than {days}: name the video."
            raise invalid(gone if wanted.base else "No video is named.")
        uri = await self._address(wanted, before)
        job = job_for(wanted, self._job, uri)
        task = wanted.task or str(uuid.uuid4())
        known = before["video"]["fingerprint"] if before and before["video"]["uri"] == redact_url(uri) else ""
        video = Video(id=named_after(uri), uri=uri, fingerprint=known)
        asked = wanted.model_dump(mode="json", exclude_unset=True) | {"video": redact_url(uri)}
        analysis = AnalysisDocument(
            task=task, session=str(uuid.uuid4()), video=video, tasks=job.analysis.wanted, asked=asked
        )
        running = Running(analysis)
        self._running[analysis.session] = running
        running.emit(STARTED)
        running.work = asyncio.create_task(self._run(running, job, self.store(workspace)))
        return running

    def find(self, session: str) -> Running | None:
        """Find an analysis that runs in this process."""
        return self._running.get(session)

    async def stop(self, running: Running) -> None:
        """Stop an analysis; paid replies are kept."""
        if running.work is not None:
            running.work.cancel()
            await asyncio.wait([running.work])
        if not running.over:  # it was cancelled before it started
            running.analysis.state = "stopped"
            self._running.pop(running.analysis.session, None)
            running.emit(FAILED)

    async def aclose(self) -> None:
        """Stop all analyses."""
        await asyncio.gather(*(self.stop(running) for running in [*self._running.values()]))
        await self._executor.aclose()

    async def _before(self, wanted: AnalysisRequest, workspace: str) -> dict[str, Any] | None:
        if not wanted.base or not wanted.task:
            return None
        return await asyncio.to_thread(self.store(workspace).load, wanted.task, wanted.base)

    async def _address(self, wanted: AnalysisRequest, before: dict[str, Any] | None) -> str:
        uri = wanted.video or ""
        if before and uri == before["video"]["uri"] and uri.startswith(("http://", "https://")):
            return uri  # checked before; the SSRF guard checks a download again
        return await asyncio.to_thread(checked, uri, self._settings)

    async def _run(self, running: Running, job: Job, store: AnalysisStore) -> None:
        analysis = running.analysis
        try:
            async with self._slots, aclosing(self._rows(job, analysis)) as rows:
                async for row in rows:
                    running.add(row)
                    if isinstance(row, CaptionedVideo | Analysis):
                        await asyncio.to_thread(store.save, analysis.document())
        except asyncio.CancelledError:
            analysis.state = "stopped"
        except Exception as error:
            logger.exception("an analysis failed")
            failure = Failure(
                video=analysis.video,
                stage="service",
                kind="internal_error",
                message=f"{type(error).__name__}; the service's log has the details",  # its text may hold secrets
                retryable=True,
            )
            running.add(failure)
        finally:
            try:
                store.save(analysis.document())
            except OSError:  # the client still gets the result, and the journal has the paid replies
                logger.exception("the result of %s could not be saved", analysis.session)
            self._running.pop(analysis.session, None)
            running.emit(FINISHED if analysis.state == "done" else FAILED)

    async def _rows(self, job: Job, analysis: AnalysisDocument) -> AsyncGenerator[Row | Analysis, None]:
        video = analysis.video
        if not video.fingerprint:
            video = await asyncio.to_thread(identified, video, output_path(self._job), self._storage)
            analysis.video = video
        gb = await asyncio.to_thread(_gb, video.uri)
        if gb > self._settings.max_gb:
            why = f"it has {gb:.2f} GB, and serve.max_gb is {self._settings.max_gb:g}"
            yield _refused(video, "too_large", why)
            return
        async with aclosing(self._executor.rows(job, video, self._downloads)) as rows:
            async for row in rows:
                yield row
                if isinstance(row, ProbedVideo) and row.info.duration_sec > 60 * self._settings.max_minutes:
                    minutes = row.info.duration_sec / 60
                    why = f"it lasts {minutes:.1f} min, and serve.max_minutes is {self._settings.max_minutes:g}"
                    yield _refused(video, "too_long", why)
                    return


def _refused(video: Video, kind: str, why: str) -> Failure:
    return Failure(video=video, stage="service", kind=kind, message=f"{redact_url(video.uri)}: {why}.")


def _gb(path: str) -> float:
    """Size of a local file (GiB); 0 for a missing file, which the probe reports."""
    try:
        return Path(path).stat().st_size / 2**30
    except OSError:
        return 0.0
