"""What a video is, from its header, its first picture and its last packets: never by reading it all."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import VideoInfo
from lvqa_ray.video.display import orientation_of, shown_size
from lvqa_ray.video.encryption import check_clear
from lvqa_ray.video.opening import check_dimensions
from lvqa_ray.video.source import Source, no_frames, open_source

FIRST_PICTURE_PACKETS = 500
"""A video that shows nothing within so many packets shows nothing."""

TOLERANCE_S = 0.5
"""Headers and packets may differ by this much; more is a file cut short."""

INDEXLESS = frozenset({"mpegts", "mpeg"})
"""Formats without an index: what FFmpeg says of their length is when the last picture begins, and a seek may end behind
the packet of that picture, if others follow that are shown before it."""

TAIL_S = 1.0
"""How long before the end of such a file to begin to look for it."""

TAIL_STEP_S = 2.0
"""How closely to search for the end of a file that was cut short."""


def probe(path: str) -> VideoInfo:
    """Find out what a video is.

    Opens the file, decodes its first picture, and reads the packets after its last reachable key frame, so that the
    time it takes does not grow with the length of the video. Only a file without an index is read to its end
    (undecoded).

    Args:
        path: A local file.

    Returns:
        What the picture stream is. Sound that goes on longer does not lengthen it. Where the file was cut short,
        ``duration_sec`` and ``num_frames`` are what can be read, and ``partial`` says so.

    Raises:
        VideoError: The file cannot be used: its ``kind`` and message say why.
    """
    try:
        with open_source(path, picture_only=False) as source:
            return _describe(source)
    except MemoryError:
        raise
    except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        raise VideoError(
            VideoFault.UNREADABLE, f"{path} cannot be read ({error}); fetch it again or re-encode it."
        ) from error


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where packets end, in seconds from the first picture: those of the picture, and those of any stream."""

    picture_s: float = 0.0
    any_s: float = 0.0
    packets: int = 0


def _describe(source: Source) -> VideoInfo:
    first = next(source.frames(limit=FIRST_PICTURE_PACKETS), None)
    check_clear(source, float(source.container.duration or 0) / av.time_base)
    if first is None:
        raise no_frames(source.path)
    check_dimensions(source.path, first.width, first.height)
    width, height = shown_size(first, source.presentation)

    promised_s = _promised_end(source)
    extent = _extent(source, promised_s)
    header_s = _header_duration(source)
    is_known = header_s and abs(header_s - extent.picture_s) <= source.period_s and not _is_indexless(source)
    duration_s = header_s if header_s and is_known else extent.picture_s
    partial = ""
    if promised_s - extent.any_s > TOLERANCE_S:
        partial = (
            f"The file promises {promised_s:.1f} s but ends after {extent.any_s:.1f} s; fetch it again for the rest."
        )

    frames = source.stream.frames if not partial else 0
    fps = float(source.fps) if source.fps else 0.0
    if not fps and duration_s > 0:
        fps = (frames or extent.packets) / duration_s
    stands_still = extent.packets > 2 and extent.picture_s <= 2 * source.period_s  # every frame has the same time
    if stands_still or not (duration_s > 0 and 0 < fps <= 1000):
        raise VideoError(
            VideoFault.NO_DURATION,
            f"{source.path} does not say how long it is or how fast it plays (a frame rate of 0); re-encode it.",
        )
    estimate = max(1, round(duration_s * fps))
    return VideoInfo(
        # A header also counts the frames that an edit list leaves out.
        num_frames=frames if abs(frames - estimate) <= max(2, 0.1 * estimate) and frames else estimate,
        height=height,
        width=width,
        fps=fps,
        duration_sec=duration_s,
        rotation=orientation_of(first).rotation,
        codec=source.codec,
        has_audio=bool(source.container.streams.audio),
        partial=partial,
    )


def _header_duration(source: Source) -> float | None:
    """Seconds of picture as its stream says, or as Matroska's statistics say."""
    stream = source.stream
    if stream.duration:
        return float(stream.duration * source.time_base)
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None


def _promised_end(source: Source) -> float:
    """Seconds from the first picture to the end of the longest stream, as the container says; 0 if it says nothing."""
    container = source.container
    if not container.duration:
        return _header_duration(source) or 0.0
    begin = Fraction(container.start_time or 0, av.time_base)
    return float(begin + Fraction(container.duration, av.time_base)) - source.start_s


def _is_indexless(source: Source) -> bool:
    return source.container.format.name in INDEXLESS


def _extent(source: Source, promised_s: float) -> _Extent:
    """Read the last packets, at the promised end or, if nothing is there, as far as the file goes."""
    if promised_s > 0:
        extent = _packets_after(source, max(0.0, promised_s - TAIL_S) if _is_indexless(source) else promised_s)
        if extent.packets:
            return extent
        readable_s, lost_s = 0.0, promised_s
        while lost_s - readable_s > TAIL_STEP_S:
            middle_s = (readable_s + lost_s) / 2
            if _packets_after(source, middle_s, limit=1).packets:
                readable_s = middle_s
            else:
                lost_s = middle_s
        extent = _packets_after(source, readable_s)
        if extent.packets:
            return extent
    source.rewind()
    return _packets(source)


def _packets_after(source: Source, time_s: float, *, limit: int | None = None) -> _Extent:
    """Go to the key frame before a time and see how far packets reach from there."""
    source.seek(time_s)
    return _packets(source, limit=limit)


def _packets(source: Source, *, limit: int | None = None) -> _Extent:
    picture_s = any_s = 0.0
    count = 0
    for packet in source.all_packets():
        if packet.pts is None and packet.dts is None:
            if packet.size == 0 or packet.stream_index != source.stream.index:
                continue
            end_s = picture_s + source.period_s  # a raw stream: count
        else:
            end_s = source.end_of_packet(packet)
        any_s = max(any_s, end_s)
        if packet.stream_index == source.stream.index:
            picture_s = max(picture_s, end_s)
            count += 1
            if limit is not None and count >= limit:
                break
    return _Extent(picture_s, any_s, count)
