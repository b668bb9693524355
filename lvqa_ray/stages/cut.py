"""clip row -> clip row with its own file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ConfigError, VideoError
from lvqa_ray.records import CaptionedClip, Clip, Failure
from lvqa_ray.video.cut import clip_name, cut_clip

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CutClips:
    """Write every clip to a file of its own."""

    name: ClassVar[str] = "cut"

    mode: Literal["off", "encode", "copy"] = Field(
        default="off",
        description="off: no files; encode: exact start and end, H.264; copy: no re-encoding, starts at a key frame.",
    )
    crf: int = Field(default=23, ge=0, le=51, description="encode: x264's constant rate factor; lower is better.")
    preset: Preset = Field(default="veryfast", description="encode: x264's preset.")
    audio: bool = Field(default=True, description="Keep the sound.")

    @field_validator("mode", mode="before")
    @classmethod
    def _yaml_off(cls, mode: object) -> object:
        """Take what YAML makes of a bare ``off``."""
        return "off" if mode is False else mode

    def __call__(self, clip: Clip, *, folder: Path, attach: bool = False) -> Iterator[Clip | CaptionedClip]:
        """The clip with the path of its file, or the reason why there is none.

        Args:
            clip: The clip.
            folder: Where the files go: ``{folder}/{video id}/{span and mode}.mp4``.
            attach: Whether the row also carries the bytes of the file.
        """
        if self.mode == "off" or clip.dropped:
            yield clip
            return
        name = clip_name(clip.span, self.mode, crf=self.crf, preset=self.preset, audio=self.audio)
        # The fingerprint is part of the name: a replaced video never gets the old one's clips.
        path = folder / clip.video.id / f"{clip.video.fingerprint[:8]}_{name}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            span = cut_clip(
                clip.video.uri,
                clip.span,
                path,
                mode=self.mode,
                crf=self.crf,
                preset=self.preset,
                audio=self.audio,
            )
        except VideoError as error:
            failure = Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
            yield CaptionedClip(clip=clip, failure=failure)
        except (ConfigError, OSError) as error:  # a full disk is not the video's fault, and a rerun may find room
            message = f"the clip file cannot be written: {error}"
            failure = Failure(
                video=clip.video, clip_id=clip.id, stage=self.name, kind="not_written", message=message, retryable=True
            )
            yield CaptionedClip(clip=clip, failure=failure)
        else:
            cut = replace(clip, media_path=str(path), media_span=span)
            yield replace(cut, media=path.read_bytes(), identity=f"{clip.video.fingerprint} {name}") if attach else cut
