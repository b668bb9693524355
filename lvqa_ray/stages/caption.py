"""clip row -> captioned clip."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.draft import without_draft
from lvqa_ray.llm.messages import ChatRequest, Media, Part, Text
from lvqa_ray.records import CaptionedClip, Clip, Failure, Video
from lvqa_ray.stage import Chat, Prompted, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CaptionClips(Prompted):
    """Ask the VLM what can be seen in a clip."""

    name: ClassVar[str] = "caption"
    role: ClassVar[Role] = "vlm"
    version: ClassVar[str] = "caption/1"
    known: ClassVar[tuple[str, ...]] = ("video_id", "start", "end", "duration")

    prompt: str = Field(
        default_factory=lambda: PROMPT,
        description="What to ask. Placeholders: {video_id}, {start}, {end}, {duration} (s) and those of `values`.",
    )
    media: Literal["frames", "video"] = Field(
        default="frames", description="Show sampled frames (image_url), or the cut clip (video_url; needs cut.mode)."
    )

    async def __call__(self, clip: Clip, chat: Chat) -> list[CaptionedClip]:
        """The clip with its caption, or with the reason why there is none; its pictures end here."""
        bare = replace(clip, frames=(), media=b"")
        if clip.dropped:
            return [CaptionedClip(clip=bare)]
        try:
            reply = await chat(self.request(clip))
        except ApiError as error:
            failure = Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
            return [CaptionedClip(clip=bare, failure=failure)]
        caption = without_draft(reply.text)
        lost: Failure | None = None
        if not caption:
            message = "the reply holds a draft and no caption"
            lost = Failure(
                video=clip.video,
                clip_id=clip.id,
                stage=self.name,
                kind="empty_reply",
                message=message,
                raw=reply.text,
            )
        return [CaptionedClip(clip=bare, caption=caption, model=reply.model, usage=reply.usage, failure=lost)]

    def request(self, clip: Clip) -> ChatRequest:
        """What is sent for a clip."""
        prompt = own_prompt(clip.video) or self.prompt
        values = {
            "video_id": clip.video.id,
            "start": f"{clip.span.start_s:.2f}",
            "end": f"{clip.span.end_s:.2f}",
            "duration": f"{clip.span.duration_s:.2f}",
        }
        parts: list[Part] = [Text(text=self.filled(values, prompt))]
        if self.media == "video":
            shown = clip.media_span or clip.span
            parts.append(Text(text=f"The clip shows the video from {shown.start_s:.2f} s to {shown.end_s:.2f} s:"))
            parts.append(Media(identity=clip.identity, mime="video/mp4", data=clip.media))
        for index, frame in enumerate(clip.frames):
            parts.append(Text(text=f"Frame at {frame.time_s:.2f} s:"))
            parts.append(Media(identity=f"{clip.identity} #{index}", mime="image/jpeg", data=frame.jpeg))
        return self.asks(*parts)


def own_prompt(video: Video) -> str:
    """The prompt that a video brings along: its first human turn without media tags, empty if it says nothing."""
    for turn in video.conversation:
        if turn.speaker in {"human", "user"}:
            return turn.value.replace("<video>", "").replace("<image>", "").strip()
    return ""


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
