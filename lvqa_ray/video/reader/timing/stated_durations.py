"""Durations stated in a file's header: end of its streams, and time on display of the last frame."""

from __future__ import annotations

from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

INDEXLESS = frozenset({"mpegts", "mpeg"})
"""Formats without an index: FFmpeg's duration is the start of the last frame, and a seek may end after the packet of
that frame if frames shown earlier follow it."""


def promised_picture_s(stream: VideoStream) -> float | None:
    """Duration of the video stream as stated by the stream or by Matroska's statistics (s)."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def promised_ends(container: InputContainer, stream: VideoStream, start_s: float) -> tuple[float, ...]:
    """End of the longest stream, as stated by the container.

    Timestamps may start late, as in the second file of a split recording. Some writers then count the duration from the
    first frame, others (FFmpeg's Matroska and ASF muxers, HLS fragments) from time 0.

    Args:
        container: The demuxer.
        stream: The video stream.
        start_s: Container time of the first frame (s).

    Returns:
        One or two candidates, in seconds from the first frame, ascending; 0 if the container states nothing.
    """
    if not container.duration:
        return (promised_picture_s(stream) or 0.0,)
    duration = Fraction(container.duration, av.time_base)
    begin = Fraction(container.start_time or 0, av.time_base)
    counted_from_0, counted_from_start = float(duration) - start_s, float(begin + duration) - start_s
    if begin > 0 and counted_from_0 > 0:
        return counted_from_0, counted_from_start
    return (counted_from_start,)


def held_end_s(
    container: InputContainer, stream: VideoStream, start_s: float, shown_s: float, *, is_still: bool = False
) -> float:
    """End of the last frame's display, as stated by the header.

    Longer audio does not extend a video, unless the video is one still image for all of the audio.

    Args:
        container: The demuxer.
        stream: The video stream.
        start_s: Container time of the first frame (s).
        shown_s: End of the packets, in seconds from the first frame; earlier candidates are ignored.
        is_still: Whether the video is a single frame.

    Returns:
        Seconds from the first frame; 0 if the header does not state it.
    """
    picture_s = promised_picture_s(stream)
    is_alone = len(container.streams.video) + len(container.streams.audio) == 1
    if is_still or is_alone:
        ends_s = promised_ends(container, stream, start_s)
    elif picture_s is not None:
        ends_s = (picture_s - start_s, picture_s)
    else:
        return 0.0
    return next((end_s for end_s in ends_s if end_s >= shown_s), 0.0)
