"""In-process executor: runs the steps of a job on single videos and streams the rows.

A run on a cluster is for many videos. The executor is for a video that a client waits for: nothing has to start first,
and a client that disconnects stops the work. The steps, the journal and the clients are those of a run, so both share
their paid replies.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import chain

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache, output_path
from lvqa_ray.dataset.run_order import segment_names
from lvqa_ray.engine.clip_uploads import clip_uploader
from lvqa_ray.engine.decoding.pool import DecodePool
from lvqa_ray.engine.decoding.supervisor import DecodeLimits
from lvqa_ray.engine.local.clients import LocalClients
from lvqa_ray.engine.local.pinned_download import PinnedDownload
from lvqa_ray.engine.result_cache import paid
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.engine.step_runner import not_fetched, run_step, run_video_steps, without_images
from lvqa_ray.errors import FetchError
from lvqa_ray.journal.found_clips import ClipIndex, clips_folder, index_of
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.pipeline import FrameScoring, Group, build
from lvqa_ray.records import (
    Analysis,
    AnalyzedVideo,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    ProbedVideo,
    Row,
    Video,
)
from lvqa_ray.stage import Chat
from lvqa_ray.stage.steps import ChatStep, PlainStep, VideoStep, run_steps
from lvqa_ray.storage.download_cache import DownloadCache

Result = Row | Analysis
Emit = Callable[[Result], None]


class LocalExecutor:
    """Runs the steps of a job on any number of videos concurrently; they share endpoints, decoders and the journal.

    Args:
        job: Gives the endpoints, the limits and the output with the journal.
        run_id: Id in the names of the journal segments; made from the time, if empty.

    Raises:
        ConfigError: The environment variable of a key is not set.
    """

    def __init__(self, job: Job, run_id: str = "") -> None:
        self.journal = output_path(job) / "cache"
        self.run_id = run_id or next_run_id(segment_names(self.journal))
        self.chats = LocalClients(job, self.journal, self.run_id)
        self.decoders = DecodePool(DecodeLimits.of(job.engine), job.engine.num_cpus or os.cpu_count() or 1)

    async def rows(self, job: Job, video: Video, scratch: DownloadCache | None = None) -> AsyncGenerator[Result, None]:
        """Process a video; yields its rows and results as they come.

        Close it (`contextlib.aclosing`) to stop the work: decoding ends and no more requests are sent; paid replies are
        still written to the journal.

        Args:
            job: Settings of the stages and the tasks; endpoints, limits and output must be those of this executor.
            video: The video.
            scratch: Download cache for a remote file; the job's own by default.

        Yields:
            `ProbedVideo`, each `Clip` as it is found (without its frames), each `CaptionedClip` as it is answered,
            the `CaptionedVideo`, each result (`Analysis`), at last `AnalyzedVideo`; or a `Failure`, which ends it.
        """
        results: asyncio.Queue[Result | None] = asyncio.Queue()
        work = _VideoRun(self, job, video, scratch or download_cache(job), results.put_nowait)

        async def run_to_end() -> None:
            try:
                await work.run()
            finally:
                results.put_nowait(None)

        task = asyncio.create_task(run_to_end())
        try:
            while (row := await results.get()) is not None:
                yield row
            await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(asyncio.wait([task]))

    async def aclose(self) -> None:
        """Kill the decoder processes, and close connections and journals."""
        self.decoders.close()
        await self.chats.aclose()


class _VideoRun:
    """The run of one video."""

    def __init__(self, executor: LocalExecutor, job: Job, video: Video, scratch: DownloadCache, emit: Emit) -> None:
        job = job.model_copy(update={"ask": replace(job.ask, quota={}, kinds={})})  # no questions
        media = clip_uploader(job)
        self._pipeline = build(job, media.folder)
        self._video_steps: list[ChatStep | PlainStep] = [
            step for group in self._pipeline.ask if not isinstance(group, FrameScoring) for step in group
        ]
        self._executor, self._job, self._video, self._media, self._emit = executor, job, video, media, emit
        self._download = PinnedDownload(scratch, video)
        self._asking = [
            stage
            for step in (*chain.from_iterable(self._pipeline.hear), *self._pipeline.caption, *self._video_steps)
            if isinstance(step, ChatStep)
            for stage in (step.stage, *step.helpers)
        ]
        self._chats: dict[str, Chat] = {}
        asked_at_once = sum(at.max_concurrency for at in job.endpoints.replicas(self._pipeline.caption[0].role))
        self._slots = asyncio.Semaphore(asked_at_once + 2)  # waiting frames are held in memory
        self._emitted = 0

    async def run(self) -> None:
        try:
            chats, endpoints = self._executor.chats, self._job.endpoints
            await chats.open(self._asking)
            self._chats = {stage.name: chats.of(stage, endpoints.replicas(stage.role)) for stage in self._asking}
            captions = await self._captions()
            for row in self._pipeline.merge(captions) if captions else ():
                self._emit(row)
                await run_steps(self._video_steps, [row], self._step)
        finally:
            await self._download.aclose()

    async def _captions(self) -> list[CaptionedClip]:
        """The captioned clips; none if the video failed."""
        captions: list[CaptionedClip] = []

        async def caption(clip: Clip) -> None:
            try:
                captions.extend(row for row in await self._captioned(clip) if isinstance(row, CaptionedClip))
            finally:
                self._slots.release()

        try:
            async with asyncio.TaskGroup() as group, aclosing(self._clips()) as clips:
                async for row in clips:
                    if isinstance(row, Failure):
                        raise _VideoFailed(row)
                    if isinstance(row, CaptionedClip):  # it failed before its request
                        captions.append(row)
                        self._emit(replace(row.clip, frames=()))
                        self._emit(row)
                        continue
                    if not isinstance(row, Clip):
                        raise TypeError(f"a row of type {type(row).__name__} came from the steps before the captions")
                    self._emit(replace(row, frames=(), media=b""))
                    await self._slots.acquire()
                    group.create_task(caption(row))
        except* _VideoFailed as failures:
            captions.clear()
            for failure in failures.exceptions:
                self._emit(failure.args[0])
        return captions

    async def _clips(self) -> AsyncGenerator[Row, None]:
        found = ClipIndex(
            self._executor.journal,
            self._pipeline.recipe,
            self._executor.run_id,
            lambda: index_of(clips_folder(self._executor.journal)),
            self._pipeline.beside,
        )
        known = await asyncio.to_thread(found.get, self._video)
        if known is not None:
            self._emit(ProbedVideo(video=self._video, info=known[0].info, speech=known[0].heard))
            for clip in known:
                yield clip
            return
        opening, *others = (*self._pipeline.hear, self._pipeline.split)
        first, *then = (step for step in opening if isinstance(step, VideoStep))
        made: list[Row] = []
        async with aclosing(self._through([first], self._video)) as probed:
            async for row in probed:
                if not isinstance(row, ProbedVideo):
                    yield row
                    continue
                self._emit(row)
                async with aclosing(self._in_turn([then, *others], row)) as clips:
                    async for out in clips:
                        made.append(without_images(out))
                        yield out
        await asyncio.to_thread(found.put, self._video, made)

    async def _in_turn(self, groups: Sequence[Group], row: Row) -> AsyncGenerator[Row, None]:
        """Run groups of steps on a row, one group after another; yields the resulting rows."""
        if not groups:
            yield row
            return
        group, *others = groups
        video_steps = [step for step in group if isinstance(step, VideoStep)]
        if video_steps:
            async with aclosing(self._through(video_steps, row)) as made:
                async for out in made:
                    async with aclosing(self._in_turn(others, out)) as rows:
                        async for each in rows:
                            yield each
            return
        asking = [step for step in group if not isinstance(step, VideoStep)]
        for out in await run_steps(asking, [row], self._made):
            async with aclosing(self._in_turn(others, out)) as rows:
                async for each in rows:
                    yield each

    async def _captioned(self, clip: Clip) -> Sequence[Row]:
        known = await self._paid(clip)
        if known is not None:
            for row in known:
                self._emit(row)
            return known
        rows: list[Row] = []
        async with aclosing(self._through(self._pipeline.look, clip)) as looked:
            async for row in looked:
                rows += await run_steps(self._pipeline.caption, [row], self._step)
                if isinstance(row, CaptionedClip):
                    self._emit(row)
        return rows

    async def _paid(self, clip: Clip) -> Sequence[Row] | None:
        """The rows of a clip from paid replies, so that it is not decoded; ``None`` if one is missing."""
        if clip.dropped or clip.lost_s or any(frame.jpeg for frame in clip.frames):
            return None
        expected = await asyncio.to_thread(self._pipeline.expected, clip)
        if expected is None:
            return None
        step = self._pipeline.caption[0]
        answers = self._executor.chats.journal(step.name)
        again = self._job.engine.retry_failures
        return await paid(step, expected, answers, self._job.endpoints.of(step.role), ask_again=again)

    async def _through(self, steps: Sequence[VideoStep], row: Row) -> AsyncGenerator[Row, None]:
        """Run video steps on a row, in a decoder process if they open the file; yields the resulting rows."""
        if not any(isinstance(row, step.takes) and step.reads(row) for step in steps):
            for out in run_video_steps(steps, row, _unwatched):
                yield out
            return
        try:
            path = await self._download.path()
        except FetchError as error:
            yield not_fetched(steps, row, error)
            return
        async with aclosing(self._executor.decoders.rows(steps, row, path)) as made:
            async for out in made:
                yield out if self._media.cuts_in_place else await asyncio.to_thread(self._upload, out)

    def _upload(self, row: Row) -> Row:
        """Upload the clip file of a row."""
        uploaded: Row = next(chain.from_iterable(map(unpack, self._media.upload([pack(row)]))))
        return uploaded

    async def _step(self, step: ChatStep | PlainStep, row: Row) -> Sequence[Row]:
        made = await self._made(step, row)
        for out in made:
            if isinstance(out, AnalyzedVideo):
                for result in out.results[self._emitted :]:
                    self._emit(result)
                self._emitted = len(out.results)
            elif not isinstance(out, CaptionedVideo):  # emitted already
                self._emit(out)
        return made

    async def _made(self, step: ChatStep | PlainStep, row: Row) -> Sequence[Row]:
        return await run_step(step, row, self._ask)

    async def _ask(self, request: ChatRequest) -> ChatReply:
        return await self._chats[request.stage](request)


class _VideoFailed(Exception):
    """Ends the run of the video, with its failure."""


def _unwatched(_stage: str, _row: Row) -> None:
    """Ignore the progress: steps in this process have no watchdog."""
