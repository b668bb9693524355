"""The analyses of a service: so many at work at once, each with its events, all of them kept for a while."""

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
from lvqa_ray.records import Analysis, CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo, Video, redact_url
from lvqa_ray.serve.addresses import checked
from lvqa_ray.serve.analysis_request import AnalysisRequest, job_for
from lvqa_ray.serve.invalid import RefusedError, invalid
from lvqa_ray.storage.ssrf import SsrfGuard

GROWTH = 1.1
"""Shots are told of when they are by so much more: events hold all that is known, and are not to add up to squares."""
STARTED, BEGUN, GROWN = "task-started", "task-progress-start-generating", "task-progress-generating"
MADE = "result-generated"
FINISHED, FAILED = "task-finished", "task-failed"
OVER = (FINISHED, FAILED)
logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Running:
    """An analysis that is being made, or has been in this process.

    Attributes:
        dossier: What is known by now.
        events: Name and subject of all events so far.
        news: Set, and then replaced by another, whenever there is one more.
    """

    dossier: AnalysisDocument
    events: list[tuple[str, str]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None
    told_shots: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return bool(self.events) and self.events[-1][0] in OVER

    def tell(self, name: str, about: str = "") -> None:
        """Add an event."""
        if not self.over:
            self.events.append((name, about))
            news, self.news = self.news, asyncio.Event()
            news.set()

    def add(self, row: Any) -> None:  # noqa: ANN401 - any of the frozen rows
        """Take a row in, and tell of it where it is worth an event."""
        self.dossier.add(row)
        match row:
            case ProbedVideo():
                self.tell(BEGUN, "video")
            case Clip() if row.index == 0 and row.heard:
                self.tell(MADE, "speech")
            case CaptionedClip() if len(self.dossier.captions) >= GROWTH * self.told_shots:
                self.told_shots = len(self.dossier.captions)
                self.tell(GROWN, "analysis")
            case CaptionedVideo():
                self.tell(MADE, "analysis")
            case Analysis() if row.task != "analysis" and row.failure is None:
                self.tell(MADE, row.task)

    async def heard(self, since: int, within_s: float) -> list[tuple[str, str]]:
        """The events from a number on, once there are some; none where none came in time."""
        news = self.news
        if len(self.events) <= since and not self.over:
            with suppress(TimeoutError):
                await asyncio.wait_for(news.wait(), within_s)
        return self.events[since:]


class AnalysisRuns:
    """Starts analyses, finds them again, and stops them.

    Args:
        job: Says what is the same for all of them.

    Raises:
        ConfigError: The variable of a key is not set.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._settings = job.serve
        self._analyst = LocalExecutor(job)
        self._access = replace(storage_options(job.storage), guard=SsrfGuard(job.serve.networks))
        most = round(job.serve.max_gb * 2**30)
        self._scratch = replace(download_cache(job), access=self._access, largest=(most, "serve.max_gb"))
        self._free = asyncio.Semaphore(job.serve.at_once)
        self._running: dict[str, Running] = {}

    def kept(self, workspace: str) -> AnalysisStore:
        """The documents of a workspace."""
        return AnalysisStore(output_path(self._job), self._settings.kept_days, workspace)

    def forget(self) -> None:
        """Remove the documents that are kept no longer."""
        served = output_path(self._job) / "served"
        with suppress(OSError):
            for workspace in [*served.iterdir()]:
                self.kept(workspace.name).forget()

    async def start(self, wanted: AnalysisRequest, workspace: str) -> Running:
        """Start an analysis.

        Raises:
            RefusedError: It cannot be made, or too many wait already.
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
        dossier = AnalysisDocument(
            task=task, session=str(uuid.uuid4()), video=video, tasks=job.analysis.wanted, asked=asked
        )
        running = Running(dossier)
        self._running[dossier.session] = running
        running.tell(STARTED)
        running.work = asyncio.create_task(self._made(running, job, self.kept(workspace)))
        return running

    def find(self, session: str) -> Running | None:
        """An analysis of this process, while it is being made."""
        return self._running.get(session)

    async def stop(self, running: Running) -> None:
        """Stop an analysis; what is paid for is kept."""
        if running.work is not None:
            running.work.cancel()
            await asyncio.wait([running.work])
        if not running.over:  # it had not come to its first step
            running.dossier.state = "stopped"
            self._running.pop(running.dossier.session, None)
            running.tell(FAILED)

    async def aclose(self) -> None:
        """Stop all of them."""
        await asyncio.gather(*(self.stop(running) for running in [*self._running.values()]))
        await self._analyst.aclose()

    async def _before(self, wanted: AnalysisRequest, workspace: str) -> dict[str, Any] | None:
        if not wanted.base or not wanted.task:
            return None
        return await asyncio.to_thread(self.kept(workspace).load, wanted.task, wanted.base)

    async def _address(self, wanted: AnalysisRequest, before: dict[str, Any] | None) -> str:
        uri = wanted.video or ""
        if before and uri == before["video"]["uri"] and uri.startswith(("http://", "https://")):
            return uri  # it was checked, and is only fetched if it has to be, under guard
        return await asyncio.to_thread(checked, uri, self._settings)

    async def _made(self, running: Running, job: Job, kept: AnalysisStore) -> None:
        dossier = running.dossier
        try:
            async with self._free, aclosing(self._rows(job, dossier)) as rows:
                async for row in rows:
                    running.add(row)
                    if isinstance(row, CaptionedVideo | Analysis):
                        await asyncio.to_thread(kept.save, dossier.document())
        except asyncio.CancelledError:
            dossier.state = "stopped"
        except Exception as error:
            logger.exception("an analysis broke off")
            failure = Failure(
                video=dossier.video,
                stage="service",
                kind="internal_error",
                message=f"{type(error).__name__}; the service's log has the details",  # its text may hold anything
                retryable=True,
            )
            running.add(failure)
        finally:
            try:
                kept.save(dossier.document())
            except OSError:  # whoever watches has it all the same, and the journal has what was paid for
                logger.exception("the result of %s could not be kept", dossier.session)
            self._running.pop(dossier.session, None)
            running.tell(FINISHED if dossier.state == "done" else FAILED)

    async def _rows(self, job: Job, dossier: AnalysisDocument) -> AsyncGenerator[Any, None]:
        video = dossier.video
        if not video.fingerprint:
            video = await asyncio.to_thread(identified, video, output_path(self._job), self._access)
            dossier.video = video
        gb = await asyncio.to_thread(_gb, video.uri)
        if gb > self._settings.max_gb:
            why = f"it has {gb:.2f} GB, and serve.max_gb is {self._settings.max_gb:g}"
            yield _refused(video, "too_large", why)
            return
        async with aclosing(self._analyst.rows(job, video, self._scratch)) as rows:
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
    """The size of a local file; 0 for one that is not there, of which probing says more."""
    try:
        return Path(path).stat().st_size / 2**30
    except OSError:
        return 0.0
