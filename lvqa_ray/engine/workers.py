"""What runs inside Ray's tasks and actors: the steps of the pipeline, and the boundary at which a bug becomes a row."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
from pydantic import SecretStr

from lvqa_ray.engine.governor import RemotePermits
from lvqa_ray.engine.rows import Packed, pack, unpack
from lvqa_ray.errors import StopRun
from lvqa_ray.llm.cache import Cached, Journal, cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.limits import Limited
from lvqa_ray.llm.retry import Retrying
from lvqa_ray.llm.transport import OpenAITransport
from lvqa_ray.pipeline import ChatStep, VideoStep
from lvqa_ray.records import AskedFilm, CaptionedClip, Clip, Failure, Film, ProbedVideo, Video
from lvqa_ray.stage import Chat, Role

logger = logging.getLogger(__name__)


def work_on_files(packed: Packed, *, steps: Sequence[VideoStep], governors: Sequence[Any]) -> Iterator[Packed]:
    """Body of a task: put one row through a group of steps.

    Args:
        packed: The row.
        steps: The steps in order.
        governors: Handles of all governors: once one has halted, no more videos are read.

    Yields:
        The rows that the steps make of it, as they come; none once the run has halted.
    """
    if any(ray.get([governor.halted.remote() for governor in governors])):
        return
    rows: Iterable[Any] = [unpack(packed)]
    for step in steps:
        rows = _through(step, rows)
    yield from map(pack, rows)


def _through(step: VideoStep, rows: Iterable[Any]) -> Iterator[Any]:
    for row in rows:
        if not isinstance(row, step.takes):
            yield row
            continue
        try:
            yield from step.call(row)
        except Exception as error:
            yield _bug(step.name, row, error)


@dataclass(frozen=True, slots=True)
class Line:
    """What a chat worker needs to reach one endpoint; its key shows in no text."""

    endpoint: Endpoint
    api_key: SecretStr
    governor: Any


class ChatWork:
    """A group of steps that ask endpoints; its call runs many times at once on the actor's event loop.

    Args:
        steps: The steps in order.
        lines: The endpoint of every role.
        journal: Folder of the journal of paid answers.
        run_id: Names the segments that this run writes.
    """

    def __init__(self, steps: Sequence[ChatStep], lines: Mapping[Role, Line], journal: Path, run_id: str) -> None:
        writer = f"{run_id}_{uuid.uuid4().hex[:8]}"
        self._steps = steps
        self._lines = lines
        self._chats = {step.stage.name: _chat(step, lines[step.role], journal, writer) for step in steps}

    async def __call__(self, packed: Packed) -> list[Packed]:
        """The rows that the steps make of one row; none where the run has halted, so that it is done another time."""
        rows = [unpack(packed)]
        for step in self._steps:
            done: list[Any] = []
            for row in rows:
                done += await self._answer(step, row) if isinstance(row, step.takes) else [row]
            rows = done
        return [pack(row) for row in rows]

    async def _answer(self, step: ChatStep, row: Any) -> Sequence[Any]:  # noqa: ANN401 - any of the frozen rows
        chat = _Halting(self._chats[step.stage.name], self._lines[step.role].governor)
        try:
            answer: Sequence[Any] = await step.call(row, chat)
        except Exception as error:
            return [_bug(step.stage.name, row, error)]
        return [] if chat.halted else answer


class _Halting:
    """Notes whether a call failed because the run has halted: its row then has no outcome, rather than a failure.

    The governor is told: a reason that was found in this process, such as a full disk, has to stop all the others.
    """

    def __init__(self, inner: Chat, governor: Any) -> None:  # noqa: ANN401 - Ray's handles have no type of their own
        self._inner = inner
        self._governor = governor
        self.halted = False

    async def __call__(self, request: Any) -> Any:  # noqa: ANN401 - passes the chat protocol through
        try:
            return await self._inner(request)
        except StopRun as stop:
            self.halted = True
            await self._governor.halt.remote(str(stop))
            raise


def _chat(step: ChatStep, line: Line, journal: Path, writer: str) -> Chat:
    """The whole client path of a stage: journal, then retries, then the limits of the cluster, then the wire."""
    wire = OpenAITransport(line.endpoint, line.api_key)
    limited = Limited(wire, RemotePermits(line.governor))
    retrying = Retrying(limited, line.endpoint.max_attempts)
    answers = Journal(journal, writer=writer, stage=step.stage.name)
    return Cached(retrying, answers, partial(cache_key, line.endpoint))


_OWNER: Mapping[type, Callable[[Any], Video]] = {
    Video: lambda row: row,
    ProbedVideo: lambda row: row.video,
    Clip: lambda row: row.video,
    CaptionedClip: lambda row: row.clip.video,
    Film: lambda row: row.video,
    AskedFilm: lambda row: row.film.video,
}


def _bug(stage: str, row: Any, error: Exception) -> CaptionedClip | Failure:  # noqa: ANN401 - any of the frozen rows
    """The row that stands for one that a defect of ours kept from being made."""
    logger.error("stage %s failed on a row", stage, exc_info=error)
    clip = row if isinstance(row, Clip) else None
    failure = Failure(
        video=_OWNER[type(row)](row),
        clip_id=clip.id if clip else "",
        stage=stage,
        kind="internal_error",
        # Only the type: the text of an unforeseen error may hold anything.
        message=f"{type(error).__name__} in stage {stage}; the worker's log has the details",
        retryable=True,
    )
    return CaptionedClip(clip=clip, failure=failure) if clip else failure
