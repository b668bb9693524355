"""What earlier passes and runs have found out, so that no video is decoded for it again.

These are the clips of videos that were split to their end, and the answers that are paid for. Knows nothing of Ray.
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
from lvqa_ray.records import Clip, Row
from lvqa_ray.stage import Chat, Prompted
from lvqa_ray.stage.steps import ChatStep, run_steps
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:  # it knows every stage: who loads this to decode needs few of them
    from lvqa_ray.config import Job
    from lvqa_ray.pipeline import FrameScoring


class ResultCache(Protocol):
    """Spares a group of steps their work on a row."""

    def get(self, row: Row) -> Iterable[Row] | None:
        """The rows that the steps would make of a row, or ``None`` where that is not known."""
        ...

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Keep what the steps made of a row; of clips without their pictures."""
        ...


class NoCache:
    """A memory for steps whose work is not known from earlier."""

    def get(self, _: Row) -> None:
        """See `ResultCache`."""
        return

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """See `ResultCache`."""


class PaidCaptions:
    """The captions that the journal holds: a clip that has one is not decoded.

    The stage itself asks, of a journal that has nobody behind it, so that it comes to just what it would come to later.
    Damaged clips are decoded all the same, since the job may want to fail them.

    Args:
        journal: Folder of the journal of paid answers.
        step: The step that captions.
        endpoint: Names the answers.
        ask_again: Take what the journal holds as a failure for unknown.
        expected: Tells what will be made of a clip; ``None`` where its file is still to be cut.
        index: Gives the places of the answers.
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
        """Nothing: the journal is written by who pays."""


class PaidFrames:
    """The answers about films that the journal holds: what would only be read to be shown for them is not read.

    As with captions, the stages themselves ask.

    Args:
        journal: Folder of the journal of paid answers.
        look: What would be read, and who asks about it.
        job: Names the answers, by its endpoints.
        index: Gives the places of the answers, by stage.
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
        # The last one asks about what is read: those before it may have had nothing to ask.
        if not isinstance(row, self._look.takes) or not len(answers[self._look.asks[-1].name]):
            return None
        try:
            return asyncio.run(self._asked(self._look.expected(row), answers))
        except NotKeptError:
            return None

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Nothing: the journal is written by who pays."""

    async def _asked(self, row: Row, answers: Mapping[str, KeyIndex]) -> Sequence[Row]:
        chats = {stage.name: self._chat(stage, answers[stage.name]) for stage in asked_by(self._look)}

        async def chat(request: ChatRequest) -> ChatReply:
            return await chats[request.stage](request)

        return await run_steps(self._look.asks, [row], partial(run_step, chat=chat))

    def _chat(self, stage: Prompted, answers: KeyIndex) -> Chat:
        endpoint = self._endpoints.of(stage.role)
        kept = ReadOnlyReplyStore(for_reading(self._journal), answers)
        return RetryTruncated(
            CacheMiddleware(_unknown, kept, partial(cache_key, endpoint), ask_again=self._ask_again), endpoint
        )


def asked_by(look: FrameScoring) -> Sequence[Prompted]:
    """The stages that ask about what is read."""
    steps = [step for step in look.asks if isinstance(step, ChatStep)]
    return [stage for step in steps for stage in (step.stage, *step.helpers)]


async def paid(
    step: ChatStep, clip: Clip, answers: ReplyStore, endpoint: Endpoint, *, ask_again: bool
) -> Sequence[Row] | None:
    """What a step makes of a clip with the answers that are there, or ``None`` where one is missing."""
    cached = CacheMiddleware(_unknown, answers, partial(cache_key, endpoint), ask_again=ask_again)
    try:
        return await run_step(step, clip, RetryTruncated(cached, endpoint))
    except NotKeptError:
        return None


class NotKeptError(StopSteps):
    """The journal has no answer; it is no `ApiError`, which a stage would make into a failure."""


async def _unknown(_: ChatRequest) -> ChatReply:
    raise NotKeptError
