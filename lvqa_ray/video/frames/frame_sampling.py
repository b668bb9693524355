"""Frames at wanted times, as JPEG: one open, one seek, then straight on.

A reader is one file: `frames` (PyAV) and `frames_decord`. Both keep one contract, and one test holds them to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import av
from av.video.frame import VideoFrame

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Frame
from lvqa_ray.video.frames import decord_backend
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.reader.video_reader import EPSILON_S, VideoReader, no_frames, open_video

LAST_FRAME_GRACE_S = 0.5
"""The last frame stands in for times this far past its end: durations in headers are not that exact."""

WORTH_A_SEEK_S = 12.0
"""A gap longer than this is jumped; most videos have a key frame about every 2 to 10 s."""


class FrameReader(Protocol):
    """Reads frames out of one video."""

    def __call__(self, path: str, times: Sequence[float], encoder: JpegEncoder) -> list[Frame]:
        """Read frames.

        Args:
            path: A local file.
            times: Seconds from the first picture, rising.
            encoder: Makes the JPEGs.

        Returns:
            For each time the frame on display then: the last one that appears no later (the first one, before it
            appears). Times past the end of what can be decoded are left out.

        Raises:
            VideoError: No frame can be had.
        """


def sample_frames(
    path: str,
    times: Sequence[float],
    *,
    short_side: int,
    quality: int,
    reader: Literal["pyav", "decord"] = "pyav",
) -> list[Frame]:
    """Sample a video.

    Args:
        path: A local file.
        times: Wanted times in seconds from the first picture, in any order.
        short_side: Most pixels of the shorter side of a JPEG; nothing is enlarged.
        quality: JPEG quality, 1 to 100.
        reader: What decodes.

    Returns:
        One frame for each time, in time order, each with the time at which it really appears. In a damaged or shortened
        file those beyond what can be decoded are missing.

    Raises:
        VideoError: The video cannot be opened, or not one of the frames can be had.
        ConfigError: The reader is not installed.
    """
    if not times:
        return []
    read: FrameReader = read_with_pyav if reader == "pyav" else decord_backend.read_with_decord
    frames = read(path, sorted(times), JpegEncoder(short_side=short_side, quality=quality))
    if not frames:
        raise VideoError(
            VideoFault.TRUNCATED,
            f"{path} cannot be decoded as far as {min(times):.3f} s; fetch the file again or leave out its end.",
        )
    return frames


def read_with_pyav(path: str, times: Sequence[float], encoder: JpegEncoder) -> list[Frame]:
    """Read frames with FFmpeg in this process, on one thread. See `FrameReader`."""
    with open_video(path) as source:
        encoder.presentation = source.presentation
        sampled: list[Frame] = []
        for run in _runs(times):
            shown = _on_display(source, run)
            sampled += _encoded(source, shown, encoder)
        if not sampled and next(source.frames_from(0.0), None) is None:
            raise no_frames(path)
        return sampled


def _runs(times: Sequence[float]) -> Iterator[Sequence[float]]:
    """Part rising times where a jump is cheaper than decoding on."""
    begin = 0
    for i in range(1, len(times)):
        if times[i] - times[i - 1] > WORTH_A_SEEK_S:
            yield times[begin:i]
            begin = i
    yield times[begin:]


def _on_display(source: VideoReader, times: Sequence[float]) -> Iterator[VideoFrame]:
    """Yield for each time the frame on display, decoding no further than the one that comes after the last time."""
    wanted = iter(times)
    time = next(wanted)
    shown: VideoFrame | None = None
    for frame in source.frames_from(time, wanted_s=times):
        while source.time_of(frame) > time + EPSILON_S:
            yield shown or frame
            following = next(wanted, None)
            if following is None:
                return
            time = following
        shown = frame
    if shown is None:
        return
    lasts_s = max(source.final_end_of(shown), source.time_of(shown) + source.period_s) + LAST_FRAME_GRACE_S
    for late in (time, *wanted):
        if late <= lasts_s:
            yield shown


def _encoded(source: VideoReader, shown: Iterator[av.VideoFrame], encoder: JpegEncoder) -> Iterator[Frame]:
    last: Frame | None = None
    for frame in shown:
        time_s = source.time_of(frame)
        if last is None or last.time_s != time_s:
            last = Frame(time_s=time_s, jpeg=encoder.encode(frame))
        yield last
