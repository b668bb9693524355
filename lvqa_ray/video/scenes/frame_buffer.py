"""Bounded frame buffer for a clip whose end, and so whose sampling times, are not known yet.

Memory and error are both bounded. While a clip is short, all its frames are kept. As it grows, only the first frame of
every ``step_s`` is kept, and the step is doubled whenever there are too many. The frames that a full-length clip needs
are known in advance and always kept.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from av.video.frame import VideoFrame

from lvqa_ray.records import Frame
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.spans import EPSILON_S

CHOICE = 8
"""Buffered frames per sampled frame; between 4 and 8 once the buffer has been thinned."""


class BufferedFrame:
    """Buffered frame: the decoded frame, or its JPEG once encoded; empty if there is no frame."""

    def __init__(self, time_s: float, frame: VideoFrame | None) -> None:
        self.time_s = time_s
        self._frame = frame
        self._jpeg = b""

    def jpeg(self, encoder: JpegEncoder) -> bytes:
        """Encode the frame as a JPEG, once, and release the decoded frame."""
        if self._frame is not None:
            self._jpeg, self._frame = encoder.encode(self._frame), None
        return self._jpeg


class FrameBuffer:
    """Keeps frames for one clip whose end is not known yet.

    The frame taken for a time is the one on display, if all frames are still kept or the clip has its full length;
    otherwise the last one kept before it, which is at most ``clip length / (4 * count)`` older: a quarter of the
    sampling period.

    Args:
        begin_s: Start of the clip (s).
        sure_s: Times whose frame on display is always kept, ascending (s).
        count: Number of frames that will be sampled.
        encoder: Encodes the JPEGs.
        compact: Encode JPEGs at once instead of keeping decoded frames, to save memory for large frames.
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
        """Add the next frame; of those up to the start of the clip only the last is kept."""
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
        """Frames for the given times, in the same order, each with its true time."""
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
        # Doubling the step merges two neighbouring cells; the first frame of the first cell stays.
        self._step_s = 2 * self._step_s or 2 * (now_s - self._begin_s) / self._most
        thinned = self._raster[:1]
        for candidate in self._raster[1:]:
            if self._cell(candidate) > self._cell(thinned[-1]):
                thinned.append(candidate)
        self._raster = thinned
