"""Where to cut long sound: into parts of a bounded length, at silences, without what is silent throughout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lvqa_ray.video.audio.pcm import RATE, Samples

WINDOW = RATE // 50
"""Samples of which the loudness is looked at together: 20 ms."""
SILENCE = 33.0
"""Root mean square of a sample below which a window counts as silent: -60 dB of full scale."""
PAUSE = 10
"""Windows without speech that make a pause in which to cut: 200 ms."""
SEARCHED = 0.4
"""Share of a part, at its end, in which a pause is looked for."""
OVERLAP_S = 2.0
"""What two parts have in common where there is no pause to cut in."""
MARGIN = 25
"""Silent windows that are kept before and after sound: 500 ms."""


@dataclass(frozen=True, slots=True)
class SoundPart:
    """A part of the sound of a video.

    Attributes:
        start: Its first sample, counted from the first picture.
        samples: At `RATE`, mono.
    """

    start: int
    samples: Samples

    @property
    def end(self) -> int:
        """The first sample after it."""
        return self.start + len(self.samples)


def split_at_silence(sound: Iterable[Samples], longest_s: float) -> Iterator[SoundPart]:
    """Cut sound into parts.

    Args:
        sound: Samples from the first picture on, some at a time.
        longest_s: Longest part.

    Yields:
        Parts in order, as long as may be; each begins and ends in a pause, or else shares `OVERLAP_S` with its
        neighbour. What is silent at their ends is cut off, and silent parts are left out. Held in memory is one part.
    """
    most = max(WINDOW * PAUSE, int(longest_s * RATE) // WINDOW * WINDOW)
    start, held = 0, np.zeros(0, np.int16)
    waiting: list[Samples] = []
    length = 0
    for samples in sound:
        waiting.append(samples)
        length += len(samples)
        while len(held) + length > most:
            held = np.concatenate([held, *waiting])
            waiting, length = [], 0
            cut, goes_on = _cut(held[:most])
            yield from _sounding(start, held[:cut])
            held = held[goes_on:].copy()
            start += goes_on
    yield from _sounding(start, np.concatenate([held, *waiting]))


def _cut(samples: Samples) -> tuple[int, int]:
    """Where a part ends, and where the next one begins."""
    loud = _loudness(samples)
    begin = int(len(loud) * (1 - SEARCHED))
    end_part = loud[begin:]
    # Speech is never as loud as its loudest for long: pauses are what is far below what is usual here.
    quiet = end_part <= max(SILENCE, 0.1 * float(np.percentile(end_part, 90)))
    runs = _runs(quiet)
    if len(runs) and (longest := runs[int(np.argmax(runs[:, 1] - runs[:, 0]))])[1] - longest[0] >= PAUSE:
        middle = (begin + (int(longest[0]) + int(longest[1])) // 2) * WINDOW
        return middle, middle
    overlap = min(int(OVERLAP_S * RATE), len(samples) // 4)
    return len(samples), len(samples) - overlap


def _sounding(start: int, samples: Samples) -> Iterator[SoundPart]:
    """The part without silence at its ends; nothing if it is silent."""
    sounds = np.flatnonzero(_loudness(samples) > SILENCE)
    if len(sounds):
        first = max(0, int(sounds[0]) - MARGIN) * WINDOW
        last = min(len(samples), (int(sounds[-1]) + 1 + MARGIN) * WINDOW)
        yield SoundPart(start + first, samples[first:last])


def _loudness(samples: Samples) -> npt.NDArray[np.float64]:
    """Root mean square of each window; the last one may be shorter."""
    whole = len(samples) // WINDOW * WINDOW
    windows = samples[:whole].astype(np.float64).reshape(-1, WINDOW)
    loud = np.sqrt(np.mean(windows**2, axis=1)) if whole else np.zeros(0)
    rest = samples[whole:].astype(np.float64)
    return np.append(loud, np.sqrt(np.mean(rest**2))) if len(rest) else loud


def _runs(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Begin and end of each run of true flags, a row each."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return edges.reshape(-1, 2)
