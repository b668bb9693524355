"""Frame reader on decord, the library that many video models are trained with.

The distribution is decord2, the maintained fork, with the import name ``decord``. Files that it cannot read (raw
streams, some damaged files; with the original decord 0.6 also AV1 and the times of fragmented MP4) are an error.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import av
import numpy as np

from lvqa_ray.errors import ConfigError, VideoError, VideoFault
from lvqa_ray.records import Frame
from lvqa_ray.video.reader.container_formats import has_signature
from lvqa_ray.video.reader.display import Presentation, orientation_of
from lvqa_ray.video.reader.video_reader import FIRST_PICTURE_PACKETS, VideoReader, no_frames, open_video
from lvqa_ray.video.spans import EPSILON_S

if TYPE_CHECKING:
    from lvqa_ray.video.frames.frame_encoder import JpegEncoder
    from lvqa_ray.video.frames.jpeg import Pixels

LAST_FRAME_GRACE_S = 0.5
"""The last frame is also used for times up to this far past its end, since durations in headers are inexact."""


class _DecordArray(Protocol):
    def asnumpy(self) -> np.ndarray[Any, np.dtype[np.uint8]]: ...


class _DecordVideo(Protocol):
    def __getitem__(self, index: int) -> _DecordArray: ...


def read_with_decord(path: str, times: Sequence[float], encoder: JpegEncoder) -> list[Frame]:
    """Read frames with decord, on one thread and one at a time: its batches hold all frames in memory.

    For arguments and result see `lvqa_ray.video.frames.frame_sampling.FrameReader`.
    """
    try:
        import decord  # noqa: PLC0415 - optional, and missing on some platforms
    except ImportError:
        raise ConfigError(
            'The frame reader "decord" is not installed; use "pyav", or install the package decord2.'
        ) from None
    with open_video(path) as source:  # raises our own messages for unusable files
        encoder.presentation = _presentation(source)
        if source.is_joined:
            raise VideoError(
                VideoFault.UNREADABLE,
                f'The timestamps of {path} jump, which decord does not support; use the frame reader "pyav".',
            )
    if not has_signature(path):  # decord has its own FFmpeg, which takes no list of allowed formats
        raise VideoError(
            VideoFault.UNREADABLE, f'{path} does not begin like a common container; use the frame reader "pyav" for it.'
        )
    try:
        # An absolute path never begins with a protocol.
        video = decord.VideoReader(str(Path(path).absolute()), ctx=decord.cpu(0), num_threads=1)
        shown = video.get_frame_timestamp(np.arange(len(video)))
        return _read(video, shown, times, encoder, path)
    except VideoError:
        raise
    except Exception as error:  # decord raises its own error, RuntimeError, StopIteration and AssertionError
        raise VideoError(
            VideoFault.UNREADABLE, f'decord cannot read {path}; use the frame reader "pyav" for it.'
        ) from error


def _presentation(source: VideoReader) -> Presentation:
    """Presentation of decord's frames, which are rotated already.

    Raises:
        VideoError: decord would decode them mirrored, or as HDR.
    """
    first = next(source.frames(limit=FIRST_PICTURE_PACKETS), None)
    if first is None:
        raise no_frames(source.path)
    orientation, shown = orientation_of(first), source.presentation
    if orientation.mirrored or shown.hdr_transfer(first):
        what = "an HDR video in SDR" if shown.hdr_transfer(first) else "a mirrored video the right way"
        raise VideoError(
            VideoFault.UNREADABLE, f'decord does not show {what} ({source.path}); use the frame reader "pyav" for it.'
        )
    return replace(shown, turned=orientation.transposed)


def _read(
    video: _DecordVideo, shown: np.ndarray[Any, np.dtype[Any]], times: Sequence[float], encoder: JpegEncoder, path: str
) -> list[Frame]:
    starts = [float(start) for start in shown[:, 0] - shown[0, 0]]
    if len(starts) > 1 and not starts[-1] > 0:
        raise VideoError(
            VideoFault.UNREADABLE, f'decord finds no frame times in {path}; use the frame reader "pyav" for it.'
        )
    period_s = starts[-1] / (len(starts) - 1) if len(starts) > 1 else 0.04
    end_s = starts[-1] + period_s + LAST_FRAME_GRACE_S
    sampled: list[Frame] = []
    for time in times:
        if time > end_s:
            break
        index = max(0, bisect_right(starts, time + EPSILON_S) - 1)
        if not sampled or sampled[-1].time_s != starts[index]:
            frame = av.VideoFrame.from_ndarray(_rgb(video[index].asnumpy()), format="rgb24")
            sampled.append(Frame(time_s=starts[index], jpeg=encoder.encode(frame)))
        else:
            sampled.append(sampled[-1])
    return sampled


def _rgb(pixels: Pixels) -> Pixels:
    """Remove the row padding that decord2 3.4 takes for further channels.

    With AVX-512 its rows are padded to a multiple of 64 pixels. If that is a multiple of a third of the width (as for
    144 pixels), decord does not copy the rows but returns an array with more than three channels.
    """
    height, width, _ = pixels.shape
    return np.ascontiguousarray(pixels.reshape(height, -1)[:, : 3 * width]).reshape(height, width, 3)
