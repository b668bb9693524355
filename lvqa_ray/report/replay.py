"""What was said about a video, prompt by prompt: the stages of its job, run again with the journal as their endpoint.

The journal holds answers under hashes and no prompts. So the prompts are made again, by the stages that made them, and
each is looked up: what is found is exactly what was sent, since any other prompt has another hash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lvqa_ray.config import Job
from lvqa_ray.errors import BadRequest, TooLong
from lvqa_ray.journal.book import Book
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Text, audio_seconds
from lvqa_ray.llm.middleware.truncation import RetryTruncated
from lvqa_ray.llm.replies.cleaning import cleaned
from lvqa_ray.pipeline import FrameScoring, Pipeline, build
from lvqa_ray.records import CaptionedClip, Clip, Failure, Span, Usage, Video, VideoInfo
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.stage import Role
from lvqa_ray.stage.steps import ChatStep, PlainStep
from lvqa_ray.stages.cut import CutClips

Row = Mapping[str, Any]
ClipIndex = Callable[[Video], Sequence[Clip] | None]
"""Gives the clips of a video as they were found, with the times and the identity of their pictures, if it can."""
Told = Callable[[Video, VideoInfo, Sequence[Row]], "list[Exchange] | None"]
"""Tells what was said about a video, or ``None`` where there is no time to look it up; see `Replay`."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply.

    Attributes:
        stage: Who asked.
        messages: Role and text of each message; a picture is a line in square brackets.
        reply: The reply as it came; of one that could not be used, what is left of it.
        error: Kind of the error, or empty.
        seconds: How long the endpoint took; 0 where that is not known.
        clip: Index of the clip that it is about; ``None`` for the video.
    """

    stage: str
    messages: tuple[tuple[str, str], ...]
    reply: str
    model: str
    usage: Usage
    error: str = ""
    seconds: float = 0.0
    clip: int | None = None


@dataclass(slots=True)
class _Recorder:
    """Answers from the journal, and writes down what was asked and said; what is not there was never answered."""

    job: Job
    roles: Mapping[str, Role]
    book: Book
    said: dict[str, Exchange] = field(default_factory=dict)
    clip: int | None = None

    async def __call__(self, request: ChatRequest) -> ChatReply:
        key = cache_key(self.job.endpoints.of(self.roles[request.stage]), request)
        entry = self.book.find(key)
        if entry is None:
            # Of all that a stage does when it is refused, making the request smaller is what may lead on.
            refused = TooLong if request.stage == self.job.caption.name else BadRequest
            raise refused("not in the journal", status=400)
        answered = isinstance(entry.reply, ChatReply)
        text = entry.reply.text if isinstance(entry.reply, ChatReply) else getattr(entry.reply, "raw", "")
        messages = tuple((message.role, _text(message.parts)) for message in request.messages)
        self.said[key] = Exchange(
            stage=request.stage,
            messages=messages,
            reply=safe_text(text),
            model=safe_text(entry.model),
            usage=entry.usage,
            error="" if answered else entry.unusable,
            seconds=entry.seconds,
            clip=self.clip,
        )
        if isinstance(entry.reply, ChatReply):
            return entry.reply if audio_seconds(request) else cleaned(entry.reply)
        raise entry.reply or BadRequest("asked for again", status=400)


def _text(parts: Sequence[Text | Media]) -> str:
    return "\n".join(part.text if isinstance(part, Text) else f"[{part.mime}]" for part in parts)


class Replay:
    """Tells what was said about videos.

    Args:
        job: The job that the rows were made by.
        book: The journal.
        found: Knows the clips of videos; without it, they are what the job's settings make of their rows.
    """

    def __init__(self, job: Job, book: Book, found: ClipIndex | None = None) -> None:
        self._job = job
        self._book = book
        self._found = found
        self._pipeline: Pipeline = build(job)

    def __call__(self, video: Video, info: VideoInfo, clips: Sequence[Row]) -> list[Exchange]:
        """All exchanges about a video, in the order of the pipeline.

        Args:
            video: The video.
            info: What it is.
            clips: Its rows of ``clips/``, in order.
        """
        return asyncio.run(self._all(video, info, clips))

    async def _all(self, video: Video, info: VideoInfo, rows: Sequence[Row]) -> list[Exchange]:
        clips = self._clips(video, info, rows)
        said: list[Exchange] = []
        for caption in self._pipeline.caption:
            for clip in clips:
                said += await self._captioned(caption, clip)
        captioned = [_captioned(clip, row) for clip, row in zip(clips, rows, strict=True)]
        work: list[Any] = [row for row in self._pipeline.merge(captioned) if not isinstance(row, CaptionedClip)]
        for group in self._pipeline.ask:
            if isinstance(group, FrameScoring):  # of pictures, all that a request is known by is known without them
                work = [group.expected(row) if isinstance(row, group.takes) else row for row in work]
                continue
            for step in group:
                work, exchanges = await self._made(step, work)
                said += exchanges
        return said

    async def _made(self, step: ChatStep | PlainStep, work: Sequence[Any]) -> tuple[list[Any], list[Exchange]]:
        """What a step makes of rows, and what was said for it."""
        made: list[Any] = []
        said: list[Exchange] = []
        for row in work:
            if not isinstance(row, step.takes):
                made.append(row)
                continue
            if isinstance(step, ChatStep):
                recorder = _Recorder(self._job, _roles(step), self._book)
                rows = await _tried(step, row, recorder, self._job)
                said += recorder.said.values()
            else:
                rows = list(step.call(row))
            # A step that lacks what it needs is passed by: what follows may still be told.
            made += [one for one in rows if not isinstance(one, Failure)] or [row]
        return made, said

    async def _captioned(self, step: ChatStep, clip: Clip) -> list[Exchange]:
        if clip.dropped:
            return []
        recorder = _Recorder(self._job, _roles(step), self._book, clip=clip.index)
        await _tried(step, clip, recorder, self._job)
        return list(recorder.said.values())

    def _clips(self, video: Video, info: VideoInfo, rows: Sequence[Row]) -> list[Clip]:
        found = {clip.index: clip for clip in (self._found(video) if self._found else None) or ()}
        clips = []
        for row in rows:
            span = Span(start_s=row["timestamp_start"], end_s=row["timestamp_end"])
            clip = found.get(row["index"])
            if clip is None or clip.span != span or not clip.identity:  # what is shown of it is told by the settings
                bare = Clip(
                    video=video,
                    info=info,
                    index=row["index"],
                    span=span,
                    last=row is rows[-1],
                    dropped=row["dropped"] or "",
                    lost_s=row["lost_sec"] or 0.0,
                )
                if clip is not None and clip.span == span:
                    bare = replace(bare, speech=clip.speech, heard=clip.heard, note=clip.note)
                if self._job.caption.media == "video":
                    clip = _with_file(bare, row, self._job.cut)
                else:
                    clip = self._job.sample.expected(bare)
            clips.append(replace(clip, last=row is rows[-1]))
        return clips


def _with_file(clip: Clip, row: Row, cut: CutClips) -> Clip:
    """A clip as it was when its file was shown."""
    begin_s, end_s = row["media_start"], row["media_end"]
    span = None if begin_s is None or end_s is None else Span(start_s=begin_s, end_s=end_s)
    return replace(clip, media_span=span, identity=cut.identity(clip))


def _roles(step: ChatStep) -> Mapping[str, Role]:
    """Who is asked, by the name of the asking stage."""
    return {stage.name: stage.role for stage in (step.stage, *step.helpers)}


async def _tried(step: ChatStep, row: Any, recorder: _Recorder, job: Job) -> list[Any]:  # noqa: ANN401 - any frozen row
    """What a stage makes of a row; nothing where it would need what is no longer there, such as the pictures."""
    try:
        return list(await step.call(row, RetryTruncated(recorder, job.endpoints.of(step.role))))
    except Exception:  # a stage may be one of the user's own, and a report is no place to fail
        return []


def _captioned(clip: Clip, row: Row) -> CaptionedClip:
    failure = None
    if row["error"]:
        message = row["error_message"] or ""
        failure = Failure(video=clip.video, clip_id=clip.id, stage="caption", kind=row["error"], message=message)
    return CaptionedClip(clip=clip, caption=row["caption"] or "", model=row["model"] or "", failure=failure)
