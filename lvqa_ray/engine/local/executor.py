"""One video after another through the steps of a job, in this process: rows as they come, for who waits for them.

A run on a cluster is for many videos. This is for one whose owner is watching: nothing has to be started first, and who
goes away takes the work along. The steps, the journal and the clients are those of a run, so what either has paid for
is there for the other.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import chain
from typing import Any

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
from lvqa_ray.engine.step_runner import internal_error_row, not_fetched, run_chat_steps, run_video_steps, without_images
from lvqa_ray.errors import FetchError
from lvqa_ray.journal.found_clips import ClipIndex, clips_folder, index_of
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.pipeline import FrameScoring, Group, build
from lvqa_ray.records import AnalyzedVideo, CaptionedClip, CaptionedVideo, Clip, Failure, ProbedVideo, Video
from lvqa_ray.stage import Chat
from lvqa_ray.stage.steps import ChatStep, PlainStep, VideoStep
from lvqa_ray.storage.download_cache import DownloadCache


class LocalExecutor:
    """Takes videos through the steps of a job, any number at once; they share endpoints, decoders and the journal.

    Args:
        job: Says who is asked, within which limits, and where the journal is.
        run_id: Names the segments of the journal that are written; made of the time, if not given.

    Raises:
        ConfigError: The variable of a key is not set.
    """

    def __init__(self, job: Job, run_id: str = "") -> None:
        self.journal = output_path(job) / "cache"
        self.run_id = run_id or next_run_id(segment_names(self.journal))
        self.chats = LocalClients(job, self.journal, self.run_id)
        self.decoders = DecodePool(DecodeLimits.of(job.engine), job.engine.num_cpus or os.cpu_count() or 1)

    async def rows(self, job: Job, video: Video, scratch: DownloadCache | None = None) -> AsyncGenerator[Any, None]:
        """Everything that comes of a video, as it comes.

        Close it (`contextlib.aclosing`) to stop the work: decoding ends, and no request is sent any more; what is paid
        for is written down.

        Args:
            job: The settings of the stages, and the tasks; its endpoints, limits and output are those of this analyst.
            video: The video.
            scratch: Where a remote file is put; where the job says, if not given.

        Yields:
            `ProbedVideo`, each `Clip` as it is found (without its pictures), each `CaptionedClip` as it is answered,
            the `CaptionedVideo`, each result (`Analysis`), at last `AnalyzedVideo`; or a `Failure`, which ends it.
        """
        said: asyncio.Queue[Any] = asyncio.Queue()
        work = _VideoRun(self, job, video, scratch or download_cache(job), said.put_nowait)

        async def all_of_it() -> None:
            try:
                await work.run()
            finally:
                said.put_nowait(None)

        task = asyncio.create_task(all_of_it())
        try:
            while (row := await said.get()) is not None:
                yield row
            await task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(asyncio.wait([task]))

    async def aclose(self) -> None:
        """End the children that decode, and close connections and journals."""
        self.decoders.close()
        await self.chats.aclose()


class _VideoRun:
    """One video on its way."""

    def __init__(
        self, analyst: LocalExecutor, job: Job, video: Video, scratch: DownloadCache, say: Callable[[Any], None]
    ) -> None:
        job = job.model_copy(update={"ask": replace(job.ask, quota={})})  # no questions
        media = clip_uploader(job)
        self._pipeline = build(job, media.folder)
        self._telling: list[ChatStep | PlainStep] = [
            step for group in self._pipeline.ask if not isinstance(group, FrameScoring) for step in group
        ]
        self._analyst, self._job, self._video, self._media, self._say = analyst, job, video, media, say
        self._held = PinnedDownload(scratch, video)
        self._asking = [
            stage
            for step in (*chain.from_iterable(self._pipeline.hear), *self._pipeline.caption, *self._telling)
            if isinstance(step, ChatStep)
            for stage in (step.stage, *step.helpers)
        ]
        self._chats: dict[str, Chat] = {}
        asked_at_once = sum(at.max_concurrency for at in job.endpoints.replicas(self._pipeline.caption[0].role))
        self._room = asyncio.Semaphore(asked_at_once + 2)  # pictures that wait are held in memory
        self._told = 0

    async def run(self) -> None:
        try:
            chats, endpoints = self._analyst.chats, self._job.endpoints
            await chats.open(self._asking)
            self._chats = {stage.name: chats.of(stage, endpoints.replicas(stage.role)) for stage in self._asking}
            captions = await self._captions()
            for row in self._pipeline.merge(captions) if captions else ():
                self._say(row)
                await run_chat_steps(self._telling, row, self._step)
        finally:
            await self._held.aclose()

    async def _captions(self) -> list[CaptionedClip]:
        """The clips with what came of them; none where the video failed."""
        captions: list[CaptionedClip] = []

        async def caption(clip: Clip) -> None:
            try:
                captions.extend(await self._captioned(clip))
            finally:
                self._room.release()

        try:
            async with asyncio.TaskGroup() as group, aclosing(self._clips()) as clips:
                async for row in clips:
                    if isinstance(row, Failure):
                        raise _VideoFailed(row)
                    if isinstance(row, CaptionedClip):  # it failed before it could be asked about
                        captions.append(row)
                        self._say(replace(row.clip, frames=()))
                        self._say(row)
                        continue
                    self._say(replace(row, frames=(), media=b""))
                    await self._room.acquire()
                    group.create_task(caption(row))
        except* _VideoFailed as failures:
            captions.clear()
            for failure in failures.exceptions:
                self._say(failure.args[0])
        return captions

    async def _clips(self) -> AsyncGenerator[Any, None]:
        found = ClipIndex(
            self._analyst.journal,
            self._pipeline.recipe,
            self._analyst.run_id,
            lambda: index_of(clips_folder(self._analyst.journal)),
            self._pipeline.beside,
        )
        known = await asyncio.to_thread(found.get, self._video)
        if known is not None:
            self._say(ProbedVideo(video=self._video, info=known[0].info, speech=known[0].heard))
            for clip in known:
                yield clip
            return
        opening, *others = (*self._pipeline.hear, self._pipeline.split)
        first, *then = (step for step in opening if isinstance(step, VideoStep))
        made: list[Any] = []
        async with aclosing(self._through([first], self._video)) as probed:
            async for row in probed:
                if not isinstance(row, ProbedVideo):
                    yield row
                    continue
                self._say(row)
                async with aclosing(self._in_turn([then, *others], row)) as clips:
                    async for out in clips:
                        made.append(without_images(out))
                        yield out
        await asyncio.to_thread(found.put, self._video, made)

    async def _in_turn(self, groups: Sequence[Group], row: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - any frozen row
        """The rows that groups of steps make of a row."""
        if not groups:
            yield row
            return
        group, *others = groups
        looking = [step for step in group if isinstance(step, VideoStep)]
        if looking:
            async with aclosing(self._through(looking, row)) as made:
                async for out in made:
                    async with aclosing(self._in_turn(others, out)) as rows:
                        async for each in rows:
                            yield each
            return
        asking = [step for step in group if not isinstance(step, VideoStep)]
        for out in await run_chat_steps(asking, row, self._made):
            async with aclosing(self._in_turn(others, out)) as rows:
                async for each in rows:
                    yield each

    async def _captioned(self, clip: Clip) -> Sequence[CaptionedClip]:
        known = await self._paid(clip)
        if known is not None:
            for row in known:
                self._say(row)
            return known
        rows: list[Any] = []
        async with aclosing(self._through(self._pipeline.look, clip)) as looked:
            async for row in looked:
                rows += await run_chat_steps(self._pipeline.caption, row, self._step)
                if isinstance(row, CaptionedClip):
                    self._say(row)
        return rows

    async def _paid(self, clip: Clip) -> Sequence[Any] | None:
        """What the journal makes of a clip, which then need not be looked at."""
        if clip.dropped or clip.lost_s or any(frame.jpeg for frame in clip.frames):
            return None
        expected = await asyncio.to_thread(self._pipeline.expected, clip)
        if expected is None:
            return None
        step = self._pipeline.caption[0]
        answers = self._analyst.chats.journal(step.name)
        again = self._job.engine.retry_failures
        return await paid(step, expected, answers, self._job.endpoints.of(step.role), ask_again=again)

    async def _through(self, steps: Sequence[VideoStep], row: Any) -> AsyncGenerator[Any, None]:  # noqa: ANN401 - any frozen row
        """The rows that video steps make of a row; in a child process, if they open the file."""
        if not any(isinstance(row, step.takes) and step.reads(row) for step in steps):
            for out in run_video_steps(steps, row, _unwatched):
                yield out
            return
        try:
            path = await self._held.path()
        except FetchError as error:
            yield not_fetched(steps, row, error)
            return
        async with aclosing(self._analyst.decoders.rows(steps, row, path)) as made:
            async for out in made:
                yield out if self._media.here else await asyncio.to_thread(self._put, out)

    def _put(self, row: Any) -> Any:  # noqa: ANN401 - as above
        """A row whose clip file is where it is kept."""
        return next(chain.from_iterable(map(unpack, self._media.kept([pack(row)]))))

    async def _step(self, step: ChatStep | PlainStep, row: Any) -> Sequence[Any]:  # noqa: ANN401 - as above
        made = await self._made(step, row)
        for out in made:
            if isinstance(out, AnalyzedVideo):
                for result in out.results[self._told :]:
                    self._say(result)
                self._told = len(out.results)
            elif not isinstance(out, CaptionedVideo):  # which has been told
                self._say(out)
        return made

    async def _made(self, step: ChatStep | PlainStep, row: Any) -> Sequence[Any]:  # noqa: ANN401 - as above
        try:
            return list(step.call(row)) if isinstance(step, PlainStep) else list(await step.call(row, self._ask))
        except Exception as error:
            return [internal_error_row(step.name, row, error)]

    async def _ask(self, request: ChatRequest) -> ChatReply:
        return await self._chats[request.stage](request)


class _VideoFailed(Exception):
    """There is nothing more to be done for the video."""


def _unwatched(_stage: str, _row: Any) -> None:  # noqa: ANN401 - as above
    """Who works in this process is not watched."""
