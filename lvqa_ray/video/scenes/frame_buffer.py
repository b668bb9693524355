"""Pictures set aside while a clip runs, because which of them are wanted is known only when it ends.

The memory is bounded, and so is the error. As long as a clip is short, all its frames are kept. As it grows, only the
first one of every ``step_s`` is, and the step is doubled whenever there are too many. The pictures that a clip of full
length will want are known in advance, and kept whatever the step.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from av.video.frame import VideoFrame

from lvqa_ray.records import Frame
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.reader.video_reader import EPSILON_S

CHOICE = 8
"""Pictures to choose from for each that is wanted: 4 to 8 once the clip has had more frames than that."""


class BufferedFrame:
    """A picture that may be wanted: the decoded frame, or its JPEG once that is made; empty where there is no frame."""

    def __init__(self, time_s: float, frame: VideoFrame | None) -> None:
        self.time_s = time_s
        self._frame = frame
        self._jpeg = b""

    def jpeg(self, encoder: JpegEncoder) -> bytes:
        """The picture as a JPEG, made once; the frame is then let go."""
        if self._frame is not None:
            self._jpeg, self._frame = encoder.encode(self._frame), None
        return self._jpeg


class FrameBuffer:
    """Keeps pictures for one clip whose end is not known yet.

    The picture taken for a wanted time is the one on display then, if all frames are still kept or the clip has come to
    its full length; else the last one kept before, which is at most ``clip length / (4 * count)`` older: a quarter of
    the distance between two pictures.

    Args:
        begin_s: When the clip begins (s).
        sure_s: Times to keep the picture on display at, rising (s).
        count: How many pictures will be wanted in all.
        encoder: Makes the JPEGs.
        compact: Make JPEGs at once rather than keep decoded frames: for large pictures, where memory is dearer.
    """

    def __init__(
        self, begin_s: float, *, sure_s: Sequence[float], count: int, encoder: JpegEncoder, compact: bool
    ) -> None:
        self._begin_s = begin_s
        self._sure_s = sure_s
        self._most = CHOICE * count
        self._encoder = encoder
        self._compact = compact
        self._raster: list[BufferedFrame] = []
        self._sure: list[BufferedFrame] = []
        self._passed = 0
        self._step_s = 0.0
        self._last: BufferedFrame | None = None

    def add(self, candidate: BufferedFrame) -> None:
        """Offer the next frame; those up to the beginning of the clip replace each other."""
        while self._passed < len(self._sure_s) and candidate.time_s > self._sure_s[self._passed] + EPSILON_S:
            self._passed += 1
            if self._last and self._last not in self._sure[-1:]:
                self._sure.append(self._keep(self._last))
        self._last = candidate
        if candidate.time_s <= self._begin_s + EPSILON_S:
            self._raster = [candidate]
        elif not self._raster or not self._step_s or self._cell(candidate) > self._cell(self._raster[-1]):
            self._raster.append(self._keep(candidate))
            if len(self._raster) > self._most:
                self._thin(candidate.time_s)

    def take(self, times: Sequence[float]) -> tuple[Frame, ...]:
        """The pictures for these times, in their order, each with the time at which it really appears."""
        kept = {each.time_s: each for each in (*self._raster, *self._sure, *([self._last] if self._last else []))}
        order = sorted(kept)
        chosen = (kept[order[max(0, bisect_right(order, time + EPSILON_S) - 1)]] for time in times)
        return tuple(Frame(time_s=each.time_s, jpeg=each.jpeg(self._encoder)) for each in chosen) if kept else ()

    def _keep(self, candidate: BufferedFrame) -> BufferedFrame:
        if self._compact:
            candidate.jpeg(self._encoder)
        return candidate

    def _cell(self, candidate: BufferedFrame) -> int:
        return math.floor((candidate.time_s - self._begin_s) / self._step_s)

    def _thin(self, now_s: float) -> None:
        # Doubling keeps the first frame of two neighbouring cells, which is the first of the cell that they become.
        self._step_s = 2 * self._step_s or 2 * (now_s - self._begin_s) / self._most
        thinned = self._raster[:1]
        for candidate in self._raster[1:]:
            if self._cell(candidate) > self._cell(thinned[-1]):
                thinned.append(candidate)
        self._raster = thinned
