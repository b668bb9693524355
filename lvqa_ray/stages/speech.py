"""Speech stage: video -> video with its speech as subtitles."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Failure, ProbedVideo, Subtitle, Video
from lvqa_ray.records.sound import Sound
from lvqa_ray.records.uri import scheme_of
from lvqa_ray.video.audio.pcm import MIMES, RATE, Form, encoded, sound_of
from lvqa_ray.video.audio.silence_split import split_at_silence
from lvqa_ray.video.audio.subtitles import read_sidecar, read_stream, sidecar_of
from lvqa_ray.video.audio.whisper import WHISPER_LONGEST_S, transcribe

Source = Literal["sidecar", "stream", "endpoint", "whisper"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class FindSpeech:
    """Get the speech of a video from the first source that has text.

    A video without speech is no failure: it is captioned as if this stage did not exist.
    """

    name: ClassVar[str] = "speech"

    sources: tuple[Source, ...] = Field(
        default=("sidecar", "stream", "endpoint", "whisper"),
        description="Sources of speech, in order; the first one with text is used: sidecar (a .srt, .vtt, .ass or "
        ".ssa file beside a local video, with its name, or its name and a language), stream (text "
        "subtitles in the video file), endpoint (endpoints.speech, if set), whisper (faster-whisper "
        "on the node, if whisper_model is set). [] for none.",
    )
    languages: tuple[str, ...] = Field(
        default=(),
        description="Languages of subtitles, in order of preference, such as en: by file name (film.en.srt, "
        "film.eng.srt, film.en-US.srt), then film.srt; and by the language of the stream. [] for "
        "film.srt, else the file with the only language, else English; and for the stream marked as "
        "default.",
    )
    encoding: str = Field(
        default="", description="Encoding of sidecars that are neither UTF-8 nor UTF-16, such as cp1252 or gb18030."
    )
    broken: Literal["skip", "fail"] = Field(
        default="skip",
        description="Action on unreadable subtitles: skip to the next source, with a note on the first clip, or "
        "fail the video.",
    )
    merged: bool = Field(
        default=True, description="Include speech in the merged captions, from which questions are written."
    )

    part_minutes: float = Field(
        default=10.0,
        ge=0.1,
        le=12,
        description="Maximum length of audio per request (minutes); longer audio is cut at pauses.",
    )
    audio: Form = Field(
        default="opus",
        description="Audio format of requests: opus (24 kbit/s) or mp3 (32 kbit/s); flac or wav without loss.",
    )
    prompt: str = Field(default="", description="Words that help speech recognition, such as names; empty for none.")
    whisper_model: str = Field(
        default="",
        description="Folder of a faster-whisper model (CTranslate2), the same on every node; empty for none. "
        "Requires the extra whisper.",
    )

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.encoding:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(
                    f"encoding: Python has no codec {self.encoding}; use utf-8, cp1252 or the like"
                ) from None
        return self

    def __call__(self, row: ProbedVideo, *, asks: bool = False) -> Iterator[ProbedVideo | Failure]:
        """Add the speech to the video; empty if no source has any.

        Args:
            row: The video.
            asks: Whether there is a speech endpoint. If no source before it has text, the row gets the audio for it,
                and the speech of a later source in case the endpoint finds none.
        """
        notes: list[str] = []
        for source in self.sources:
            if source == "endpoint":
                if asks and not row.sound:
                    row = replace(row, sound=tuple(self._sounds(row)))
                continue
            try:
                lines = self._read(source, row)
            except VideoError as error:
                here = error.kind == VideoFault.NO_RECOGNIZER  # the machine's fault, not the file's
                if here or self.broken == "fail":
                    yield replace(Failure.of(error, video=row.video, stage=self.name), retryable=here)
                    return
                notes.append(str(error))
                continue
            lines = tuple(line for line in lines if line.start_ms < 1000 * row.info.duration_sec)
            if lines:
                yield replace(row, speech=lines, note="; ".join(notes))
                return
        yield replace(row, note="; ".join(notes))

    def _sounds(self, row: ProbedVideo) -> Iterator[Sound]:
        """The audio of a video in parts, without silent stretches."""
        end_s = row.info.duration_sec
        for part in split_at_silence(sound_of(row.video.uri, end_s), 60 * self.part_minutes):
            start_ms, end_ms = (round(1000 * at / RATE) for at in (part.start, part.end))
            yield Sound(
                start_ms=start_ms,
                end_ms=end_ms,
                mime=MIMES[self.audio],
                identity=f"{row.video.content} sound {start_ms}-{end_ms} {self.audio}",
                data=encoded(part.samples, self.audio),
            )

    def _read(self, source: Source, row: ProbedVideo) -> tuple[Subtitle, ...]:
        path = row.video.uri
        if source == "whisper":
            if not self.whisper_model or row.sound:
                return ()
            sound = sound_of(path, row.info.duration_sec)
            return transcribe(split_at_silence(sound, WHISPER_LONGEST_S), self.whisper_model, self.prompt)
        if source == "stream":
            return read_stream(path, self.languages)
        sidecar = sidecar_of(path, self.languages)
        return read_sidecar(sidecar, self.encoding) if sidecar else ()

    def told_beside(self, video: Video) -> bool:
        """Whether a local video has a sidecar file that comes before the endpoint."""
        return "endpoint" not in self.sources[: [*self.sources, "sidecar"].index("sidecar")] and bool(
            self.beside(video)
        )

    def beside(self, video: Video) -> tuple[str, ...]:
        """Cache identity of the sidecar file of a local video; another sidecar makes other clips.

        Returns:
            The identity by content, and the one by file name and time of earlier releases; empty without a file.
        """
        if "sidecar" not in self.sources or scheme_of(video.uri):
            return ()
        try:
            if not (found := sidecar_of(video.uri, self.languages)):
                return ()
            path, status = found.path, found.path.stat()
            content = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        except (OSError, ValueError):
            return ()
        kind = path.name.removeprefix(Path(video.uri).stem)
        return f"{kind} {content}", f"{path.name} {status.st_size} {status.st_mtime_ns}"
