"""Cutting stage: clip -> clip with a video file of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ConfigError, VideoError
from lvqa_ray.records import CaptionedClip, Clip, Failure
from lvqa_ray.stage import yaml_off
from lvqa_ray.video.cutting.clip_file import ClipFile, clip_name, cut_clip
from lvqa_ray.video.cutting.reencode import Codec, Encoding
from lvqa_ray.video.cutting.sidecar_index import note, noted

Preset = Literal[
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CutClips:
    """Write every clip to its own file."""

    name: ClassVar[str] = "cut"

    mode: Literal["off", "exact", "encode", "copy"] = Field(
        default="off",
        description="off: no files. exact: frame-accurate; clips of an H.264 video are encoded only at their "
        "ends, others and damaged ones as by encode. encode: frame-accurate, encoded completely. "
        "copy: not encoded; starts at a key frame.",
    )
    codec: Codec = Field(default="libx264", description="encode: video encoder, for H.264 or H.265.")
    crf: int = Field(
        default=23,
        ge=0,
        le=51,
        description="exact, encode: constant rate factor; lower means better quality and larger files.",
    )
    preset: Preset = Field(
        default="veryfast",
        description="encode (and exact, if it encodes a clip completely): speed preset of the encoder.",
    )
    fps: float | None = Field(
        default=None, ge=0.01, le=1000, description="encode: frames per second; null keeps the times of the source."
    )
    short_side: int | None = Field(
        default=None, ge=16, description="encode: maximum length of the shorter side (px); null keeps the size."
    )
    audio: bool = Field(default=True, description="Include the audio.")

    _off = field_validator("mode", mode="before")(yaml_off)

    @model_validator(mode="after")
    def _encode_only(self) -> Self:
        changed = [name for name in ("codec", "fps", "short_side") if getattr(self, name) not in (None, "libx264")]
        if changed and self.mode in ("exact", "copy"):
            raise ValueError(f"{changed[0]} needs every frame encoded anew: set mode to encode, or leave it out")
        return self

    def __call__(self, clip: Clip, *, folder: Path, attach: bool = False) -> Iterator[Clip | CaptionedClip]:
        """Cut the clip and add the path of its file, or the failure.

        Args:
            clip: The clip.
            folder: Output folder: ``{folder}/{video id}/{span and mode}.mp4``.
            attach: Whether the row also carries the bytes of the file, and the file's identity.
        """
        if self.mode == "off" or clip.dropped:
            yield clip
            return
        if known := self.made(clip, folder=folder, attach=attach):
            yield replace(known, media=Path(known.media_path).read_bytes()) if attach else known
            return
        path = self._path(clip, folder)
        encoding = Encoding(
            codec=self.codec, crf=self.crf, preset=self.preset, fps=self.fps, short_side=self.short_side
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Copied packets would keep the damage.
            mode = "encode" if self.mode == "exact" and clip.lost_s else self.mode
            made = cut_clip(clip.video.uri, clip.span, path, mode=mode, encoding=encoding, audio=self.audio)
        except VideoError as error:
            failure = Failure.of(error, video=clip.video, stage=self.name, clip_id=clip.id)
            yield CaptionedClip(clip=clip, failure=failure)
        except (ConfigError, OSError) as error:  # such as a full disk: not the video's fault, a rerun may succeed
            message = f"the clip file cannot be written: {error}"
            failure = Failure(
                video=clip.video, clip_id=clip.id, stage=self.name, kind="not_written", message=message, retryable=True
            )
            yield CaptionedClip(clip=clip, failure=failure)
        else:
            note(path, made)
            cut = self._with(clip, path, made, attach=attach)
            yield replace(cut, media=path.read_bytes()) if attach else cut

    def made(
        self, clip: Clip, *, folder: Path, attach: bool = False, noted: Callable[[Path], ClipFile | None] = noted
    ) -> Clip | None:
        """Look up an earlier file of the clip; ``None`` if there is no complete one. Unchanged clip if mode is off.

        Args:
            clip: The clip.
            folder: Output folder, as above.
            attach: Whether the row gets the file's identity; its bytes are not read.
            noted: Looks up what a file contains; returns ``None`` for a missing file.
        """
        if self.mode == "off":
            return clip
        path = self._path(clip, folder)
        known = noted(path)
        return None if known is None else self._with(clip, path, known, attach=attach)

    def _with(self, clip: Clip, path: Path, made: ClipFile, *, attach: bool) -> Clip:
        cut = replace(clip, media_path=str(path), media_span=made.span, media_mode=made.mode)
        return replace(cut, identity=self.identity(clip)) if attach else cut

    def identity(self, clip: Clip) -> str:
        """Cache identity of a clip's file: the video's content, the span and the settings."""
        return f"{clip.video.content} {self._name(clip)}"

    def _path(self, clip: Clip, folder: Path) -> Path:
        # The fingerprint is part of the name, so a replaced video never gets the old one's clips.
        return folder / clip.video.id / f"{clip.video.fingerprint[:8]}_{self._name(clip)}"

    def _name(self, clip: Clip) -> str:
        return clip_name(clip.span, self.mode, **self._settings())

    def _settings(self) -> dict[str, str | float | bool]:
        """Settings that affect the file, for its name."""
        settings: dict[str, str | float | bool] = {"audio": self.audio}
        if self.mode != "copy":
            settings |= {"crf": self.crf, "preset": self.preset}
        if self.codec != "libx264":
            settings["codec"] = self.codec
        if self.fps is not None:
            settings["fps"] = self.fps
        if self.short_side is not None:
            settings["short_side"] = self.short_side
        return settings
