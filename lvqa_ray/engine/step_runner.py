"""Runs a group of steps on a row, and turns unexpected exceptions into failure rows. It imports no Ray."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile

from lvqa_ray.errors import FetchError
from lvqa_ray.records import (
    AnalyzedVideo,
    CaptionedClip,
    CaptionedVideo,
    Clip,
    Failure,
    QuestionedVideo,
    Row,
    Video,
    redact_url,
)
from lvqa_ray.stage import Chat
from lvqa_ray.stage.steps import ChatStep, PlainStep, VideoStep

logger = logging.getLogger(__name__)

Watcher = Callable[[str, Row], None]
"""Callback before each step of work on a row: the name of the step, and the row."""


def run_video_steps(steps: Sequence[VideoStep], row: Row, watcher: Watcher) -> Iterator[Row]:
    """Run steps on a row; yields the resulting rows as they come.

    Raises:
        MemoryError: The row needs more memory than this process may have.
    """
    rows: Iterable[Row] = [row]
    for step in steps:
        rows = _one_step(step, rows, watcher)
    return iter(rows)


def times_ahead(steps: Sequence[VideoStep], rows: Sequence[Row]) -> Sequence[Sequence[float]]:
    """Times of the frames that steps decode for the first rows, those of one video; see `VideoStep.times`."""
    step = next((step for step in steps if step.times is not None), None)
    if step is None or step.times is None:
        return ()
    of_video = takewhile(lambda row: video_of(row).uri == video_of(rows[0]).uri, rows)
    return [step.times(row) for row in of_video if isinstance(row, step.takes) and step.reads(row)]


def _one_step(step: VideoStep, rows: Iterable[Row], watcher: Watcher) -> Iterator[Row]:
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


class StopSteps(Exception):
    """Raised by a client to end the steps of a row: neither a defect nor an `ApiError`."""


async def run_step(step: ChatStep | PlainStep, row: Row, chat: Chat) -> Sequence[Row]:
    """Run one step on a row; an unexpected exception becomes a failure row.

    Raises:
        StopSteps: The client raised it.
    """
    try:
        return list(await step.call(row, chat) if isinstance(step, ChatStep) else step.call(row))
    except StopSteps:
        raise
    except Exception as error:
        return [internal_error_row(step.name, row, error)]


def video_of(row: Row) -> Video:
    """The video that a row is about."""
    match row:
        case Video():
            return row
        case CaptionedClip():
            return row.clip.video
        case AnalyzedVideo() | QuestionedVideo():
            return row.film.video
        case _:
            return row.video


def with_local_path(
    work: Callable[[Row], Iterable[Row]],
    row: Row,
    path: str | None,
) -> Iterator[Row]:
    """Run ``work`` on a row whose video is at a local path; the resulting rows name the original URI."""
    video = video_of(row)
    if path is None or path == video.uri:
        yield from work(row)
        return
    for out in work(_with_video(row, replace(video, uri=path), {})):
        yield _with_video(out, video, {path: redact_url(video.uri)})


def _with_video(row: Row, video: Video, names: Mapping[str, str]) -> Row:
    match row:
        case Video():
            return video
        case CaptionedClip():
            failure = row.failure and _failure_with_video(row.failure, video, names)
            return replace(row, clip=replace(row.clip, video=video), failure=failure)
        case QuestionedVideo():
            shown_spans = tuple(replace(clip, video=video) for clip in row.shown)
            return replace(row, film=replace(row.film, video=video), shown=shown_spans)
        case AnalyzedVideo():
            return replace(row, film=replace(row.film, video=video))
        case Failure():
            return _failure_with_video(row, video, names)
        case _:
            return replace(row, video=video)


def _failure_with_video(failure: Failure, video: Video, names: Mapping[str, str]) -> Failure:
    message = failure.message
    for name, instead in names.items():
        message = message.replace(name, instead)
    return replace(failure, video=video, message=message)


def failed(row: Row, failure: Failure) -> CaptionedClip | Failure:
    """Failure row in place of a row: for a clip, a `CaptionedClip` with the failure."""
    if not isinstance(row, Clip):
        return failure
    return CaptionedClip(clip=replace(row, frames=(), media=b""), failure=replace(failure, clip_id=row.id))


def not_fetched(steps: Sequence[VideoStep], row: Row, error: FetchError) -> CaptionedClip | Failure:
    """Failure row for a video that could not be fetched."""
    name = next(step.name for step in steps if isinstance(row, step.takes))
    video = video_of(row)
    # The captions are paid for: the file was there when they were made, and may be there again.
    retryable = error.retryable or isinstance(row, CaptionedVideo | QuestionedVideo)
    return failed(row, Failure(video=video, stage=name, kind=error.kind, message=str(error), retryable=retryable))


def without_images(row: Row) -> Row:
    """A clip without image data, of which only the frame times are kept; other rows unchanged."""
    if not isinstance(row, Clip):
        return row
    return replace(row, frames=tuple(replace(frame, jpeg=b"") for frame in row.frames), media=b"")


def internal_error_row(stage: str, row: Row, error: Exception) -> CaptionedClip | Failure:
    """Failure row for an unexpected exception in a stage."""
    logger.error("stage %s failed on a row", stage, exc_info=error)
    failure = Failure(
        video=video_of(row),
        stage=stage,
        kind="internal_error",
        # Only the type: the text of an unexpected error may hold a secret.
        message=f"{type(error).__name__} in stage {stage}; the worker's log has the details",
        retryable=True,
    )
    return failed(row, failure)
