"""What a video is, from its header, its first picture and its last packets: never by reading it all."""

from __future__ import annotations

from dataclasses import dataclass

import av

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import VideoInfo
from lvqa_ray.video.audio.track_choice import audio_track
from lvqa_ray.video.reader.container import check_dimensions
from lvqa_ray.video.reader.display import orientation_of, shown_size
from lvqa_ray.video.reader.encryption import check_clear
from lvqa_ray.video.reader.timing.completeness import holds_another, is_complete
from lvqa_ray.video.reader.timing.stated_durations import INDEXLESS, held_end_s, promised_ends, promised_picture_s
from lvqa_ray.video.reader.video_reader import VideoReader, no_frames, open_video

FIRST_PICTURE_PACKETS = 500
"""A video that shows nothing within so many packets shows nothing."""

TOLERANCE_S = 0.5
"""Headers and packets may differ by this much; more is a file cut short."""

TAIL_S = 1.0
"""How long before the end of a file without an index to begin to look for it."""

TAIL_FRAMES = 4
"""The same in frames, for those that stay on display for long."""

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
        with open_video(path, picture_only=False) as source:
            return _describe(source)
    except MemoryError:
        raise
    except (av.FFmpegError, OSError, ValueError, ArithmeticError) as error:
        raise VideoError(
            VideoFault.UNREADABLE, f"{path} cannot be read ({error}); fetch it again or re-encode it."
        ) from error


@dataclass(frozen=True, slots=True)
class _Extent:
    """Where packets end, in seconds from the first picture.

    Attributes:
        picture_s: Those of the picture stream.
        last_s: When the last packet of the picture stream begins.
        any_s: Those of any stream.
        packets: How many packets of the picture stream were read.
        read_until: The byte at which the last of all packets ends.
        is_still: Whether the only one of them is the first of the stream: a still picture.
    """

    picture_s: float = 0.0
    last_s: float = 0.0
    any_s: float = 0.0
    packets: int = 0
    read_until: int = 0
    is_still: bool = False


def _describe(source: VideoReader) -> VideoInfo:
    first = next(source.frames(limit=FIRST_PICTURE_PACKETS), None)
    check_clear(source, float(source.container.duration or 0) / av.time_base)
    if first is None:
        raise no_frames(source.path)
    check_dimensions(source.path, first.width, first.height)
    width, height = shown_size(first, source.presentation)

    # What FFmpeg states of a file whose clock jumps is the distance of its first and last time stamps.
    ends_s = (0.0,) if source.is_joined else promised_ends(source.container, source.stream, source.start_s)
    extent = _extent(source, ends_s[-1])
    header_s = promised_picture_s(source.stream)
    duration_s = extent.picture_s
    if header_s and not _is_indexless(source):
        # Of a picture that is decoded before others, an MP4 states the time to the next decoding, not that on display.
        is_between = extent.last_s < header_s <= extent.picture_s
        if is_between or abs(header_s - extent.picture_s) <= source.period_s:
            duration_s = header_s
    promised_s = next((end_s for end_s in ends_s if end_s >= extent.any_s - TOLERANCE_S), 0.0)
    partial = ""
    if extent.is_still:
        duration_s = max(duration_s, extent.any_s)
    if promised_s - extent.any_s > TOLERANCE_S:
        if is_complete(source.path, source.container.format.name):
            duration_s = max(duration_s, held_end_s(source.container, source.stream, source.start_s, extent.any_s))
        else:
            partial = (
                f"The file promises {promised_s:.1f} s but ends after {extent.any_s:.1f} s; "
                "fetch it again for the rest."
            )

    if not partial and holds_another(source.path, source.container.format.name, extent.read_until):
        partial = (
            f"Another file begins behind its end ({extent.any_s:.1f} s), as after joining byte by byte: only the "
            "first can be read; join them with ffmpeg's concat demuxer."
        )

    frames = source.stream.frames if not partial else 0
    frames = extent.packets if source.is_joined else frames
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
        has_audio=audio_track(source.path, source.container) is not None,
        partial=partial,
    )


def _is_indexless(source: VideoReader) -> bool:
    return source.container.format.name in INDEXLESS


def _tail_s(source: VideoReader) -> float:
    return max(TAIL_S, TAIL_FRAMES * source.period_s) if _is_indexless(source) else 0.0


def _extent(source: VideoReader, promised_s: float) -> _Extent:
    """Read the last packets, at the promised end or, if nothing is there, as far as the file goes."""
    if promised_s > 0 and not source.is_joined:
        extent = _packets_after(source, max(0.0, promised_s - _tail_s(source)))
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


def _packets_after(source: VideoReader, time_s: float, *, limit: int | None = None) -> _Extent:
    """Go to the key frame before a time and see how far packets reach from there."""
    if time_s > 0:
        source.seek(time_s)
    else:
        source.rewind()
    return _packets(source, limit=limit)


def _packets(source: VideoReader, *, limit: int | None = None) -> _Extent:
    picture_s = last_s = any_s = 0.0
    count = read_until = 0
    begins_at_start = False
    for packet in source.all_packets():
        read_until = max(read_until, (packet.pos or 0) + packet.size)
        if packet.pts is None and packet.dts is None:
            if packet.size == 0 or packet.stream_index != source.stream.index:
                continue
            end_s = picture_s + source.period_s  # a raw stream: count
        else:
            end_s = source.end_of_packet(packet)
        any_s = max(any_s, end_s)
        if packet.stream_index == source.stream.index:
            picture_s = max(picture_s, end_s)
            if packet.pts is not None:
                last_s = max(last_s, source.time_of(packet))
            count += 1
            begins_at_start |= packet.pts is not None and source.offset_of(packet) == 0
            if limit is not None and count >= limit:
                break
    return _Extent(picture_s, last_s, any_s, count, read_until, is_still=count == 1 and begins_at_start)
