"""Transcription stage: video with audio -> video with its speech."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from lvqa_ray.errors import ApiError, MalformedReply
from lvqa_ray.llm.messages import ChatRequest, Media, Message, Part, Text
from lvqa_ray.records import Failure, ProbedVideo, Subtitle
from lvqa_ray.records.sound import Sound
from lvqa_ray.records.transcript import Transcript
from lvqa_ray.stage import Chat, Prompted, Role


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TranscribeSpeech(Prompted):
    """Have the audio of a video transcribed, part by part; the prompt lists words that help, such as names."""

    name: ClassVar[str] = "transcribe"
    role: ClassVar[Role] = "speech"
    version: ClassVar[str] = "transcribe/1"
    usual_reply_tokens: ClassVar[int] = 0

    async def __call__(self, row: ProbedVideo, chat: Chat) -> list[ProbedVideo | Failure]:
        """Replace the audio of the video by its speech, or return the failure.

        If the audio contains no speech, the speech of other sources stays.
        """
        if not row.sound:
            return [row]
        try:
            replies = await asyncio.gather(*(chat(self.request(sound)) for sound in row.sound))
            transcripts = [Transcript.of(reply.text) for reply in replies]
        except ApiError as error:
            return [Failure.of(error, video=row.video, stage=self.name)]
        except ValueError as error:  # a cached reply of another release
            return [Failure.of(MalformedReply(str(error)), video=row.video, stage=self.name)]
        lines = tuple(line for line in joined(row.sound, transcripts) if line.start_ms < 1000 * row.info.duration_sec)
        return [replace(row, speech=lines or row.speech, sound=())]

    def request(self, sound: Sound) -> ChatRequest:
        """Build the request for one part."""
        seconds = (sound.end_ms - sound.start_ms) / 1000
        media = Media(identity=sound.identity, mime=sound.mime, data=sound.data, seconds=seconds)
        parts: tuple[Part, ...] = (Text(text=self.filled({})), media) if self.prompt else (media,)
        return ChatRequest(stage=self.name, version=self.version, messages=(Message(role="user", parts=parts),))


def joined(sounds: Sequence[Sound], transcripts: Sequence[Transcript]) -> list[Subtitle]:
    """Join the lines of all parts, with times of the video and without duplicates.

    If two parts overlap, each contributes its half of the overlap; words of both at the boundary are kept once.
    """
    lines: list[Subtitle] = []
    for place, (sound, transcript) in enumerate(zip(sounds, transcripts, strict=True)):
        before = sounds[place - 1].end_ms if place else 0
        after = sounds[place + 1].start_ms if place + 1 < len(sounds) else sound.end_ms
        first = (sound.start_ms + before) / 2 if before > sound.start_ms else 0.0
        last = (sound.end_ms + after) / 2 if after < sound.end_ms else float("inf")
        seam = before > sound.start_ms
        for segment in transcript.segments:
            start_ms, end_ms = (sound.start_ms + round(1000 * time) for time in (segment.start_s, segment.end_s))
            text = segment.text
            if not first <= (start_ms + end_ms) / 2 < last:
                continue
            if seam and lines and start_ms < before:
                text = unrepeated(lines[-1].text, text)
                start_ms = max(start_ms, lines[-1].end_ms)
            seam = False
            if text and start_ms < end_ms:
                lines.append(
                    Subtitle(
                        start_ms=start_ms, end_ms=end_ms, text=text, source="endpoint", language=transcript.language
                    )
                )
    return lines


def unrepeated(before: str, text: str) -> str:
    """Remove the words at the start of a text that repeat the end of the text before."""
    last, words = before.split(), text.split()
    plain_last, plain = ([word.strip(".,;:!?\"'").casefold() for word in each] for each in (last, words))
    for count in range(min(len(last), len(words)), 0, -1):
        if plain_last[-count:] == plain[:count]:
            return " ".join(words[count:])
    return text
