"""In-process executor: runs the steps of a job on single videos and streams the rows.

A run on a cluster is for many videos. The executor is for a video that a client waits for: nothing has to start first,
and a client that disconnects stops the work. The steps, the journal and the clients are those of a run, so both share
their paid replies.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from lvqa_ray.config import Job
from lvqa_ray.config.places import download_cache, output_path
from lvqa_ray.dataset.run_order import segment_names
from lvqa_ray.engine.clip_uploads import clip_uploader
from lvqa_ray.engine.decoding.pool import DecodePool
from lvqa_ray.engine.decoding.supervisor import DecodeLimits
from lvqa_ray.engine.executors import cores_of
from lvqa_ray.engine.local.clients import LocalClients
from lvqa_ray.engine.local.live_updates import GrowingText, Spent
from lvqa_ray.engine.local.pinned_download import Around, PinnedDownload
from lvqa_ray.engine.local.video_steps import FileSteps, PaidReplies, VideoSteps
from lvqa_ray.engine.step_runner import run_step
from lvqa_ray.errors import ApiError
from lvqa_ray.journal.found_clips import ClipIndex, clips_folder, index_of
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.pipeline import FrameScoring, build
from lvqa_ray.records import Analysis, AnalyzedVideo, CaptionedVideo, Clip, Failure, Row, Task, Usage, Video
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.stage import Chat, Prompted
from lvqa_ray.stage.steps import ChatStep, PlainStep, run_steps
from lvqa_ray.storage.download_cache import DownloadCache

Result = Row | Analysis | GrowingText | Spent
Emit = Callable[[Result], None]
GROWING: Mapping[str, Task] = {"summary": "summary", "titles": "titles", "mind_map": "mind_map"}
"""Tasks whose texts are shown while they are written, by stage."""


def decoders_of(job: Job) -> int:
    """Maximum number of decoder processes of a job on this machine."""
    return max(1, int(cores_of(job) / job.engine.video_cpus))


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
        limits, cores = DecodeLimits.of(job.engine), decoders_of(job)
        self.decoders = DecodePool(limits, cores)
        self._lookers = DecodePool(limits, cores)

    def lookers(self, job: Job) -> DecodePool:
        """The decoders of clips: others than those that find them, if those wait until clips have captions."""
        return self.decoders if job.split.mode == "fixed" else self._lookers

    async def rows(
        self,
        job: Job,
        video: Video,
        scratch: DownloadCache | None = None,
        *,
        around: Around = nullcontext,
        fresh: Mapping[Task, str] | None = None,
        growing: bool = False,
    ) -> AsyncGenerator[Result, None]:
        """Process a video; yields its rows and results as they come.

        Close it (`contextlib.aclosing`) to stop the work: decoding ends and no more requests are sent; paid replies are
        still written to the journal.

        Args:
            job: Settings of the stages and the tasks; endpoints, limits and output must be those of this executor.
            video: The video.
            scratch: Download cache for a remote file; the job's own by default.
            around: Surrounds the download of a remote file.
            fresh: Tasks whose replies are not those of the job: they have cache keys of their own, one set per text.
            growing: Ask for streamed replies where the endpoint has them, and yield each `GrowingText`.

        Yields:
            `ProbedVideo`, each `Clip` as it is found (without its frames), each `CaptionedClip` as it is answered,
            the `CaptionedVideo`, each result (`Analysis`), at last `AnalyzedVideo`; or a `Failure`, which ends it.
            In between, `Spent` and `GrowingText`.
        """
        results: asyncio.Queue[Result | None] = asyncio.Queue()
        download = PinnedDownload(scratch or download_cache(job), video, around)
        work = _VideoRun(self, job, video, download, results.put_nowait, fresh=fresh or {}, growing=growing)

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
        self._lookers.close()
        await self.chats.aclose()


class _VideoRun:
    """The run of one video."""

    def __init__(
        self,
        executor: LocalExecutor,
        job: Job,
        video: Video,
        download: PinnedDownload,
        emit: Emit,
        *,
        fresh: Mapping[Task, str],
        growing: bool,
    ) -> None:
        job = job.model_copy(update={"ask": replace(job.ask, quota={}, kinds={})})  # no questions
        self._media = clip_uploader(job)
        self._pipeline = build(job, self._media.folder)
        self._video_steps: list[ChatStep | PlainStep] = [
            step for group in self._pipeline.ask if not isinstance(group, FrameScoring) for step in group
        ]
        self._executor, self._job, self._video, self._emit = executor, job, video, emit
        self._download = download
        caption = self._pipeline.caption[0].stage.name
        self._fresh = {caption if task == "analysis" else task: text for task, text in fresh.items()}
        self._growing = growing
        self._asking = asking(self._pipeline.hear, self._pipeline.caption, self._video_steps)
        self._chats: dict[str, Chat] = {}
        self._emitted = 0

    async def run(self) -> None:
        try:
            chats, endpoints = self._executor.chats, self._job.endpoints
            await chats.open(self._asking)
            self._chats = {stage.name: chats.of(stage, endpoints.endpoints_of(stage.role)) for stage in self._asking}
            captions = await self._steps().captions(self._video)
            if isinstance(captions, Failure):
                self._emit(captions)
                return
            for row in self._pipeline.merge(captions) if captions else ():
                self._emit(row)
                await run_steps(self._video_steps, [row], self._step)
        finally:
            await self._download.aclose()

    def _steps(self) -> VideoSteps:
        executor, job, pipeline = self._executor, self._job, self._pipeline
        caption = pipeline.caption[0]
        at = job.endpoints.endpoints_of(caption.role)
        return VideoSteps(
            pipeline,
            splitting=FileSteps(executor.decoders, self._fetched, self._media),
            looking=FileSteps(executor.lookers(job), self._fetched, self._media),
            found=ClipIndex(
                executor.journal,
                pipeline.recipe,
                executor.run_id,
                lambda: index_of(clips_folder(executor.journal)),
                pipeline.beside,
            ),
            paid=PaidReplies(
                caption,
                executor.chats.journal(caption.name),
                at[0],
                _unknown if caption.name in self._fresh else pipeline.expected,
                ask_again=job.engine.retry_failures,
            ),
            answer=self._made,
            slots=asyncio.Semaphore(sum(each.max_concurrency for each in at) + 2),  # waiting frames are held in memory
            at_once=job.split.mode == "fixed",
            emit=self._emit,
        )

    @asynccontextmanager
    async def _fetched(self, _: Video) -> AsyncGenerator[str, None]:
        yield await self._download.path()

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
        stage = request.stage
        if text := self._fresh.get(stage):
            request = replace(request, version=f"{request.version}+{text}")
        if self._growing and (task := GROWING.get(stage)):
            request = replace(request, on_text=partial(self._grew, task, str(request.facts.get("style") or "")))
        try:
            reply = await self._chats[stage](request)
        except ApiError as error:
            if error.bill is not None and not error.cached:
                self._emit(Spent(stage=stage, usage=Usage.of(error)))
            raise
        if not reply.usage.cached:
            self._emit(Spent(stage=stage, usage=reply.usage))
        return reply

    def _grew(self, task: Task, style: str, text: str) -> None:
        self._emit(GrowingText(task=task, style=style, text=strip_thinking(safe_text(text))))


def _unknown(_: Clip) -> None:
    """No clip is predicted: captions that are requested anew have no paid replies."""


def asking(*groups: Iterable[Any]) -> list[Prompted]:
    """The stages that ask an endpoint in groups of steps, nested at will, with their helpers."""
    stages: list[Prompted] = []
    for each in chain.from_iterable(groups):
        if isinstance(each, ChatStep):
            stages += [each.stage, *each.helpers]
        elif isinstance(each, Sequence):
            stages += asking(each)
    return stages
