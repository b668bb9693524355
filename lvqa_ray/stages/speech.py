"""video row -> video row with what is said in it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Failure, ProbedVideo, Subtitle, Video
from lvqa_ray.video.subtitles import read_sidecar, read_stream, sidecar_of

Source = Literal["sidecar", "stream"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FindSpeech:
    """Find out what is said in a video, from the first source that knows.

    A video without speech is as good as any: its captions are asked for as if there were no such stage.
    """

    name: ClassVar[str] = "speech"

    sources: tuple[Source, ...] = Field(
        default=("sidecar", "stream"),
        description="Where to look, in this order, until there is something: sidecar (a file beside a local video, of "
        "its name and .srt, .vtt, .ass or .ssa), stream (text subtitles in the video's file). [] for nowhere.",
    )
    languages: tuple[str, ...] = Field(
        default=(),
        description="Which of several subtitles, in order of preference, by the name of the file (film.en.srt: en) or "
        "the language of the stream (mostly eng); [] for film.srt, and for the stream that is marked as default.",
    )
    encoding: str = Field(
        default="", description="Encoding of sidecars that are neither UTF-8 nor UTF-16, such as cp1252 or gb18030."
    )
    broken: Literal["skip", "fail"] = Field(
        default="skip",
        description="What to do with subtitles that cannot be read: go on to the next source, with a note on the "
        "first clip, or fail the video.",
    )
    merged: bool = Field(
        default=True, description="Write what is said into the merged captions too, from which questions are asked."
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.encoding:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(f"encoding: Python knows no {self.encoding}; say utf-8, cp1252 or the like") from None
        return self

    def __call__(self, row: ProbedVideo) -> Iterator[ProbedVideo | Failure]:
        """The video with what is said in it; nothing is, where no source knows of any."""
        notes: list[str] = []
        for source in self.sources:
            try:
                lines = self._read(source, row.video.uri)
            except VideoError as error:
                if self.broken == "fail":
                    yield Failure.of(error, video=row.video, stage=self.name)
                    return
                notes.append(str(error))
                continue
            lines = tuple(line for line in lines if line.start_ms < 1000 * row.info.duration_sec)
            if lines:
                yield replace(row, speech=lines, note="; ".join(notes))
                return
        yield replace(row, note="; ".join(notes))

    def _read(self, source: Source, path: str) -> tuple[Subtitle, ...]:
        if source == "stream":
            return read_stream(path, self.languages)
        sidecar = sidecar_of(path, self.languages)
        return read_sidecar(sidecar, self.encoding) if sidecar else ()

    def beside(self, video: Video) -> str:
        """Names the file beside a local video that is read, as it is now: with another one, its clips are others."""
        if "sidecar" not in self.sources or "://" in video.uri:
            return ""
        try:
            found = sidecar_of(video.uri, self.languages)
            status = found.path.stat() if found else None
        except (OSError, ValueError):
            return ""
        return f"{found.path.name} {status.st_size} {status.st_mtime_ns}" if found and status else ""
