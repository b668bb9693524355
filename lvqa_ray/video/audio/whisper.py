"""Sound to text on this machine, by faster-whisper with a model from a folder; it comes with the extra ``whisper``."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Subtitle
from lvqa_ray.video.audio.pcm import RATE
from lvqa_ray.video.audio.silence_split import SoundPart
from lvqa_ray.video.onnx import disable_telemetry

LONGEST_S = 60.0
"""Most sound at once: nothing is read or written meanwhile, and who stands still for too long is ended."""


def why_not(model: str) -> str:
    """Why a model cannot be used on this machine, in one sentence with the mend; empty if nothing is known against it.

    Args:
        model: Folder of a model in CTranslate2's format.
    """
    if importlib.util.find_spec("faster_whisper") is None:
        return "speech.whisper_model needs faster-whisper: install lvqa-ray[whisper] on every node."
    if not all((Path(model) / name).is_file() for name in ("model.bin", "tokenizer.json")):
        return f"{model} lacks model.bin or tokenizer.json: put a faster-whisper model there; nothing is fetched."
    return ""


def transcribe(parts: Iterable[SoundPart], model: str, hint: str = "") -> tuple[Subtitle, ...]:
    """What is said in sound, in time order.

    Args:
        parts: The sound, each part of at most `LONGEST_S`.
        model: Folder of a model in CTranslate2's format.
        hint: Words that help.

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
        except RuntimeError as error:  # what CTranslate2 says of a model, or of a machine that is too small for it
            raise _unusable(f"{model} cannot be used by faster-whisper ({error}).") from error
        offset_ms = round(1000 * part.start / RATE)
        end_ms = round(1000 * part.end / RATE)
        for segment in found:
            start_ms = offset_ms + max(0, round(1000 * segment.start))
            until_ms = min(end_ms, offset_ms + round(1000 * segment.end))
            text = " ".join(segment.text.split())
            if text and start_ms < until_ms:
                said = Subtitle(start_ms=start_ms, end_ms=until_ms, text=text, source="whisper", language=info.language)
                lines.append(said)
    return tuple(sorted(lines, key=lambda line: (line.start_ms, line.end_ms)))


@lru_cache(maxsize=1)
def _model(folder: str) -> Any:  # noqa: ANN401 - the package is there only with the extra
    """The model, loaded once for a process."""
    if why := why_not(folder):
        raise _unusable(why)
    disable_telemetry()  # of what finds the pauses
    from faster_whisper import WhisperModel  # noqa: PLC0415 - as above

    return WhisperModel(folder, local_files_only=True)


def _unusable(message: str) -> VideoError:
    return VideoError(VideoFault.NO_RECOGNIZER, message)
