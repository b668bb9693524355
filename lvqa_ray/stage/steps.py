"""A stage's place in a pipeline: the rows that it takes, and what it is called with.

Apart from the pipeline, which knows every stage and with them the video libraries: who asks endpoints loads none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lvqa_ray.llm.messages import Chat
from lvqa_ray.records import Row
from lvqa_ray.stage.prompted import Prompted, Role


@dataclass(frozen=True, slots=True)
class VideoStep:
    """A stage that works on files, the rows that it takes, and for which of them it reads the video's file.

    Rows that it does not take pass it by.
    """

    name: str
    takes: type
    call: Callable[[Any], Iterable[Row]]
    reads: Callable[[Any], bool] = bool  # every row is true


@dataclass(frozen=True, slots=True)
class ChatStep:
    """A stage that asks an endpoint, and the rows that it takes; other rows pass it by.

    Attributes:
        helpers: Other stages that its call asks too; who is asked is told by the request.
    """

    stage: Prompted
    takes: type
    call: Callable[[Any, Chat], Awaitable[Sequence[Row]]]
    helpers: tuple[Prompted, ...] = ()

    @property
    def name(self) -> str:
        """Name of the stage."""
        return self.stage.name

    @property
    def role(self) -> Role:
        """Which endpoint of the job it asks."""
        return self.stage.role

    @property
    def roles(self) -> Sequence[Role]:
        """Those that its helpers ask as well."""
        return list(dict.fromkeys(stage.role for stage in (self.stage, *self.helpers)))


@dataclass(frozen=True, slots=True)
class PlainStep:
    """A stage that neither opens a file nor asks anybody, and the rows that it takes; other rows pass it by."""

    name: str
    takes: type
    call: Callable[[Any], Iterable[Row]]


async def run_steps(
    steps: Sequence[ChatStep | PlainStep],
    rows: Sequence[Row],
    do: Callable[[ChatStep | PlainStep, Row], Awaitable[Sequence[Row]]],
) -> Sequence[Row]:
    """The rows that steps make of rows, one step after another.

    Args:
        steps: The steps in order.
        rows: The rows; a step is done on those that it takes, and passes the others by.
        do: Does one step on one row.
    """
    for step in steps:
        done: list[Row] = []
        for row in rows:
            done += await do(step, row) if isinstance(row, step.takes) else [row]
        rows = done
    return rows
