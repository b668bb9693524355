"""Captioning stage: clip -> captioned clip."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError, DegenerateReply, TooLong
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Part, Text
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.records import CaptionedClip, Clip, Failure, Usage, Video
from lvqa_ray.stage import FEWER, Chat, Prompted, Role, answer
from lvqa_ray.video.frames.jpeg import smaller


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CaptionClips(Prompted):
    """Have the VLM describe a clip."""

    name: ClassVar[str] = "caption"
    role: ClassVar[Role] = "vlm"
    version: ClassVar[str] = "caption/1"
    usual_reply_tokens: ClassVar[int] = 250
    known: ClassVar[tuple[str, ...]] = ("video_id", "start", "end", "duration", "asr")

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="Prompt. Placeholders: {video_id}, {start}, {end}, {duration} (s), {asr} (speech in the clip, "
        "or empty; the default prompt includes it) and those in `values`.",
    )
    media: Literal["frames", "video"] = Field(
        default="frames",
        description="What is sent: frames (image_url), or video (the cut clip as video_url; requires cut.mode).",
    )

    async def __call__(self, clip: Clip, chat: Chat) -> list[CaptionedClip]:
        """Caption the clip, or add the failure; the result has no frames."""
        bare = replace(clip, frames=(), media=b"")
        if clip.dropped:
            return [CaptionedClip(clip=bare, note=clip.note)]
        try:
            reply, note = await self._ask(clip, chat)
        except ApiError as error:
            failure = Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
            return [CaptionedClip(clip=bare, usage=Usage.of(error), failure=failure, note=clip.note)]
        caption, kind, message = strip_thinking(reply.text), "", ""
        if not caption:
            kind, message = "empty_reply", "the reply has only reasoning and no caption"
        elif len(caption) > LONGEST_CAPTION_CHARS:
            kind, message = DegenerateReply.kind, f"the caption has {len(caption):,} characters"
        lost: Failure | None = None
        if kind:
            caption = ""
            lost = Failure(
                video=clip.video,
                clip_id=clip.id,
                stage=self.name,
                kind=kind,
                message=message,
                raw=reply.received,
            )
        return [
            CaptionedClip(
                clip=bare,
                caption=caption,
                model=reply.model,
                usage=reply.usage,
                failure=lost,
                note="; ".join(part for part in (clip.note, note) if part),
            )
        ]

    async def _ask(self, clip: Clip, chat: Chat) -> tuple[ChatReply, str]:
        """Return the reply, and a note on frames left out because the request was too long.

        First the number of frames is reduced, since each keeps its full resolution, then their size.
        """
        count = len(clip.frames)
        counts = list(dict.fromkeys(max(1, count // share) for share in FEWER)) if count else [0]
        for kept in counts[:-1]:
            try:
                return await answer(chat, self.request(clip, kept), _is_caption), _left_out(count, kept)
            except TooLong:
                continue
        kept = counts[-1]
        for factor in SMALLER if count else SMALLER[:1]:
            try:
                # In a thread: scaling JPEGs would block the event loop.
                request = await asyncio.to_thread(self.request, clip, kept, factor)
                return await answer(chat, request, _is_caption), _left_out(count, kept, factor)
            except TooLong as error:
                too_long = error
        raise too_long

    def request(self, clip: Clip, count: int | None = None, factor: int = 1) -> ChatRequest:
        """Build the request for a clip.

        Args:
            clip: The clip.
            count: Number of its frames to send, evenly spaced; ``None`` for all.
            factor: Divisor of the frames' sides: 1, 2, 4 or 8.
        """
        prompt = own_prompt(clip.video) or self.prompt
        values = {
            "video_id": clip.video.id,
            "start": f"{clip.span.start_s:.2f}",
            "end": f"{clip.span.end_s:.2f}",
            "duration": f"{clip.span.duration_s:.2f}",
            "asr": "\n".join(f"{line.start_ms / 1000:.2f} s: {line.text}" for line in clip.speech),
        }
        if clip.speech and prompt == PROMPT:
            prompt = f"{PROMPT}\n\n{HEARD}"
        parts: list[Part] = [Text(text=self.filled(values, prompt))]
        times: list[JsonValue] = []
        if self.media == "video":
            shown = clip.media_span or clip.span
            parts.append(Text(text=f"The clip shows the video from {shown.start_s:.2f} s to {shown.end_s:.2f} s:"))
            parts.append(Media(identity=clip.identity, mime="video/mp4", data=clip.media))
            times.append(shown.start_s)
        total = len(clip.frames)
        count = total if count is None else count
        for index in ((2 * place + 1) * total // (2 * count) for place in range(count)):
            frame = clip.frames[index]
            size, jpeg = (f" 1/{factor}", smaller(frame.jpeg, factor)) if factor > 1 else ("", frame.jpeg)
            parts.append(Text(text=f"Frame at {frame.time_s:.2f} s:"))
            parts.append(Media(identity=f"{clip.identity} #{index}{size}", mime="image/jpeg", data=jpeg))
            times.append(frame.time_s)
        return self.asks(*parts, facts={**values, "times": times})


def _is_caption(text: str) -> bool:
    return 0 < len(strip_thinking(text)) <= LONGEST_CAPTION_CHARS


def _left_out(count: int, kept: int, factor: int = 1) -> str:
    """Note on frames that were left out or scaled down; empty for none."""
    if kept == count and factor == 1:
        return ""
    size = f", with sides divided by {factor}" if factor > 1 else ""
    return f"too long for the model: shown {kept} of {count} frames{size}"


def own_prompt(video: Video) -> str:
    """The video's own prompt: its first human turn without media tags, or empty."""
    for turn in video.conversation:
        if turn.speaker in {"human", "user"}:
            return turn.value.replace("<video>", "").replace("<image>", "").strip()
    return ""


LONGEST_CAPTION_CHARS = 20_000
"""Maximum number of characters of a caption: ten times a detailed caption of a long clip."""
SMALLER = (1, 2, 4)
"""Divisors of the frames' sides, tried in turn with the fewest frames."""

PROMPT = """\
You see one clip of a longer video as frames in the order of time, each with the second of the video at which it is on \
screen. The clip runs from {start} s to {end} s.

Describe what can be seen, in one paragraph of plain prose:
- the place, the time of day and the light;
- every person, animal and object that matters: how it looks, where it is, and what it is doing;
- what changes from frame to frame, in the order in which it happens, and any cut to another shot;
- text that can be read in the picture, word for word;
- how the camera is placed and how it moves.

Say only what these frames show. Do not guess names, sounds or what happens before or after. Start with what is \
seen, not with words such as "The clip" or "The video"."""

HEARD = """\
This is said in the clip, each line with the second of the video at which it begins:
{asr}

Use it to understand what is seen, and give back in the description what is said, as far as it matters, in its place \
in the order of events. Say who speaks only where the frames show it. What is said may be told although no frame shows \
it; nothing else may."""
