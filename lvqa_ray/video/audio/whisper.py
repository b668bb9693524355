"""Speech recognition on this machine by faster-whisper (extra ``whisper``), with a model from a local folder."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Subtitle
from lvqa_ray.video.audio.pcm import RATE
from lvqa_ray.video.audio.silence_split import SoundPart
from lvqa_ray.video.onnx import disable_telemetry

if TYPE_CHECKING:  # installed only with the extra
    from faster_whisper import WhisperModel

WHISPER_LONGEST_S = 60.0
"""Maximum audio per call: no progress is reported meanwhile, and a stalled worker process is killed."""


def why_not(model: str) -> str:
    """Explain why a model cannot be used here, in one sentence with the remedy; empty if it can.

    Args:
        model: Folder of a model in CTranslate2's format.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        return "speech.whisper_model needs faster-whisper: install lvqa-ray[whisper] on every node."
    if not all((Path(model) / name).is_file() for name in ("model.bin", "tokenizer.json")):
        return f"{model} lacks model.bin or tokenizer.json: put a faster-whisper model there; nothing is fetched."
    return ""


def transcribe(parts: Iterable[SoundPart], model: str, hint: str = "") -> tuple[Subtitle, ...]:
    """Transcribe audio; returns lines in time order.

    Args:
        parts: The audio, each part at most `WHISPER_LONGEST_S` long.
        model: Folder of a model in CTranslate2's format.
        hint: Initial prompt, such as names that occur.

    Raises:
        VideoError: The model cannot be used.
    """
    lines: list[Subtitle] = []
    for part in parts:
        try:
            segments, info = _model(model).transcribe(
                part.samples.astype(np.float32) / 32768, initial_prompt=hint or None, condition_on_previous_text=False
            )
            found = list(segments)
        except RuntimeError as error:  # from CTranslate2: a bad model, or too little memory
            raise _unusable(f"{model} cannot be used by faster-whisper ({error}).") from error
        offset_ms = round(1000 * part.start / RATE)
        end_ms = round(1000 * part.end / RATE)
        for segment in found:
            start_ms = offset_ms + max(0, round(1000 * segment.start))
            until_ms = min(end_ms, offset_ms + round(1000 * segment.end))
            text = " ".join(segment.text.split())
            if text and start_ms < until_ms:
                lines.append(
                    Subtitle(start_ms=start_ms, end_ms=until_ms, text=text, source="whisper", language=info.language)
                )
    return tuple(sorted(lines, key=lambda line: (line.start_ms, line.end_ms)))


@lru_cache(maxsize=1)
def _model(folder: str) -> WhisperModel:
    """Load the model, once per process."""
    if why := why_not(folder):
        raise _unusable(why)
    disable_telemetry()  # the voice activity detector runs on ONNX Runtime
    from faster_whisper import WhisperModel  # noqa: PLC0415 - an extra

    return WhisperModel(folder, local_files_only=True)


def _unusable(message: str) -> VideoError:
    return VideoError(VideoFault.NO_RECOGNIZER, message)
