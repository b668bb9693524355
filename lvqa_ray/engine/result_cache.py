"""Caches of results of earlier passes and runs, which save decoding: clips of split videos, and paid replies.

This module imports no Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from lvqa_ray.engine.step_runner import StopSteps, run_step
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.journal.locations import for_reading
from lvqa_ray.journal.reply_store import ReadOnlyReplyStore
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.llm.middleware.cache import CacheMiddleware, ReplyStore
from lvqa_ray.llm.middleware.truncation import RetryTruncated
from lvqa_ray.llm.replies.cleaning import Cleaning
from lvqa_ray.records import Clip, Row
from lvqa_ray.stage import Chat, Prompted
from lvqa_ray.stage.steps import ChatStep, run_steps
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:  # they import every stage, and decode tasks need few of them
    from lvqa_ray.config import Job
    from lvqa_ray.pipeline import FrameScoring


class ResultCache(Protocol):
    """Cache of the results of a group of steps."""

    def get(self, row: Row) -> Iterable[Row] | None:
        """The rows that the steps would make of a row; ``None`` if they are not cached."""
        ...

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Store the rows that the steps made of a row; clips come without their frames."""
        ...


class NoCache:
    """Cache that holds nothing, for steps whose results are not stored."""

    def get(self, _: Row) -> None:
        """See `ResultCache`."""
        return

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """See `ResultCache`."""


class PaidCaptions:
    """Cache of paid captions: a clip with a caption in the journal is not decoded.

    The caption step itself runs, on a client that reads the journal and sends nothing, so the result is exactly that of
    a later run. Damaged clips are decoded anyway, since the job may let them fail.

    Args:
        journal: Folder of the journal of paid replies.
        step: The caption step.
        endpoint: The endpoint whose cache keys to use.
        ask_again: Treat failures in the journal as missing.
        expected: Predicts a clip after decoding, without its frames; ``None`` if its file is not cut yet.
        index: Gives the positions of the replies.
    """

    def __init__(
        self,
        journal: StoragePath,
        step: ChatStep,
        endpoint: Endpoint,
        *,
        ask_again: bool,
        expected: Callable[[Clip], Clip | None],
        index: Callable[[], KeyIndex],
    ) -> None:
        self._journal = journal
        self._step = step
        self._endpoint = endpoint
        self._ask_again = ask_again
        self._expected = expected
        self._index = index

    def get(self, row: Row) -> Sequence[Row] | None:
        """See `ResultCache`."""
        if not isinstance(row, Clip) or row.dropped or row.lost_s:
            return None
        index = self._index()
        if not len(index) or any(frame.jpeg for frame in row.frames) or (clip := self._expected(row)) is None:
            return None
        kept = ReadOnlyReplyStore(for_reading(self._journal), index)
        return asyncio.run(paid(self._step, clip, kept, self._endpoint, ask_again=self._ask_again))

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Do nothing: the chat worker that pays for a reply writes the journal."""


class PaidFrames:
    """Cache of paid replies about frames of a video: if all are in the journal, the frames are not decoded.

    As for captions, the steps themselves run on the journal.

    Args:
        journal: Folder of the journal of paid replies.
        look: The steps that read frames, and the steps that ask about them.
        job: Gives the endpoints whose cache keys to use.
        index: Gives the positions of the replies, by stage.
    """

    def __init__(
        self, journal: StoragePath, look: FrameScoring, job: Job, index: Callable[[], Mapping[str, KeyIndex]]
    ) -> None:
        self._journal = journal
        self._look = look
        self._endpoints = job.endpoints
        self._ask_again = job.engine.retry_failures
        self._index = index

    def get(self, row: Row) -> Sequence[Row] | None:
        """See `ResultCache`."""
        answers = self._index()
        # The last step asks about the frames; those before it may have sent no request.
        if not isinstance(row, self._look.takes) or not len(answers[self._look.asks[-1].name]):
            return None
        try:
            return asyncio.run(self._asked(self._look.expected(row), answers))
        except NotKeptError:
            return None

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Do nothing: the chat worker that pays for a reply writes the journal."""

    async def _asked(self, row: Row, answers: Mapping[str, KeyIndex]) -> Sequence[Row]:
        chats = {stage.name: self._chat(stage, answers[stage.name]) for stage in asked_by(self._look)}

        async def chat(request: ChatRequest) -> ChatReply:
            return await chats[request.stage](request)

        return await run_steps(self._look.asks, [row], partial(run_step, chat=chat))

    def _chat(self, stage: Prompted, answers: KeyIndex) -> Chat:
        endpoint = self._endpoints.of(stage.role)
        kept = ReadOnlyReplyStore(for_reading(self._journal), answers)
        cached = CacheMiddleware(_unknown, kept, partial(cache_key, endpoint), ask_again=self._ask_again)
        return Cleaning(RetryTruncated(cached, endpoint))


def asked_by(look: FrameScoring) -> Sequence[Prompted]:
    """The stages that ask about the frames."""
    steps = [step for step in look.asks if isinstance(step, ChatStep)]
    return [stage for step in steps for stage in (step.stage, *step.helpers)]


async def paid(
    step: ChatStep, clip: Clip, answers: ReplyStore, endpoint: Endpoint, *, ask_again: bool
) -> Sequence[Row] | None:
    """The rows that a step makes of a clip from cached replies; ``None`` if one is missing."""
    cached = CacheMiddleware(_unknown, answers, partial(cache_key, endpoint), ask_again=ask_again)
    try:
        return await run_step(step, clip, RetryTruncated(cached, endpoint))
    except NotKeptError:
        return None


class NotKeptError(StopSteps):
    """The journal has no reply. Not an `ApiError`, which a stage would turn into a failure row."""


async def _unknown(_: ChatRequest) -> ChatReply:
    raise NotKeptError
