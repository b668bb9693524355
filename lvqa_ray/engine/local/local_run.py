"""Executor of a run in this process: requests on an event loop, decoding in child processes. For small runs.

Nothing has to start first. Steps, journal, rate limiter, budget and tables are those of a run on Ray, so either
executor continues what the other began. A crash of a decoder is a failure of its row, as on Ray; if this process dies,
the next run finds its paid replies in the journal.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache, output_path
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.model_use import ModelUse
from lvqa_ray.engine.clip_uploads import clip_uploader, index_of_files
from lvqa_ray.engine.decoding.pool import DecodePool
from lvqa_ray.engine.decoding.supervisor import DecodeLimits
from lvqa_ray.engine.executors import KeysOfRoles
from lvqa_ray.engine.local.clients import LocalClients
from lvqa_ray.engine.local.executor import asking, decoders_of
from lvqa_ray.engine.local.pending_rows import PendingRows
from lvqa_ray.engine.local.pinned_download import PinnedDownload
from lvqa_ray.engine.local.video_steps import FileSteps, PaidReplies, VideoSteps
from lvqa_ray.engine.result_cache import PaidFrames, asked_by
from lvqa_ray.engine.step_runner import StopSteps, run_step, video_of
from lvqa_ray.engine.waiting import Machine, stopped_processes
from lvqa_ray.errors import Deferred, StopRun
from lvqa_ray.journal.clip_files import ClipFileIndex
from lvqa_ray.journal.found_clips import ClipIndex, clips_folder, index_of
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.llm.middleware.cache import cannot_be
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.pipeline import FrameScoring, build
from lvqa_ray.records import Failure, Row, Video
from lvqa_ray.stage.steps import ChatStep, PlainStep, run_steps
from lvqa_ray.storage.download_cache import DownloadCache
from lvqa_ray.storage.paths import StoragePath

HALT_CHECK_S = 0.1
"""How often a pass checks whether the run has halted."""
ANSWER_S = 5.0
"""How long another thread waits for the event loop."""
T = TypeVar("T")
logger = logging.getLogger(__name__)


@contextmanager
def local_run(job: Job, _videos: Videos, run_id: str, provenance: dict[str, str]) -> Iterator[LocalRun]:
    """Open the executor: start its event loop in a thread, and a decoder process.

    Args:
        job: The job.
        run_id: Id of the run.
        provenance: Columns that are the same in all rows of the run.
    """
    executor = LocalRun(job, run_id, provenance)
    drain = False
    try:
        yield executor
        drain = True
    finally:
        executor.close(drain=drain)


class LocalRun:
    """An `Executor` in this process; arguments as for `local_run`."""

    def __init__(self, job: Job, run_id: str, provenance: dict[str, str]) -> None:
        self._job, self._run_id, self._provenance = job, run_id, provenance
        self._folder = output_path(job)
        self._cores = decoders_of(job)
        self._decoders = DecodePool(DecodeLimits.of(job.engine), self._cores)
        self._lookers = DecodePool(DecodeLimits.of(job.engine), self._cores)
        self._decoders.prestart()
        self._clients: LocalClients | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="local-run")
        self._thread.start()

    @property
    def clients(self) -> LocalClients:
        """The clients of the endpoints; they exist after `connect`."""
        if self._clients is None:
            raise RuntimeError("the executor is not connected")
        return self._clients

    def models(self) -> Sequence[ModelUse]:
        """See `Executor`; only Ray serves models."""
        return ()

    def connect(self, keys: KeysOfRoles, on_wait: Callable[[str], object]) -> None:  # noqa: ARG002 - no model to wait for
        """See `Executor`."""
        self._clients = LocalClients(self._job, self._folder / "cache", self._run_id, revive=False)

    def run_pass(self, videos: Sequence[Video], shard: str, *, in_parts: bool) -> str:  # noqa: ARG002 - not divided
        """See `Executor`; videos are processed in one piece."""
        return self._on_loop(self._pass(videos, shard)).result()

    def wait_for_batches(self, stopped: Callable[[], str], on_wait: Callable[[str], object]) -> bool:
        """See `Executor`."""
        return self.clients.batches.wait(stopped, on_wait)

    def halt(self, reason: str) -> None:
        """See `Executor`."""
        with suppress(RuntimeError):  # the run is over
            self._loop.call_soon_threadsafe(self.clients.halt, reason)

    def why_halted(self) -> str:
        """See `Executor`."""
        return self.clients.why_halted()

    def over_budget(self) -> bool:
        """See `Executor`."""
        return bool(self.clients.exhausted)

    def stats(self) -> Mapping[str, EndpointStats]:
        """See `Executor`."""

        async def now() -> dict[str, EndpointStats]:
            return self.clients.stats()

        return self._on_loop(now()).result(ANSWER_S)

    def machine(self) -> Machine:
        """See `Executor`."""
        busy = min(self._cores, self._decoders.busy + self._lookers.busy)
        return Machine(self._cores, self._cores - busy, stopped_processes(), "the executor to start work")

    def close(self, *, drain: bool) -> None:
        """Kill the decoders, close connections and journals, and end the event loop.

        Args:
            drain: Wait for requests in flight.
        """
        closing = self._on_loop(self._end(drain=drain))
        with suppress(Late):
            closing.result(None if drain else ANSWER_S)
        self._decoders.close()
        self._lookers.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self, *, drain: bool) -> None:
        if self._clients is not None and drain:
            await self._clients.drained()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if self._clients is not None:
            await self._clients.aclose()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _pass(self, videos: Sequence[Video], shard: str) -> str:
        shards = PendingRows(self._folder, self._provenance, shard)
        try:
            films = await asyncio.to_thread(_Pass, self._job, self.clients, self._run_id, self._pools)
        except OSError as error:
            return cannot_be("read", error)
        work = asyncio.create_task(films.run(videos, shards))
        while not work.done():
            await asyncio.wait([work], timeout=HALT_CHECK_S)
            if shards.due:
                await shards.write()
            if shards.broken or self.clients.why_halted():
                work.cancel()
                await asyncio.wait([work])
                await self.clients.drained()
        if not work.cancelled():
            work.result()
        await shards.write()
        return shards.broken

    @property
    def _pools(self) -> tuple[DecodePool, DecodePool]:
        """The decoders that find clips, and those of clips: others, if the first ones wait for captions."""
        return self._decoders, self._decoders if self._job.split.mode == "fixed" else self._lookers


class _Pass:
    """One pass: all videos at once, as far as endpoints and decoders allow.

    Raises:
        OSError: The journal cannot be read.
    """

    def __init__(self, job: Job, clients: LocalClients, run_id: str, pools: tuple[DecodePool, DecodePool]) -> None:
        self._job, self._clients = job, clients
        journal = output_path(job) / "cache"
        media = clip_uploader(job)
        self._pipeline = build(job, media.folder)
        files = index_of_files(journal, media.target) if job.cut.mode != "off" else KeyIndex.of({})
        media = replace(media, files=ClipFileIndex(journal, run_id, lambda: files))
        clips = index_of(clips_folder(journal))
        found = ClipIndex(journal, self._pipeline.recipe, run_id, lambda: clips, self._pipeline.beside)
        stages = asking(self._pipeline.hear, self._pipeline.caption, self._pipeline.ask)
        self._chats = {stage.name: clients.of(stage, job.endpoints.endpoints_of(stage.role)) for stage in stages}
        looks = [group for group in self._pipeline.ask if isinstance(group, FrameScoring)]
        self._frames = {id(look): self._paid_frames(look, journal) for look in looks}
        scratch = download_cache(job)
        caption = self._pipeline.caption[0]
        splitting, looking = (FileSteps(pool, partial(_fetched, scratch), media) for pool in pools)
        in_flight = sum(at.max_concurrency for role in job.endpoints.roles for at in job.endpoints.endpoints_of(role))
        self._files = looking
        self._steps = VideoSteps(
            self._pipeline,
            splitting=splitting,
            looking=looking,
            found=found,
            paid=PaidReplies(
                caption,
                clients.journal(caption.name),
                job.endpoints.of(caption.role),
                partial(media.expected, predict=self._pipeline.expected),
                ask_again=job.engine.retry_failures,
            ),
            answer=self._answer,
            slots=asyncio.Semaphore(in_flight + 2 * decoders_of(job)),
            at_once=job.split.mode == "fixed",
        )
        self._deferred: set[str] = set()  # videos without an outcome in this pass
        self._open = asyncio.Semaphore(in_flight + 2 * decoders_of(job))

    async def run(self, videos: Sequence[Video], shards: PendingRows) -> None:
        """Process videos; those that meet a halt or a defect get no outcome."""
        async with asyncio.TaskGroup() as group:
            for video in videos:
                await self._open.acquire()
                group.create_task(self._one(video, shards)).add_done_callback(lambda _: self._open.release())

    async def _one(self, video: Video, shards: PendingRows) -> None:
        try:
            captions = await self._steps.captions(video)
            if isinstance(captions, Failure):
                shards.add([captions])
            elif captions and video.id not in self._deferred:
                made = await self._asked(list(self._pipeline.merge(captions)))
                shards.add([] if video.id in self._deferred else [*captions, *made])
        except* _RunHalted:
            pass
        except* Exception as errors:
            logger.error("video %s has no outcome in this pass", video.id, exc_info=errors)

    async def _asked(self, rows: Sequence[Row]) -> Sequence[Row]:
        """The rows of a video after all steps for videos."""
        for group in self._pipeline.ask:
            if isinstance(group, FrameScoring):
                rows = list(chain.from_iterable([await self._shown(group, row) for row in rows]))
            else:
                rows = await run_steps(group, rows, self._answer)
        return rows

    async def _shown(self, look: FrameScoring, row: Row) -> Sequence[Row]:
        known = await asyncio.to_thread(self._frames[id(look)].get, row)
        return [out async for out in self._files.rows(look.steps, row)] if known is None else known

    def _paid_frames(self, look: FrameScoring, journal: StoragePath) -> PaidFrames:
        index = {stage.name: self._clients.journal(stage.name).index() for stage in asked_by(look)}
        return PaidFrames(journal, look, self._job, lambda: index)

    async def _answer(self, step: ChatStep | PlainStep, row: Row) -> Sequence[Row]:
        """Run a step on a row.

        Raises:
            _RunHalted: A request met a halt, so the video gets no outcome, and a later run processes it.
        """
        halted = False

        async def ask(request: ChatRequest) -> ChatReply:
            nonlocal halted
            try:
                return await self._chats[request.stage](request)
            except Deferred as deferred:
                raise StopSteps from deferred
            except StopRun as stop:
                halted = True
                if isinstance(step, ChatStep):
                    self._clients.halt(str(stop), step.roles)
                raise

        try:
            rows = await run_step(step, row, ask)
        except StopSteps:  # a request waits for a file batch; the other clips of the video go on
            self._deferred.add(video_of(row).id)
            return []
        if halted:
            raise _RunHalted
        return rows


class _RunHalted(Exception):
    """The run has halted."""


@asynccontextmanager
async def _fetched(scratch: DownloadCache, video: Video) -> AsyncGenerator[str, None]:
    download = PinnedDownload(scratch, video)
    try:
        yield await download.path()
    finally:
        await download.aclose()
