"""clip row -> clip row with its own file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ConfigError, VideoError
from lvqa_ray.records import CaptionedClip, Clip, Failure
from lvqa_ray.video.cut import clip_name, cut_clip
from lvqa_ray.video.cut_encode import Codec, Encoding

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CutClips:
    """Write every clip to a file of its own."""

    name: ClassVar[str] = "cut"

    mode: Literal["off", "exact", "encode", "copy"] = Field(
        default="off",
        description="off: no files; exact: to the frame, re-encoding only the ends of an H.264 video's clips; "
        "encode: to the frame, re-encoding all; copy: no re-encoding, starts at a key frame.",
    )
    codec: Codec = Field(default="libx264", description="encode: H.264 (libx264) or HEVC (libx265).")
    crf: int = Field(default=23, ge=0, le=51, description="exact, encode: constant rate factor; lower is better.")
    preset: Preset = Field(
        default="veryfast",
        description="encode, and exact where that has to encode the whole clip: the encoder's preset.",
    )
    fps: float | None = Field(
        default=None, gt=0, le=240, allow_inf_nan=False, description="encode: frames a second; else the source's."
    )
    short_side: int | None = Field(
        default=None, ge=16, description="encode: longest that the shorter side may be (px); else the source's."
    )
    audio: bool = Field(default=True, description="Keep the sound.")

    @field_validator("mode", mode="before")
    @classmethod
    def _yaml_off(cls, mode: object) -> object:
        """Take what YAML makes of a bare ``off``."""
        return "off" if mode is False else mode

    @model_validator(mode="after")
    def _encodes(self) -> Self:
        given = [name for name in ("fps", "short_side") if getattr(self, name) is not None]
        given += ["codec"] if self.codec != "libx264" else []
        if given and self.mode in ("exact", "copy"):
            raise ValueError(f"{given[0]} cannot be had with mode {self.mode}, which copies; set mode to encode")
        return self

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
        encoding = Encoding(
            codec=self.codec, crf=self.crf, preset=self.preset, fps=self.fps, short_side=self.short_side
        )
        name = clip_name(clip.span, self.mode, encoding, audio=self.audio)
        # The fingerprint is part of the name: a replaced video never gets the old one's clips.
        path = folder / clip.video.id / f"{clip.video.fingerprint[:8]}_{name}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = cut_clip(clip.video.uri, clip.span, path, mode=self.mode, encoding=encoding, audio=self.audio)
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
            cut = replace(clip, media_path=str(path), media_span=made.span, media_mode=made.mode)
            yield replace(cut, media=path.read_bytes(), identity=f"{clip.video.fingerprint} {name}") if attach else cut
