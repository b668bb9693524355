"""Splitting of long audio at silences into parts of bounded length; silent parts are dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvqa_ray.video.audio.pcm import RATE, Samples

LOUDNESS_WINDOW = RATE // 50
"""Samples per loudness window: 20 ms."""
SILENCE = 33.0
"""A window whose root mean square is below this counts as silent: -60 dB of full scale."""
PAUSE = 10
"""Minimum windows without speech in a pause to cut in: 200 ms."""
SEARCHED = 0.4
"""Share of a part, at its end, in which to search for a pause."""
SOUND_OVERLAP_S = 2.0
"""Overlap of two parts where there is no pause to cut in (s)."""
SILENCE_KEPT_WINDOWS = 25
"""Silent windows kept before and after audio: 500 ms."""


@dataclass(frozen=True, slots=True)
class SoundPart:
    """Part of a video's audio.

    Attributes:
        start: Index of its first sample, counted from the first frame.
        samples: Mono samples at `RATE`.
    """

    start: int
    samples: Samples

    @property
    def end(self) -> int:
        """Index of the first sample after it."""
        return self.start + len(self.samples)


def split_at_silence(sound: Iterable[Samples], longest_s: float) -> Iterator[SoundPart]:
    """Split audio into parts, holding one part in memory.

    Args:
        sound: Samples from the first frame on, in pieces.
        longest_s: Maximum length of a part.

    Yields:
        Parts in order, each as long as possible. A part begins and ends in a pause, or else overlaps its neighbour by
        `SOUND_OVERLAP_S`. Silence at its ends is trimmed; silent parts are left out.
    """
    most = max(LOUDNESS_WINDOW * PAUSE, int(longest_s * RATE) // LOUDNESS_WINDOW * LOUDNESS_WINDOW)
    start, held = 0, np.zeros(0, np.int16)
    waiting: list[Samples] = []
    length = 0
    for samples in sound:
        waiting.append(samples)
        length += len(samples)
        while len(held) + length > most:
            held = np.concatenate([held, *waiting])
            waiting, length = [], 0
            end, next_start = _cut(held[:most])
            yield from _trimmed(start, held[:end])
            held = held[next_start:].copy()
            start += next_start
    yield from _trimmed(start, np.concatenate([held, *waiting]))


def _cut(samples: Samples) -> tuple[int, int]:
    """Index at which a part ends, and at which the next one begins."""
    loud = _loudness(samples)
    begin = int(len(loud) * (1 - SEARCHED))
    end_part = loud[begin:]
    # A pause is far below the usual loudness here; the 90th percentile, since peaks are short.
    quiet = end_part <= max(SILENCE, 0.1 * float(np.percentile(end_part, 90)))
    runs = _runs(quiet)
    if len(runs) and (longest := runs[int(np.argmax(runs[:, 1] - runs[:, 0]))])[1] - longest[0] >= PAUSE:
        middle = (begin + (int(longest[0]) + int(longest[1])) // 2) * LOUDNESS_WINDOW
        return middle, middle
    overlap = min(int(SOUND_OVERLAP_S * RATE), len(samples) // 4)
    return len(samples), len(samples) - overlap


def _trimmed(start: int, samples: Samples) -> Iterator[SoundPart]:
    """Part without the silence at its ends; nothing if it is silent."""
    loud = np.flatnonzero(_loudness(samples) > SILENCE)
    if len(loud):
        first = max(0, int(loud[0]) - SILENCE_KEPT_WINDOWS) * LOUDNESS_WINDOW
        last = min(len(samples), (int(loud[-1]) + 1 + SILENCE_KEPT_WINDOWS) * LOUDNESS_WINDOW)
        yield SoundPart(start + first, samples[first:last])


def _loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """Root mean square of each window; the last one may be shorter."""
    whole = len(samples) // LOUDNESS_WINDOW * LOUDNESS_WINDOW
    windows = samples[:whole].astype(np.float64).reshape(-1, LOUDNESS_WINDOW)
    loud = np.sqrt(np.mean(windows**2, axis=1)) if whole else np.zeros(0)
    rest = samples[whole:].astype(np.float64)
    return np.append(loud, np.sqrt(np.mean(rest**2))) if len(rest) else loud


def _runs(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Start and end of each run of true flags, one row per run."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return edges.reshape(-1, 2)
