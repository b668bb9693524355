"""Durations that the header of a file states: when its streams end, and how long its last picture stays on display."""

from __future__ import annotations

from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

INDEXLESS = frozenset({"mpegts", "mpeg"})
"""Formats without an index: what FFmpeg says of their length is when the last picture begins, and a seek may end behind
the packet of that picture, if others follow that are shown before it."""


def promised_picture_s(stream: VideoStream) -> float | None:
    """Seconds of picture as its stream says, or as Matroska's statistics say."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def promised_ends(container: InputContainer, stream: VideoStream, start_s: float) -> tuple[float, ...]:
    """When the longest stream ends, as the container says.

    A clock may begin late, as in the second file of a recording in parts. Some writers then count the duration from the
    first picture, others (FFmpeg's Matroska and ASF muxers, HLS fragments) from time 0.

    Args:
        container: The demuxer.
        stream: The picture stream.
        start_s: The container's time of the first picture (s).

    Returns:
        One or two candidates, in seconds from the first picture, rising; 0 where the container says nothing.
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
    """When the last picture leaves the display, as the header says.

    Sound that goes on longer does not lengthen a video, unless its picture is one still for all of the sound.

    Args:
        container: The demuxer.
        stream: The picture stream.
        start_s: The container's time of the first picture (s).
        shown_s: Up to when there are packets, in seconds from the first picture: no earlier end is meant.
        is_still: Whether there is only one picture.

    Returns:
        Seconds from the first picture; 0 where the header does not say.
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
