"""Frame sampling: JPEGs of the frames on display at given times, by PyAV or decord.

Both readers implement `FrameReader`, and the same tests run on both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

import av
from av.video.frame import VideoFrame

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Frame
from lvqa_ray.video.frames import decord_backend
from lvqa_ray.video.frames.decord_backend import LAST_FRAME_GRACE_S
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.frames.read_ahead import current_read_ahead, runs
from lvqa_ray.video.reader.video_reader import VideoReader, no_frames, open_video
from lvqa_ray.video.spans import EPSILON_S


class FrameReader(Protocol):
    """Protocol of a frame reader for one video."""

    def __call__(self, path: str, times: Sequence[float], encoder: JpegEncoder) -> list[Frame]:
        """Read frames.

        Args:
            path: A local file.
            times: Seconds from the first frame, ascending.
            encoder: Encodes the JPEGs.

        Returns:
            For each time the frame on display: the last one that appears no later, or else the first frame. Times past
            the end of the decodable part are left out.

        Raises:
            VideoError: No frame can be decoded.
        """


def sample_frames(
    path: str,
    times: Sequence[float],
    *,
    short_side: int,
    quality: int,
    reader: Literal["pyav", "decord"] = "pyav",
) -> list[Frame]:
    """Sample the frames of a video at given times.

    Args:
        path: A local file.
        times: Seconds from the first frame, in any order.
        short_side: Maximum length of a JPEG's shorter side (px); frames are not enlarged.
        quality: JPEG quality, 1 to 100.
        reader: The decoding library.

    Returns:
        One frame for each time, in time order, each with its true time. Frames past the decodable part of a damaged or
        truncated file are missing.

    Raises:
        VideoError: The video cannot be opened, or none of the frames can be decoded.
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
    ahead = current_read_ahead()
    if ahead and (frames := ahead.read(path, times, encoder, _read_runs)) is not None:
        return frames
    with open_video(path) as source:
        encoder.presentation = source.presentation
        sampled = list(_read_runs(source, runs([times], source), encoder))
        if not sampled and next(source.frames_from(0.0), None) is None:
            raise no_frames(path)
        return sampled


def _read_runs(source: VideoReader, divided: Sequence[Sequence[float]], encoder: JpegEncoder) -> Iterator[Frame]:
    for run in divided:
        yield from _encoded(source, _on_display(source, run), encoder)


def _on_display(source: VideoReader, times: Sequence[float]) -> Iterator[VideoFrame]:
    """Yield the frame on display at each time; decodes no further than the first frame after the last time."""
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
