"""Pipeline steps: a stage with the row type that it processes.

Separate from `pipeline`, which imports every stage and the video libraries: chat workers load none of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lvqa_ray.llm.messages import Chat
from lvqa_ray.records import Clip, QuestionedVideo, Row
from lvqa_ray.stage.prompted import Prompted, Role


@dataclass(frozen=True, slots=True)
class VideoStep:
    """A stage that works on files. Rows of other types than `takes` pass through unchanged.

    It is pickled for the decoder process, which imports the modules of its functions, so none may be in `pipeline`.

    Attributes:
        reads: Whether a row needs the video file; by default every row does. See `never`, `is_kept`, `lacks_frames` and
            `has_questions`.
        times: Times of the frames that it decodes for a row (s, ascending), so that the frames of several rows can be
            decoded in one go; ``None`` if they are not known before.
    """

    name: str
    takes: type
    call: Callable[[Any], Iterable[Row]]
    reads: Callable[[Any], bool] = bool
    times: Callable[[Any], Sequence[float]] | None = None


def never(_: Row) -> bool:
    """False: no row needs its video file."""
    return False


def is_kept(clip: Clip) -> bool:
    """Whether the clip was not dropped."""
    return not clip.dropped


def lacks_frames(clip: Clip) -> bool:
    """Whether the clip was not dropped and has no image data yet."""
    return not clip.dropped and not any(frame.jpeg for frame in clip.frames)


def has_questions(row: QuestionedVideo) -> bool:
    """Whether the video has questions left."""
    return bool(row.questions)


@dataclass(frozen=True, slots=True)
class ChatStep:
    """A stage that asks an endpoint. Rows of other types than `takes` pass through unchanged.

    Attributes:
        helpers: Other stages whose requests its call sends too; `ChatRequest.stage` selects the endpoint.
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
        """Which endpoint of the job it uses."""
        return self.stage.role

    @property
    def roles(self) -> Sequence[Role]:
        """Roles of the stage and its helpers, each once."""
        return list(dict.fromkeys(stage.role for stage in (self.stage, *self.helpers)))


@dataclass(frozen=True, slots=True)
class PlainStep:
    """A stage without file or network access. Rows of other types than `takes` pass through unchanged."""

    name: str
    takes: type
    call: Callable[[Any], Iterable[Row]]


async def run_steps(
    steps: Sequence[ChatStep | PlainStep],
    rows: Sequence[Row],
    do: Callable[[ChatStep | PlainStep, Row], Awaitable[Sequence[Row]]],
) -> Sequence[Row]:
    """Run steps one after another on rows; each step skips rows of other types.

    Args:
        steps: The steps in order.
        rows: The input rows.
        do: Runs one step on one row.
    """
    for step in steps:
        done: list[Row] = []
        for row in rows:
            done += await do(step, row) if isinstance(row, step.takes) else [row]
        rows = done
    return rows
