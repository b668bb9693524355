"""Read-ahead for consecutive clips of one video: the file stays open, and decoding goes on where the last clip ended.

A clip on its own costs opening the file, a seek, and decoding from the key frame before it: with key frames every 10 s
and clips of 1 s that is five times the clip. Files with damage are read clip by clip, so that each clip gets the same
frames and losses wherever reading began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from itertools import islice
from typing import Protocol

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Frame
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.reader.container import is_elsewhere
from lvqa_ray.video.reader.decode_losses import watch_losses
from lvqa_ray.video.reader.video_reader import VideoReader, open_video

WORTH_A_SEEK_S = 12.0
"""Seek over gaps longer than this instead of decoding on; most videos have a key frame every 2 to 10 s."""
SEEK_COSTS_S = 1.0
"""Seek between two clips if a key frame saves decoding more than this."""
NO_INDEX_GAP_S = 2.0
"""The same, if the file has no index of its key frames: the shortest gap that is worth a seek."""


class ReadRuns(Protocol):
    """Protocol of a function that reads the frames on display at ascending times, which it gets in runs.

    It seeks at the beginning of each run.
    """

    def __call__(
        self, source: VideoReader, runs: Sequence[Sequence[float]], encoder: JpegEncoder, /
    ) -> Iterator[Frame]:
        """Read the frames, one for each time, as far as the video can be decoded."""
        ...


class ReadAhead:
    """Open reader of one video, which is kept from clip to clip."""

    def __init__(self) -> None:
        self._path = self._damaged = ""
        self._left: deque[list[float]] = deque()
        self._open = ExitStack()
        self._is_open = False
        self._frames: Iterator[Frame] = iter(())

    def announce(self, path: str, clips: Sequence[Sequence[float]]) -> None:
        """State which frames will be read next.

        Args:
            path: The local file.
            clips: For each of the next clips, the times of its frames (s, ascending).
        """
        wanted = [list(times) for times in clips if times]
        goes_on = self._is_open and self._path == path and list(self._left)[: len(wanted)] == wanted
        if not (wanted and goes_on):
            self.close()
            self._path, self._left = path, deque(wanted)

    def read(self, path: str, times: Sequence[float], encoder: JpegEncoder, read: ReadRuns) -> list[Frame] | None:
        """Read the frames of the next clip.

        Args:
            path: The local file.
            times: Times of the frames (s, ascending).
            encoder: Encodes the JPEGs; the same settings for all clips.
            read: Reads frames.

        Returns:
            The frames; ``None`` if the clip was not announced, is the only one, or must be read alone.
        """
        if path != self._path or path == self._damaged or not self._left or self._left[0] != list(times):
            return None
        if not self._is_open and len(self._left) == 1:
            return None
        if is_elsewhere():
            return None
        try:
            with watch_losses() as losses:
                if not self._is_open:
                    self._start(path, encoder, read)
                frames = list(islice(self._frames, len(times)))
        except VideoError:  # reading the clip alone tells what is wrong
            frames = []
        if losses or len(frames) < len(times):
            self._damaged = path
            self.close()
            return None
        self._left.popleft()
        if not self._left:
            self.close()
        return frames

    def close(self) -> None:
        """Close the file."""
        self._open.close()
        self._is_open, self._frames = False, iter(())
        self._left.clear()

    def _start(self, path: str, encoder: JpegEncoder, read: ReadRuns) -> None:
        source = self._open.enter_context(open_video(path))
        self._is_open = True
        encoder.presentation = source.presentation
        self._frames = read(source, runs(self._left, source), encoder)


_current: ContextVar[ReadAhead | None] = ContextVar("_current", default=None)


@contextmanager
def reading_ahead(ahead: ReadAhead) -> Iterator[None]:
    """Read frames with a read-ahead while the block runs."""
    before = _current.set(ahead)
    try:
        yield
    finally:
        _current.reset(before)


def current_read_ahead() -> ReadAhead | None:
    """The read-ahead of `reading_ahead`, if any."""
    return _current.get()


def runs(clips: Sequence[Sequence[float]], source: VideoReader) -> list[list[float]]:
    """Divide the times of clips into runs, where a seek is cheaper than decoding on.

    Args:
        clips: Times of the frames of each clip (s, ascending).
        source: Gives the key frames.
    """
    divided: list[list[float]] = []
    for times in clips:
        for at, time in enumerate(times):
            last = divided[-1][-1] if divided else None
            if last is None or _is_seek_cheaper(last, time, None if at else source):
                divided.append([])
            divided[-1].append(time)
    return divided


def _is_seek_cheaper(last_s: float, time_s: float, source: VideoReader | None) -> bool:
    """Whether to seek from one frame to the next; within a clip (no source), only over long gaps."""
    if time_s < last_s or time_s - last_s > WORTH_A_SEEK_S:
        return True
    if source is None:
        return False
    key_s = _key_frame_before(source, time_s)
    if key_s is None:
        return time_s - last_s > NO_INDEX_GAP_S
    return key_s - last_s > SEEK_COSTS_S


def _key_frame_before(source: VideoReader, time_s: float) -> float | None:
    """Decoding time of the last key frame at or before a time (s); ``None`` if the file has no index up to there."""
    index = source.stream.index_entries
    ticks = int((source.start_s + time_s) / source.time_base)
    if source.is_joined or not len(index) or index[-1].timestamp < ticks:
        return None
    at = index.search_timestamp(ticks, backward=True)
    return None if at < 0 else source.seconds_at(index[at].timestamp)
