"""Contact sheet: thumbnails of a video side by side in one JPEG, for people and not for models."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame

from lvqa_ray.records import Span
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.frames.jpeg import Pixels
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.spans import EPSILON_S

THUMBNAIL_MOST_FRAMES = 300
"""At most this many frames are decoded for one thumbnail; a span whose frame is further from a key frame has none."""


@dataclass(frozen=True, slots=True)
class ContactSheet:
    """Thumbnails of one video.

    Attributes:
        jpeg: All thumbnails from left to right, each ``width`` x ``height`` pixels.
        times: Time of each thumbnail (s from the first frame), in the order of the given spans; ``None`` for a span
            without a thumbnail, which is not in the JPEG either.
    """

    jpeg: bytes
    width: int
    height: int
    times: tuple[float | None, ...]


def contact_sheet(
    path: str, stretches: Sequence[Span], *, short_side: int = 90, quality: int = 55, within_s: float = 30.0
) -> ContactSheet | None:
    """Make a contact sheet with one frame of each span, preferably a key frame, which decodes fastest.

    Args:
        path: A local file.
        stretches: The spans.
        short_side: Maximum length of a thumbnail's shorter side (px).
        quality: JPEG quality, 1 to 100.
        within_s: Time limit (s); the spans that are left then have no thumbnail.

    Returns:
        The thumbnails; ``None`` if there is not a single one.

    Raises:
        VideoError: The file cannot be opened.
    """
    end = time.monotonic() + within_s
    encoder = JpegEncoder(short_side=short_side, quality=quality)
    thumbnails: list[Pixels] = []
    times: list[float | None] = []
    with open_video(path) as source:
        encoder.presentation = source.presentation
        for stretch in stretches:
            frame = _thumbnail_frame(source, stretch) if time.monotonic() < end else None
            pixels = encoder.pixels(frame) if frame else None
            if frame is None or pixels is None or (thumbnails and pixels.shape != thumbnails[0].shape):
                times.append(None)
            else:
                times.append(source.time_of(frame))
                thumbnails.append(pixels)
    if not thumbnails:
        return None
    height, width, _ = thumbnails[0].shape
    return ContactSheet(encoder.encode_pixels(np.ascontiguousarray(np.hstack(thumbnails))), width, height, tuple(times))


def _thumbnail_frame(source: VideoReader, stretch: Span) -> VideoFrame | None:
    """Last key frame of a span, or the frame in its middle if it has none."""
    source.seek(max(stretch.start_s, stretch.end_s - source.period_s))
    first = next(source.frames(limit=THUMBNAIL_MOST_FRAMES), None)
    if first is not None and stretch.start_s - EPSILON_S <= source.time_of(first) < stretch.end_s:
        return first
    middle = (stretch.start_s + stretch.end_s) / 2
    shown: VideoFrame | None = None
    source.seek(middle)
    for frame in source.frames(limit=THUMBNAIL_MOST_FRAMES, wanted_s=[middle]):
        if source.time_of(frame) > middle + EPSILON_S:
            return shown or frame
        shown = frame
    return shown if shown and source.end_of(shown) > stretch.start_s else None
