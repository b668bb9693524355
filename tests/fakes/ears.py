"""Fake speech recognition: validates the audio of a request, detects speech by loudness, and returns known sentences.

It recognizes a sentence by its duration, so a reply depends on the received audio, and its times are measured.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import av
import numpy as np
from aiohttp import web
from av.audio.resampler import AudioResampler

RATE = 16_000
LONGEST_BYTES = 25 * 2**20
LOUD = 300.0
"""RMS threshold of a 20 ms window with speech."""
BREATH_S = 0.25
"""Pauses inside a sentence are shorter than this (s)."""


async def form(request: web.Request) -> dict[str, Any]:
    """Parse a transcription request to values; measurements of the audio replace its bytes."""
    said = await request.post()
    body: dict[str, Any] = {name: value for name, value in said.items() if isinstance(value, str)}
    file = said.get("file")
    if isinstance(file, web.FileField):
        body["sound"] = measured(file.file.read(), file.content_type)
    return body


def measured(data: bytes, mime: str) -> dict[str, Any]:
    """Measure audio: format, sample rate, channels, duration, and the spans with speech (s)."""
    with av.open(io.BytesIO(data), mode="r") as container:
        stream = container.streams.audio[0]
        resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
        frames = [each for frame in container.decode(stream) for each in resampler.resample(frame)]
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float64)
        sound = {
            "mime": mime,
            "codec": stream.codec_context.name,
            "rate": stream.codec_context.sample_rate,
            "channels": stream.codec_context.channels,
        }
    windows = samples[: len(samples) // 320 * 320].reshape(-1, 320)
    loud = np.flatnonzero(np.sqrt(np.mean(windows**2, axis=1)) > LOUD) / 50
    breaks = np.flatnonzero(np.diff(loud) > BREATH_S)
    starts, ends = [loud[0], *loud[breaks + 1]] if len(loud) else [], [*loud[breaks], loud[-1]] if len(loud) else []
    spoken = [[round(float(start), 2), round(float(end) + 0.02, 2)] for start, end in zip(starts, ends, strict=True)]
    digest = hashlib.sha256(data).hexdigest()
    return sound | {"bytes": len(data), "seconds": round(len(samples) / RATE, 3), "spoken": spoken, "sha256": digest}


def refusal(body: Mapping[str, Any], *, timed: bool) -> str | None:
    """Reason to refuse a request with audio; ``None`` for a valid request and for one without audio."""
    if "messages" in body:
        return None
    sound = body.get("sound")
    if sound is None:
        return "There is no file."
    if sound["bytes"] > LONGEST_BYTES:
        return "The file is larger than 25 MB."
    # Opus always decodes at 48 kHz.
    if sound["rate"] != (48_000 if sound["codec"] == "opus" else RATE) or sound["channels"] != 1:
        return f"This is sound of {sound['rate']} Hz in {sound['channels']} channels, and not 16 kHz mono."
    if not timed and body.get("response_format") != "json":
        return "response_format 'verbose_json' is not compatible with this model. Use 'json' instead."
    return None


def hear(body: Mapping[str, Any], sentences: Mapping[str, float]) -> str:
    """Segments as JSON: each span of speech is the sentence with the nearest duration, or states its duration."""

    def said(seconds: float) -> str:
        nearest = min(sentences, key=lambda sentence: abs(sentences[sentence] - seconds), default="")
        return nearest if nearest and abs(sentences[nearest] - seconds) < 0.1 else f"Sound of {seconds:.2f} s."

    spoken = body["sound"]["spoken"]
    return json.dumps([{"start": start, "end": end, "text": f" {said(end - start)}"} for start, end in spoken])


def transcription(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Transcription reply: with times, in whisper's format, or the text alone."""
    segments = json.loads(text)
    whole = {"text": "".join(segment["text"] for segment in segments)}
    usage = {"usage": {"type": "duration", "seconds": round(body["sound"]["seconds"])}}
    if body.get("response_format") != "verbose_json":
        return whole | usage
    return (
        whole
        | usage
        | {
            "task": "transcribe",
            "language": "english",
            "duration": body["sound"]["seconds"],
            "segments": [{"id": number, "no_speech_prob": 0.0, **each} for number, each in enumerate(segments)],
        }
    )
