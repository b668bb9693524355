"""Probe: size, length, codec and rotation of a video, from its header, first frame and last packets."""

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
from lvqa_ray.video.reader.video_reader import FIRST_PICTURE_PACKETS, VideoReader, no_frames, open_video

TOLERANCE_S = 0.5
"""Tolerated difference between header and packets; if packets end earlier, the file is truncated."""

TAIL_S = 1.0
"""In a file without an index, the search for the end begins this long before the stated end."""

TAIL_FRAMES = 4
"""The same in frames, for low frame rates."""

TAIL_STEP_S = 2.0
"""Resolution of the search for the end of a truncated file."""


def probe(path: str) -> VideoInfo:
    """Probe a video.

    Decodes the first frame and reads the packets after the last reachable key frame, so the cost does not depend on the
    length of the video. Only a file without an index is demuxed to its end.

    Returns:
        Properties of the video stream; longer audio does not extend its duration. For a truncated file
        ``duration_sec`` and ``num_frames`` cover what can be read, and ``partial`` explains it.

    Raises:
        VideoError: The file is unusable; ``kind`` and message give the reason.
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
    """End of the packets, in seconds from the first frame.

    Attributes:
        picture_s: End of the video stream.
        last_s: Start of the last packet of the video stream.
        any_s: End of all streams.
        packets: Number of packets read of the video stream.
        read_until: Byte offset at which the last packet ends.
        is_still: Whether the video stream is a single frame: a still image.
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

    # If timestamps jump, FFmpeg states the distance of the first and last one, which is no duration.
    ends_s = (0.0,) if source.is_joined else promised_ends(source.container, source.stream, source.start_s)
    extent = _extent(source, ends_s[-1])
    header_s = promised_picture_s(source.stream)
    duration_s = extent.picture_s
    if header_s and not _is_indexless(source):
        # For a reordered frame MP4 states the time until the next decoding, not the time on display.
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
    is_frozen = extent.packets > 2 and extent.picture_s <= 2 * source.period_s  # all frames have the same timestamp
    if is_frozen or not (duration_s > 0 and 0 < fps <= 1000):
        raise VideoError(
            VideoFault.NO_DURATION,
            f"{source.path} does not say how long it is or how fast it plays (a frame rate of 0); re-encode it.",
        )
    estimate = max(1, round(duration_s * fps))
    return VideoInfo(
        # The header also counts frames that an edit list drops.
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
    """Read the last packets, at the promised end, or by bisection if there are none."""
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
    """Seek to the key frame before a time and read on to the end of the packets."""
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
            end_s = picture_s + source.period_s  # raw streams have no timestamps: count frames
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
