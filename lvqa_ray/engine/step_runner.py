"""Putting one row through a group of steps, and the boundary at which a bug becomes a row. Knows nothing of Ray."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lvqa_ray.errors import FetchError
from lvqa_ray.records import (
    AnalysisRecord,
    AnalyzedVideo,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    FinishedVideo,
    ProbedVideo,
    QuestionedVideo,
    ScoredPart,
    Video,
    VideoPart,
    redact_url,
)
from lvqa_ray.stage.steps import ChatStep, PlainStep, VideoStep

logger = logging.getLogger(__name__)

Watcher = Callable[[str, Any], None]
"""Is told the name of a step and the row that it is working on, each time before it goes on with that."""


def run_video_steps(steps: Sequence[VideoStep], row: Any, watcher: Watcher) -> Iterator[Any]:  # noqa: ANN401 - any frozen row
    """The rows that steps make of a row, as they come.

    Raises:
        MemoryError: The row needs more memory than this process may have.
    """
    rows: Iterable[Any] = [row]
    for step in steps:
        rows = _one_step(step, rows, watcher)
    return iter(rows)


def _one_step(step: VideoStep, rows: Iterable[Any], watcher: Watcher) -> Iterator[Any]:
    for row in rows:
        if not isinstance(row, step.takes):
            yield row
            continue
        try:
            made = iter(step.call(row))
            while True:
                watcher(step.name, row)
                try:
                    out = next(made)
                except StopIteration:
                    break
                yield out
        except MemoryError:
            raise
        except Exception as error:
            yield internal_error_row(step.name, row, error)


async def run_chat_steps(
    steps: Sequence[ChatStep | PlainStep],
    row: Any,  # noqa: ANN401 - any of the frozen rows
    work: Callable[[ChatStep | PlainStep, Any], Awaitable[Sequence[Any]]],
) -> Sequence[Any]:
    """The rows that steps make of a row, one step after another; ``work`` does one step on one row."""
    rows: Sequence[Any] = [row]
    for step in steps:
        done: list[Any] = []
        for each in rows:
            done += await work(step, each) if isinstance(each, step.takes) else [each]
        rows = done
    return rows


_OWNER: Mapping[type, Callable[[Any], Video]] = {
    Video: lambda row: row,
    ProbedVideo: lambda row: row.video,
    VideoPart: lambda row: row.video,
    ScoredPart: lambda row: row.video,
    Clip: lambda row: row.video,
    CaptionedClip: lambda row: row.clip.video,
    CaptionedVideo: lambda row: row.video,
    AnalyzedVideo: lambda row: row.film.video,
    AnalysisRecord: lambda row: row.video,
    QuestionedVideo: lambda row: row.film.video,
    FinishedVideo: lambda row: row.video,
    Failure: lambda row: row.video,
}


def video_of(row: Any) -> Video:  # noqa: ANN401 - any of the frozen rows
    """The video that a row is about."""
    return _OWNER[type(row)](row)


def with_local_path(
    work: Callable[[Any], Iterable[Any]],
    row: Any,  # noqa: ANN401 - any of the frozen rows
    path: str | None,
) -> Iterator[Any]:
    """The rows that work makes of a row while its video is at another path; they name the video as the row does."""
    video = video_of(row)
    if path is None or path == video.uri:
        yield from work(row)
        return
    for out in work(_with_video(row, replace(video, uri=path), {})):
        yield _with_video(out, video, {path: redact_url(video.uri)})


def _with_video(row: Any, video: Video, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any of the frozen rows
    match row:
        case Video():
            return video
        case CaptionedClip():
            failure = row.failure and _with_video(row.failure, video, names)
            return replace(row, clip=_with_video(row.clip, video, names), failure=failure)
        case QuestionedVideo():
            shown_spans = tuple(replace(clip, video=video) for clip in row.shown)
            return replace(row, film=replace(row.film, video=video), shown=shown_spans)
        case Failure():
            message = row.message
            for name, instead in names.items():
                message = message.replace(name, instead)
            return replace(row, video=video, message=message)
        case _:
            return replace(row, video=video)


def failed(row: Any, failure: Failure) -> CaptionedClip | Failure:  # noqa: ANN401 - any of the frozen rows
    """The row that takes the place of one that cannot be made into another."""
    if not isinstance(row, Clip):
        return failure
    return CaptionedClip(clip=replace(row, frames=(), media=b""), failure=replace(failure, clip_id=row.id))


def not_fetched(steps: Sequence[VideoStep], row: Any, error: FetchError) -> CaptionedClip | Failure:  # noqa: ANN401
    """The row that stands for one whose video cannot be had, so that steps cannot be taken."""
    name = next(step.name for step in steps if isinstance(row, step.takes))
    video = video_of(row)
    # A film's captions are paid for: the file was there when they were made, and may be there again.
    retryable = error.retryable or isinstance(row, CaptionedVideo | QuestionedVideo)
    return failed(row, Failure(video=video, stage=name, kind=error.kind, message=str(error), retryable=retryable))


def without_images(row: Any) -> Any:  # noqa: ANN401 - any of the frozen rows
    """A row without its pictures, of which only the times are kept."""
    if not isinstance(row, Clip):
        return row
    return replace(row, frames=tuple(replace(frame, jpeg=b"") for frame in row.frames), media=b"")


def internal_error_row(stage: str, row: Any, error: Exception) -> CaptionedClip | Failure:  # noqa: ANN401 - any of the frozen rows
    """The row that stands for one that a defect of ours kept from being made."""
    logger.error("stage %s failed on a row", stage, exc_info=error)
    failure = Failure(
        video=video_of(row),
        stage=stage,
        kind="internal_error",
        # Only the type: the text of an unforeseen error may hold anything.
        message=f"{type(error).__name__} in stage {stage}; the worker's log has the details",
        retryable=True,
    )
    return failed(row, failure)
