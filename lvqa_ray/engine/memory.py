"""What earlier passes and runs have found out, so that no video is decoded for it again.

A pass begins with a look at what is written down: the clips of videos that were split to their end, and the captions
that are paid for. Where these lines stand is put into Ray's object store once, and all tasks of a node share it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import ray

from lvqa_ray.engine.found import clips_folder, index_of
from lvqa_ray.engine.journals import for_reading, segments_at
from lvqa_ray.engine.place import Place
from lvqa_ray.engine.steps import bug
from lvqa_ray.llm.cached import Cached
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.index import Index
from lvqa_ray.llm.journal import Journal, Kept
from lvqa_ray.llm.key import cache_key
from lvqa_ray.llm.mend import Mending
from lvqa_ray.llm.messages import ChatReply, ChatRequest
from lvqa_ray.records import Clip
from lvqa_ray.stage.steps import ChatStep

logger = logging.getLogger(__name__)


class Memory(Protocol):
    """Spares a group of steps their work on a row."""

    def recall(self, row: Any) -> Iterable[Any] | None:  # noqa: ANN401 - any of the frozen rows
        """The rows that the steps would make of a row, or ``None`` where that is not known."""
        ...

    def note(self, row: Any, made: Sequence[Any]) -> None:  # noqa: ANN401 - as above
        """Keep what the steps made of a row; of clips without their pictures."""
        ...


class Nothing:
    """A memory for steps whose work is not known from earlier."""

    def recall(self, _: Any) -> None:  # noqa: ANN401 - any of the frozen rows
        """See `Memory`."""
        return

    def note(self, row: Any, made: Sequence[Any]) -> None:  # noqa: ANN401 - as above
        """See `Memory`."""


@dataclass(frozen=True, slots=True)
class Known:
    """Where the lines stand: of the answers to one stage, and of the clips of videos."""

    answers: Index
    clips: Index


def look_up(journal: Place, stage: str) -> Any:  # noqa: ANN401 - Ray's references have no type of their own
    """A reference to what is `Known` now; a task reads it, so that it is never in the driver's memory."""
    as_task: Any = ray.remote  # its types know of functions without options only
    return as_task(num_cpus=0)(_read).remote(journal, stage)


def _read(journal: Place, stage: str) -> Known:
    nothing = Index.of({})
    try:
        answers = Journal(segments_at(journal), writer="reader", stage=stage).index()
        return Known(answers, index_of(clips_folder(journal)))
    except OSError as error:  # the worker that is to write there says so, and stops the run
        logger.warning("%s cannot be read (%s)", journal, error)
        return Known(nothing, nothing)


@lru_cache(maxsize=1)
def known(reference: Any) -> Known:  # noqa: ANN401 - as above
    """What `look_up` has found, read in place."""
    found: Known = ray.get(reference)
    return found


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
        journal: Place,
        step: ChatStep,
        endpoint: Endpoint,
        *,
        ask_again: bool,
        expected: Callable[[Clip], Clip | None],
        index: Callable[[], Index],
    ) -> None:
        self._journal = journal
        self._step = step
        self._endpoint = endpoint
        self._ask_again = ask_again
        self._expected = expected
        self._index = index

    def recall(self, row: Any) -> Sequence[Any] | None:  # noqa: ANN401 - any of the frozen rows
        """See `Memory`."""
        if not isinstance(row, Clip) or row.dropped or row.lost_s:
            return None
        index = self._index()
        if not len(index) or any(frame.jpeg for frame in row.frames) or (clip := self._expected(row)) is None:
            return None
        kept = Kept(for_reading(self._journal), index)
        cached = Cached(_unknown, kept, partial(cache_key, self._endpoint), ask_again=self._ask_again)
        try:
            made: Sequence[Any] = asyncio.run(self._step.call(clip, Mending(cached, self._endpoint)))
        except NotKeptError:
            return None
        except Exception as error:
            return [bug(self._step.stage.name, row, error)]
        return made

    def note(self, row: Any, made: Sequence[Any]) -> None:  # noqa: ANN401 - any of the frozen rows
        """Nothing: the journal is written by who pays."""


class NotKeptError(Exception):
    """The journal has no answer; it is no `ApiError`, which a stage would make into a failure."""


async def _unknown(_: ChatRequest) -> ChatReply:
    raise NotKeptError
