"""Thumbnails of a video side by side in one JPEG: cheap looks at stretches of time, for people and not for models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from lvqa_ray.records import Span
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.frames.jpeg import Pixels
from lvqa_ray.video.reader.video_reader import EPSILON_S, VideoReader, open_video

LONGEST_LOOK = 300
"""Frames that are decoded for one thumbnail at most; a stretch whose picture lies further from a key frame has none."""


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """Thumbnails of one video.

    Attributes:
        jpeg: All of them from left to right, each ``width`` x ``height`` pixels.
        times: When each is on screen (s from the first picture), in the order of the stretches asked for; ``None`` for
            those without one, which have no place in the picture either.
    """

    jpeg: bytes
    width: int
    height: int
    times: tuple[float | None, ...]


def contact_sheet(
    path: str, stretches: Sequence[Span], *, short_side: int = 90, quality: int = 55, within_s: float = 30.0
) -> ContactSheet | None:
    """Take one picture out of each stretch of a video, and of those that have one, a key frame: these decode fastest.

    Args:
        path: A local file.
        stretches: Where to look.
        short_side: Most pixels of the shorter side of a thumbnail.
        quality: JPEG quality, 1 to 100.
        within_s: When to stop (s); stretches that are left have none.

    Returns:
        The thumbnails; ``None`` where there is not one.

    Raises:
        VideoError: The file cannot be opened.
    """
    end = time.monotonic() + within_s
    encoder = JpegEncoder(short_side=short_side, quality=quality)
    pictures: list[Pixels] = []
    times: list[float | None] = []
    with open_video(path) as source:
        encoder.presentation = source.presentation
        for stretch in stretches:
            frame = _look(source, stretch) if time.monotonic() < end else None
            pixels = encoder.pixels(frame) if frame else None
            if frame is None or pixels is None or (pictures and pixels.shape != pictures[0].shape):
                times.append(None)
            else:
                times.append(source.time_of(frame))
                pictures.append(pixels)
    if not pictures:
        return None
    height, width, _ = pictures[0].shape
    return ContactSheet(encoder.encode_pixels(np.ascontiguousarray(np.hstack(pictures))), width, height, tuple(times))


def _look(source: VideoReader, stretch: Span) -> VideoFrame | None:
    """The last key frame of a stretch, or the frame in its middle where it has none."""
    source.seek(max(stretch.start_s, stretch.end_s - source.period_s))
    first = next(source.frames(limit=LONGEST_LOOK), None)
    if first is not None and stretch.start_s - EPSILON_S <= source.time_of(first) < stretch.end_s:
        return first
    middle = (stretch.start_s + stretch.end_s) / 2
    shown: VideoFrame | None = None
    source.seek(middle)
    for frame in source.frames(limit=LONGEST_LOOK, wanted_s=[middle]):
        if source.time_of(frame) > middle + EPSILON_S:
            return shown or frame
        shown = frame
    return shown if shown and source.end_of(shown) > stretch.start_s else None
