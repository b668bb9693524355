"""What the endpoint hears: it checks the sound that it is sent, measures where it is loud, and says what it was told.

It recognizes a sentence by its length, which it was told with the sentence: what it answers depends on what it hears,
and the times are measured, not given.
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
"""Root mean square of 20 ms in which something is said."""
BREATH_S = 0.25
"""A pause inside a sentence is shorter."""


async def form(request: web.Request) -> dict[str, Any]:
    """A request for a transcription as values, with what its sound is like in the place of the bytes."""
    said = await request.post()
    body: dict[str, Any] = {name: value for name, value in said.items() if isinstance(value, str)}
    file = said.get("file")
    if isinstance(file, web.FileField):
        body["sound"] = measured(file.file.read(), file.content_type)
    return body


def measured(data: bytes, mime: str) -> dict[str, Any]:
    """What a piece of sound is: its format, rate, channels and length, and where something is heard in it (s)."""
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
    """Why a request with sound is refused; nothing for one that is not, and for one without sound."""
    if "messages" in body:
        return None
    sound = body.get("sound")
    if sound is None:
        return "There is no file."
    if sound["bytes"] > LONGEST_BYTES:
        return "The file is larger than 25 MB."
    # Opus is always decoded at its own rate.
    if sound["rate"] != (48_000 if sound["codec"] == "opus" else RATE) or sound["channels"] != 1:
        return f"This is sound of {sound['rate']} Hz in {sound['channels']} channels, and not 16 kHz mono."
    if not timed and body.get("response_format") != "json":
        return "response_format 'verbose_json' is not compatible with this model. Use 'json' instead."
    return None


def hear(body: Mapping[str, Any], sentences: Mapping[str, float]) -> str:
    """The segments as JSON: each stretch is the sentence whose length is nearest, or says how long it is."""

    def said(seconds: float) -> str:
        nearest = min(sentences, key=lambda sentence: abs(sentences[sentence] - seconds), default="")
        return nearest if nearest and abs(sentences[nearest] - seconds) < 0.1 else f"Sound of {seconds:.2f} s."

    spoken = body["sound"]["spoken"]
    return json.dumps([{"start": start, "end": end, "text": f" {said(end - start)}"} for start, end in spoken])


def transcription(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The reply: with times, as whisper gives it, or the text alone."""
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
