"""Steps of one video on an event loop: finding its clips, decoding them in child processes, captioning them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from itertools import chain, islice

from lvqa_ray.engine.clip_uploads import ClipUploader
from lvqa_ray.engine.decoding.clip_runs import run_lengths
from lvqa_ray.engine.decoding.pool import DecodePool
from lvqa_ray.engine.result_cache import paid
from lvqa_ray.engine.row_codec import pack, unpack
from lvqa_ray.engine.step_runner import not_fetched, run_video_steps, video_of, without_images
from lvqa_ray.errors import FetchError
from lvqa_ray.journal.found_clips import ClipIndex
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.cache import ReplyStore
from lvqa_ray.pipeline import Group, Pipeline
from lvqa_ray.records import CaptionedClip, Clip, Failure, ProbedVideo, Row, Video
from lvqa_ray.stage.steps import ChatStep, PlainStep, VideoStep, run_steps

LONGEST_RUN = 16
"""Maximum number of consecutive clips that one process decodes in one go."""
Fetch = Callable[[Video], AbstractAsyncContextManager[str]]
"""Gives the local path of a video while its block runs; raises `FetchError`."""
Answer = Callable[[ChatStep | PlainStep, Row], Awaitable[Sequence[Row]]]
"""Runs a step on a row, with the clients of the endpoints."""


class FileSteps:
    """Runs steps that open videos, in decoder processes.

    Args:
        decoders: The processes.
        fetch: Gives the local path of a video.
        media: Uploads cut clips.

    Attributes:
        most: Maximum number of processes.
    """

    def __init__(self, decoders: DecodePool, fetch: Fetch, media: ClipUploader) -> None:
        self._decoders, self._fetch, self._media = decoders, fetch, media
        self.most = decoders.most

    async def rows(self, steps: Sequence[VideoStep], *rows: Row) -> AsyncGenerator[Row, None]:
        """Run steps on rows of one video, in one decoder process if they open the file.

        Yields:
            The resulting rows as they come.
        """
        if not any(isinstance(row, step.takes) and step.reads(row) for step in steps for row in rows):
            for row in rows:
                for out in run_video_steps(steps, row, _unwatched):
                    yield out
            return
        try:
            async with self._fetch(video_of(rows[0])) as path, aclosing(self._decoders.rows(steps, rows, path)) as made:
                async for out in made:
                    yield out if self._media.cuts_in_place else await asyncio.to_thread(self._upload, out)
        except FetchError as error:
            for row in rows:
                yield not_fetched(steps, row, error)

    def _upload(self, row: Row) -> Row:
        """Upload the clip file of a row."""
        uploaded: Row = next(chain.from_iterable(map(unpack, self._media.upload([pack(row)]))))
        return uploaded


class PaidReplies:
    """Looks up the paid caption of a clip, so that the clip is not decoded.

    Args:
        step: The caption step.
        answers: The journal of its stage.
        endpoint: The endpoint whose cache keys to use.
        expected: Predicts a clip after decoding, without its frames; ``None`` if its file is not cut yet.
        ask_again: Treat failures in the journal as missing.
    """

    def __init__(
        self,
        step: ChatStep,
        answers: ReplyStore,
        endpoint: Endpoint,
        expected: Callable[[Clip], Clip | None],
        *,
        ask_again: bool,
    ) -> None:
        self._step, self._answers, self._endpoint, self._ask_again = step, answers, endpoint, ask_again
        self._expected = expected

    async def rows(self, clip: Clip) -> Sequence[Row] | None:
        """The rows of a clip from paid replies; ``None`` if one is missing."""
        if clip.dropped or clip.lost_s or has_images(clip):
            return None
        expected = await asyncio.to_thread(self._expected, clip)
        if expected is None:
            return None
        return await paid(self._step, expected, self._answers, self._endpoint, ask_again=self._ask_again)


class VideoSteps:
    """Finds the clips of one video and captions them; clips wait for their captions while others are decoded.

    Args:
        pipeline: The steps.
        splitting: Runs the steps that find clips.
        looking: Runs the steps that decode clips. If clips leave the split with images, these must be other processes:
            the split holds its own while it waits for `slots`.
        found: Cache of the clips of videos.
        paid: Cache of their captions.
        answer: Runs chat steps.
        slots: Bounds the clips whose images are in memory.
        at_once: Whether to find all clips before the first one is decoded, since that takes no time. Consecutive clips
            are then decoded in one go, as are those that an earlier run has found.
        emit: Called with the `ProbedVideo`, each `Clip` (without its images) and each `CaptionedClip` as they come;
            ``None`` to run the probe together with the split.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        splitting: FileSteps,
        looking: FileSteps,
        found: ClipIndex,
        paid: PaidReplies,
        answer: Answer,
        slots: asyncio.Semaphore,
        at_once: bool,
        emit: Callable[[Row], None] | None = None,
    ) -> None:
        self._pipeline, self._splitting, self._looking = pipeline, splitting, looking
        self._found, self._paid, self._answer, self._slots = found, paid, answer, slots
        self._at_once, self._probes_first = at_once, emit is not None
        self._emit = emit or _ignored

    async def captions(self, video: Video) -> list[CaptionedClip] | Failure:
        """The captioned clips of a video in order, or its failure."""
        captions: list[CaptionedClip] = []
        failures: list[Failure] = []
        waiting: list[Clip] = []
        try:
            known = await asyncio.to_thread(self._found.get, video)
            at_once = self._at_once or known is not None
            async with asyncio.TaskGroup() as group, aclosing(self._clips(video, known)) as clips:
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
                    if at_once:
                        waiting.append(row)
                        continue
                    if has_images(row):  # the split waits here
                        await self._slots.acquire()
                    task = group.create_task(self._caption(row, captions))
                    if has_images(row):
                        task.add_done_callback(self._release)
                turn = asyncio.Lock()
                for run in _runs(waiting, self._looking.most):
                    group.create_task(self._caption_run(run, captions, group, turn))
        except* _VideoFailed as failed:
            failures += (error.failure for error in failed.exceptions if isinstance(error, _VideoFailed))
        return failures[0] if failures else sorted(captions, key=lambda row: row.clip.index)

    async def _caption(self, clip: Clip, captions: list[CaptionedClip]) -> None:
        rows = await self._paid.rows(clip)
        if rows is None and has_images(clip):
            rows = await self._looked_at(clip)
        elif rows is None:
            async with self._slots:
                rows = await self._looked_at(clip)
        self._take(rows, captions)

    async def _caption_run(
        self, clips: Sequence[Clip], captions: list[CaptionedClip], group: asyncio.TaskGroup, turn: asyncio.Lock
    ) -> None:
        """Caption consecutive clips, which one process decodes in one go.

        Args:
            clips: The clips.
            captions: Gets their captions.
            group: Runs the requests.
            turn: Shared by the runs of a video, which look up replies in turn, so that they are decoded in order: a
                long run takes longer to look up.
        """
        left = []
        async with turn:
            for clip in clips:
                if (rows := await self._paid.rows(clip)) is None:
                    left.append(clip)
                else:
                    self._take(rows, captions)
        if not left:
            return
        async with aclosing(self._looking.rows(self._pipeline.look, *left)) as looked:
            async for row in looked:
                await self._slots.acquire()
                group.create_task(self._ask(row, captions)).add_done_callback(self._release)

    async def _ask(self, row: Row, captions: list[CaptionedClip]) -> None:
        self._take(await run_steps(self._pipeline.caption, [row], self._answer), captions)

    def _take(self, rows: Sequence[Row], captions: list[CaptionedClip]) -> None:
        for row in rows:
            self._emit(row)
            if isinstance(row, CaptionedClip):
                captions.append(row)

    def _release(self, _: asyncio.Task[None]) -> None:
        self._slots.release()

    async def _looked_at(self, clip: Clip) -> Sequence[Row]:
        async with aclosing(self._looking.rows(self._pipeline.look, clip)) as looked:
            rows = [row async for row in looked]
        return await run_steps(self._pipeline.caption, rows, self._answer)

    async def _clips(self, video: Video, known: Sequence[Clip] | None) -> AsyncGenerator[Row, None]:
        if known is not None:
            self._emit(ProbedVideo(video=video, info=known[0].info, speech=known[0].heard))
            for clip in known:
                yield clip
            return
        made: list[Row] = []
        async with aclosing(self._split(video)) as clips:
            if self._at_once:  # the process that splits is then free for the first clip
                made = [row async for row in clips]
            else:
                async for row in clips:
                    made.append(without_images(row))
                    yield row
        for row in made if self._at_once else ():
            yield row
        await asyncio.to_thread(self._found.put, video, made)

    async def _split(self, video: Video) -> AsyncGenerator[Row, None]:
        groups: list[Group] = [*self._pipeline.hear, self._pipeline.split]
        if not self._probes_first:
            async for row in self._in_turn(groups, video):
                yield row
            return
        opening, *others = groups
        first, *then = (step for step in opening if isinstance(step, VideoStep))
        async with aclosing(self._splitting.rows([first], video)) as probed:
            async for row in probed:
                if not isinstance(row, ProbedVideo):
                    yield row
                    continue
                self._emit(row)
                async with aclosing(self._in_turn([then, *others], row)) as clips:
                    async for out in clips:
                        yield out

    async def _in_turn(self, groups: Sequence[Group], row: Row) -> AsyncGenerator[Row, None]:
        """Run groups of steps on a row, one group after another; yields the resulting rows."""
        if not groups:
            yield row
            return
        group, *others = groups
        video_steps = [step for step in group if isinstance(step, VideoStep)]
        if video_steps:
            async with aclosing(self._splitting.rows(video_steps, row)) as made:
                async for out in made:
                    async with aclosing(self._in_turn(others, out)) as rows:
                        async for each in rows:
                            yield each
            return
        asking = [step for step in group if not isinstance(step, VideoStep)]
        for out in await run_steps(asking, [row], self._answer):
            async with aclosing(self._in_turn(others, out)) as rows:
                async for each in rows:
                    yield each


class _VideoFailed(Exception):
    """Ends the run of the video, with its failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self.failure = failure


def _runs(clips: Sequence[Clip], processes: int) -> Iterator[Sequence[Clip]]:
    """Runs of consecutive clips."""
    rest = iter(clips)
    for length in run_lengths(len(clips), processes, LONGEST_RUN):
        yield list(islice(rest, length))


def has_images(clip: Clip) -> bool:
    """Whether a clip carries image data."""
    return any(frame.jpeg for frame in clip.frames)


def _ignored(_: Row) -> None:
    """Emit nothing."""


def _unwatched(_stage: str, _row: Row) -> None:
    """Ignore the progress: steps in this process have no watchdog."""
