"""Replay of a video's prompts and replies: runs the job's stages again with the journal in place of the endpoint.

The journal stores replies by request hash, without prompts. The stages rebuild each prompt, and its hash is looked up.
A hit is exactly what was sent, since any other prompt has another hash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lvqa_ray.config import Job
from lvqa_ray.errors import BadRequest, TooLong
from lvqa_ray.journal.book import Book
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Text, audio_seconds
from lvqa_ray.llm.middleware.truncation import RetryTruncated
from lvqa_ray.llm.replies.cleaning import cleaned
from lvqa_ray.pipeline import FrameScoring, Pipeline, build
from lvqa_ray.records import CaptionedClip, Clip, Failure, Row, Span, Usage, Video, VideoInfo
from lvqa_ray.records.row import TableRow
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.stage import Role
from lvqa_ray.stage.steps import ChatStep, PlainStep, run_steps
from lvqa_ray.stages.cut import CutClips

ClipIndex = Callable[[Video], Sequence[Clip] | None]
"""Returns the cached clips of a video with the times and identity of their frames, or ``None``."""
FindExchanges = Callable[[Video, VideoInfo, Sequence[TableRow]], "list[Exchange] | None"]
"""Returns the exchanges about a video, or ``None`` after the time limit; see `Replay`."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply.

    Attributes:
        stage: Name of the stage that sent the request.
        messages: Role and text of each message; an image is a line in square brackets.
        reply: The raw reply; for an unusable reply, the part that was stored.
        error: Kind of the error, or empty.
        seconds: Response time of the endpoint; 0 if unknown.
        clip: Index of the clip; ``None`` if the request is about the whole video.
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
    """Replays replies from the journal and records each exchange; a request without an entry is refused."""

    job: Job
    roles: Mapping[str, Role]
    book: Book
    exchanges: dict[str, Exchange] = field(default_factory=dict)
    clip: int | None = None

    async def __call__(self, request: ChatRequest) -> ChatReply:
        key = cache_key(self.job.endpoints.of(self.roles[request.stage]), request)
        entry = self.book.find(key)
        if entry is None:
            # A caption stage answers TooLong with a smaller request, which may be in the journal.
            refused = TooLong if request.stage == self.job.caption.name else BadRequest
            raise refused("not in the journal", status=400)
        answered = isinstance(entry.reply, ChatReply)
        text = entry.reply.text if isinstance(entry.reply, ChatReply) else getattr(entry.reply, "raw", "")
        messages = tuple((message.role, _text(message.parts)) for message in request.messages)
        self.exchanges[key] = Exchange(
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
    """Finds the exchanges about videos.

    Args:
        job: The job that produced the rows.
        book: The journal.
        found: Index of the videos' clips; without it, clips are derived from their rows and the job's settings.
    """

    def __init__(self, job: Job, book: Book, found: ClipIndex | None = None) -> None:
        self._job = job
        self._book = book
        self._found = found
        self._pipeline: Pipeline = build(job)

    def __call__(self, video: Video, info: VideoInfo, clips: Sequence[TableRow]) -> list[Exchange]:
        """Return all exchanges about a video, in pipeline order.

        Args:
            video: The video.
            info: Its media information.
            clips: Its rows of ``clips/``, in order.
        """
        return asyncio.run(self._all(video, info, clips))

    async def _all(self, video: Video, info: VideoInfo, rows: Sequence[TableRow]) -> list[Exchange]:
        clips = self._clips(video, info, rows)
        exchanges: list[Exchange] = []
        for caption in self._pipeline.caption:
            for clip in clips:
                exchanges += await self._caption_exchanges(caption, clip)
        captioned = [_captioned(clip, row) for clip, row in zip(clips, rows, strict=True)]
        work: Sequence[Row] = [row for row in self._pipeline.merge(captioned) if not isinstance(row, CaptionedClip)]
        for group in self._pipeline.ask:
            if isinstance(group, FrameScoring):  # a request's hash depends on which frames, not on their pixels
                work = [group.expected(row) if isinstance(row, group.takes) else row for row in work]
                continue
            work = await run_steps(group, work, partial(self._run_step, exchanges=exchanges))
        return exchanges

    async def _run_step(self, step: ChatStep | PlainStep, row: Row, exchanges: list[Exchange]) -> Sequence[Row]:
        """Run a step on a row; appends its exchanges."""
        if isinstance(step, ChatStep):
            recorder = _Recorder(self._job, _roles(step), self._book)
            rows = await _replay_step(step, row, recorder, self._job)
            exchanges += recorder.exchanges.values()
        else:
            rows = list(step.call(row))
        # Skip a step that failed: later steps may still find their replies.
        return [one for one in rows if not isinstance(one, Failure)] or [row]

    async def _caption_exchanges(self, step: ChatStep, clip: Clip) -> list[Exchange]:
        if clip.dropped:
            return []
        recorder = _Recorder(self._job, _roles(step), self._book, clip=clip.index)
        await _replay_step(step, clip, recorder, self._job)
        return list(recorder.exchanges.values())

    def _clips(self, video: Video, info: VideoInfo, rows: Sequence[TableRow]) -> list[Clip]:
        found = {clip.index: clip for clip in (self._found(video) if self._found else None) or ()}
        clips = []
        for row in rows:
            span = Span(start_s=row["timestamp_start"], end_s=row["timestamp_end"])
            clip = found.get(row["index"])
            if clip is None or clip.span != span or not clip.identity:  # derive its frames from the settings
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


def _with_file(clip: Clip, row: TableRow, cut: CutClips) -> Clip:
    """Restore the file span and identity that a clip had when its file was sent."""
    begin_s, end_s = row["media_start"], row["media_end"]
    span = None if begin_s is None or end_s is None else Span(start_s=begin_s, end_s=end_s)
    return replace(clip, media_span=span, identity=cut.identity(clip))


def _roles(step: ChatStep) -> Mapping[str, Role]:
    """Role of the endpoint by stage name."""
    return {stage.name: stage.role for stage in (step.stage, *step.helpers)}


async def _replay_step(step: ChatStep, row: Row, recorder: _Recorder, job: Job) -> list[Row]:
    """Run a chat step on a row; no rows if it needs data that is gone, such as frames."""
    try:
        return list(await step.call(row, RetryTruncated(recorder, job.endpoints.of(step.role))))
    except Exception:  # the stage may be user code, and a report must not fail because of it
        return []


def _captioned(clip: Clip, row: TableRow) -> CaptionedClip:
    failure = None
    if row["error"]:
        message = row["error_message"] or ""
        failure = Failure(video=clip.video, clip_id=clip.id, stage="caption", kind=row["error"], message=message)
    return CaptionedClip(clip=clip, caption=row["caption"] or "", model=row["model"] or "", failure=failure)
