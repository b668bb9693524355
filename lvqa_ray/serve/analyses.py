"""Job manager of the service: runs a limited number of analyses, publishes their events and stores their results."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from lvqa_ray.config import Job, Serve
from lvqa_ray.config.places import download_cache, output_path, storage_options
from lvqa_ray.corpus.video_ids import named_after
from lvqa_ray.dataset.identities import identified
from lvqa_ray.engine.local.abandonable import in_own_thread, to_the_end
from lvqa_ray.engine.local.analysis_document import AnalysisDocument
from lvqa_ray.engine.local.analysis_store import AnalysisStore
from lvqa_ray.engine.local.executor import LocalExecutor, Result
from lvqa_ray.errors import FetchError
from lvqa_ray.records import Analysis, CaptionedVideo, Failure, ProbedVideo, Task, Video, redact_url
from lvqa_ray.serve.access.addresses import address_hash, checked
from lvqa_ray.serve.analysis_request import AnalysisRequest, job_for
from lvqa_ray.serve.invalid import RefusedError, invalid
from lvqa_ray.serve.running import FAILED, FINISHED, STARTED, Running
from lvqa_ray.serve.slots import DownloadPlaces, Slot, Stopped
from lvqa_ray.storage.remote import is_remote
from lvqa_ray.storage.ssrf import SsrfGuard

LOOKUP_S = 6.0
"""Maximum time (s) to look up the host of an address; less than the clients' timeout for the start of a reply."""
REQUEST_S = 60.0
"""Maximum time (s) of each request, for 1 MiB at most, that identifies a remote video: what an abandoned one takes."""
FLUSH_S = 5.0
"""Maximum time (s) that clients have to read the last event when the service ends."""
WATCHERS_POLL_S = 0.05
logger = logging.getLogger(__name__)


class AnalysisRuns:
    """Starts, finds and stops analyses.

    Args:
        job: Settings shared by all analyses.

    Raises:
        ConfigError: The environment variable of an API key is not set.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self.settings: Serve = job.serve
        self._executor = LocalExecutor(job)
        self._storage = replace(storage_options(job.storage), guard=SsrfGuard(job.serve.networks))
        most = round(job.serve.max_gb * 2**30)
        self._cache = replace(download_cache(job), access=self._storage, largest=(most, "serve.max_gb"))
        self._downloads = DownloadPlaces(job.serve)
        self._slots = asyncio.Semaphore(job.serve.at_once)
        self._running: dict[str, Running] = {}
        self._starting = 0
        self._closing = False

    @property
    def finish_detached(self) -> bool:
        """Whether an analysis goes on when the client of its event stream disconnects."""
        return self.settings.detached == "finish"

    def store(self, workspace: str) -> AnalysisStore:
        """The stored results of a workspace."""
        return AnalysisStore(output_path(self._job), self.settings.kept_days, workspace)

    def forget(self) -> None:
        """Remove expired results."""
        served = output_path(self._job) / "served"
        with suppress(OSError):
            for workspace in [*served.iterdir()]:
                self.store(workspace.name).forget()

    async def start(self, wanted: AnalysisRequest, workspace: str, *, titles: int | None = None) -> Running:
        """Start an analysis.

        Args:
            wanted: The request.
            workspace: Where its results are stored.
            titles: Number of titles, unless the request or the earlier session names one.

        Raises:
            RefusedError: The request is not valid, the queue is full, or the service ends.
        """
        if self._closing:
            raise RefusedError("ServiceUnavailable", "The service is being shut down; try again later.", 503)
        if len(self._running) + self._starting >= self.settings.at_once + self.settings.waiting:
            raise RefusedError("Throttling", "Too many analyses wait for their turn; try again later.", 429)
        self._starting += 1  # counted before anything is awaited, so that a burst does not exceed the limit
        try:
            running, job = await self._prepared(wanted, workspace, titles)
            self._running[running.analysis.session] = running
        finally:
            self._starting -= 1
        running.emit(STARTED)
        running.work = asyncio.create_task(self._run(running, job))
        return running

    def find(self, session: str, workspace: str) -> Running | None:
        """Find an analysis of a workspace that runs in this process."""
        running = self._running.get(session)
        return running if running and running.workspace == workspace else None

    def find_task(self, task: str, workspace: str) -> Running | None:
        """The latest analysis of a task of a workspace that runs in this process."""
        found = (each for each in reversed(self._running.values()) if each.workspace == workspace)
        return next((each for each in found if each.analysis.task == task), None)

    async def stop(self, running: Running) -> None:
        """Stop an analysis; paid replies are kept."""
        if running.work is not None:
            running.work.cancel()
            await asyncio.wait([running.work])
        if not running.over:  # it was cancelled before it started
            self._end(running)

    def _end(self, running: Running) -> None:
        """Emit the last event; an analysis without an outcome was stopped."""
        analysis = running.analysis
        if analysis.state == "running":
            analysis.state = "stopped"
        self._running.pop(analysis.session, None)
        running.emit(FINISHED if analysis.state == "done" else FAILED)

    async def aclose(self) -> None:
        """Stop all analyses, and let their clients read the last event; a second call does nothing."""
        if self._closing:
            return
        self._closing = True
        stopped = [*self._running.values()]
        await asyncio.gather(*map(self.stop, stopped))
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                while any(running.watchers for running in stopped):  # noqa: ASYNC110 - bounded, at the end only
                    await asyncio.sleep(WATCHERS_POLL_S)
        await self._executor.aclose()

    async def _prepared(self, wanted: AnalysisRequest, workspace: str, titles: int | None) -> tuple[Running, Job]:
        before = await self._before(wanted, workspace)
        named: tuple[Task, ...] = wanted.tasks if "tasks" in wanted.model_fields_set else ()
        video_named = wanted.video is not None
        if before:
            wanted = wanted.on(before["asked"])
        elif wanted.video is None:
            days = f"{self.settings.kept_days:g} days"
            gone = f"There is no such earlier session, or it is older than {days}: name the video."
            raise invalid(gone if wanted.base else "No video is named.")
        if titles is not None and wanted.titles is None:
            wanted = wanted.on({"titles": titles})
        uri = await self._address(wanted, before)
        job = job_for(wanted, self._job, uri)
        address, known = address_hash(uri), ""
        earlier: dict[str, Any] = before["video"] if before else {}
        if earlier.get("uri") == redact_url(uri) and (not video_named or earlier.get("address") == address):
            address, known = earlier.get("address") or address, earlier["fingerprint"]
        session = str(uuid.uuid4())
        fresh = {**before.get("fresh", {}), **dict.fromkeys(named, session)} if before else {}
        analysis = AnalysisDocument(
            task=wanted.task or str(uuid.uuid4()),
            session=session,
            video=Video(id=named_after(uri), uri=uri, fingerprint=known),
            tasks=job.analysis.wanted,
            address=address,
            asked=wanted.model_dump(mode="json", exclude_unset=True) | {"video": redact_url(uri)},
            fresh=fresh,
        )
        return Running(analysis, workspace), job

    async def _before(self, wanted: AnalysisRequest, workspace: str) -> dict[str, Any] | None:
        if not wanted.base or not wanted.task:
            return None
        return await asyncio.to_thread(self.store(workspace).load, wanted.task, wanted.base)

    async def _address(self, wanted: AnalysisRequest, before: dict[str, Any] | None) -> str:
        uri = wanted.video or ""
        if before and uri == before["video"]["uri"] and uri.startswith(("http://", "https://")):
            return uri  # checked before; the SSRF guard checks a download again
        try:
            async with asyncio.timeout(LOOKUP_S):
                return await in_own_thread(partial(checked, uri, self.settings))
        except TimeoutError:
            raise invalid(f"videoUrl: its host was not found within {LOOKUP_S:g} s; try again later.") from None

    async def _run(self, running: Running, job: Job) -> None:
        analysis, store, slot = running.analysis, self.store(running.workspace), Slot(self._slots)
        try:
            await asyncio.to_thread(store.save, analysis.document())
            await self._identify(analysis)
            async with slot:
                running.waits = False
                async with aclosing(self._rows(job, analysis, slot)) as rows:
                    async for row in rows:
                        running.add(row)
                        if isinstance(row, CaptionedVideo | Analysis):
                            await asyncio.to_thread(store.save, analysis.document())
        except asyncio.CancelledError:
            if analysis.state == "running":  # otherwise all its results are there
                analysis.state = "stopped"
        except FetchError as error:
            running.add(_not_fetched(analysis.video, error))
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
                await to_the_end(asyncio.to_thread(store.save, analysis.document()))
            except OSError:  # the client still gets the result, and the journal has the paid replies
                logger.exception("the result of %s could not be saved", analysis.session)
            finally:
                self._end(running)

    async def _identify(self, analysis: AnalysisDocument) -> None:
        """Find the fingerprint of the video; the requests to a remote one take a place for downloads.

        Raises:
            FetchError: Its server takes too long, or its address is not known.
        """
        video = analysis.video
        if video.fingerprint:
            return
        _check_address(analysis)
        output = output_path(self._job)
        if not is_remote(video.uri):
            analysis.video = await asyncio.to_thread(identified, video, output, self._storage)
            return

        def look(stopped: Stopped) -> Video:
            return identified(video, output, replace(self._storage, request_s=REQUEST_S, stopped=stopped))

        analysis.video = await self._downloads.run(video.uri, look)

    async def _rows(self, job: Job, analysis: AnalysisDocument, slot: Slot) -> AsyncGenerator[Result, None]:
        video = analysis.video
        gb = await asyncio.to_thread(_gb, video.uri)
        if gb > self.settings.max_gb:
            why = f"it has {gb:.2f} GB, and serve.max_gb is {self.settings.max_gb:g}"
            yield _refused(video, "too_large", why)
            return

        @asynccontextmanager
        async def around() -> AsyncGenerator[None, None]:
            _check_address(analysis)
            async with self._downloads.taken(video.uri, slot):
                yield

        rows_of = self._executor.rows(job, video, self._cache, around=around, fresh=analysis.fresh, growing=True)
        async with aclosing(rows_of) as rows:
            async for row in rows:
                yield row
                if isinstance(row, ProbedVideo) and row.info.duration_sec > 60 * self.settings.max_minutes:
                    minutes = row.info.duration_sec / 60
                    why = f"it lasts {minutes:.1f} min, and serve.max_minutes is {self.settings.max_minutes:g}"
                    yield _refused(video, "too_long", why)
                    return


def _refused(video: Video, kind: str, why: str) -> Failure:
    return Failure(video=video, stage="service", kind=kind, message=f"{redact_url(video.uri)}: {why}.")


def _check_address(analysis: AnalysisDocument) -> None:
    """Refuse to request the address of an earlier session without its query: it may be another video.

    Raises:
        FetchError: The address had a query, and the request names no video.
    """
    if analysis.address != address_hash(analysis.video.uri):
        raise FetchError(
            "not_fetched",
            f"{analysis.video.uri}: the earlier session's address had a query, which is not stored; name the video.",
        )


def _not_fetched(video: Video, error: FetchError) -> Failure:
    return Failure(video=video, stage="service", kind=error.kind, message=str(error), retryable=error.retryable)


def _gb(path: str) -> float:
    """Size of a local file (GiB); 0 for a missing file, which the probe reports."""
    try:
        return Path(path).stat().st_size / 2**30
    except OSError:
        return 0.0
