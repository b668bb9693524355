"""Choice of the picture track of a video: the first one that is a film, and not a still beside a film.

Phones put a photo of full size beside the film of a "motion photo", music files a cover, recorders a thumbnail, talks
their slides. Not all of them are marked as attached pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

STILL = Disposition.attached_pic | Disposition.timed_thumbnails
"""Tracks that are marked as covers and thumbnails never count."""

FEWEST_PICTURES_SHARE = 10
"""A track with fewer pictures than one in so many of those of another track is no film."""

COUNTED_PACKETS = 500
"""Packets that are read at most, of all tracks together, where the header does not count the pictures."""


def picture_tracks(container: InputContainer, reopened: Callable[[], InputContainer]) -> Sequence[VideoStream]:
    """Order the picture tracks of a video, the one to use first.

    Tracks that this build of FFmpeg can decode come first, and of these the films; else the order is that of the file.

    Args:
        container: The demuxer, from which nothing is read.
        reopened: Opens the file once more, to count the pictures of several tracks that do not state it.

    Returns:
        All tracks that are not marked as a cover or a thumbnail.
    """
    tracks = [track for track in container.streams.video if not track.disposition & STILL]
    if len(tracks) < 2:
        return tracks
    counts = {track.index: track.frames for track in tracks}
    if not all(counts.values()):
        counts = _counted(reopened, counts)
    most = max(counts.values())

    def is_film(track: VideoStream) -> bool:
        return counts[track.index] > 1 and counts[track.index] * FEWEST_PICTURES_SHARE >= most

    return sorted(tracks, key=lambda track: (track.codec_context is None, not is_film(track)))


def _counted(reopened: Callable[[], InputContainer], indexes: dict[int, int]) -> dict[int, int]:
    found: Counter[int] = Counter()
    with reopened() as container:
        for stream in container.streams:
            if stream.index not in indexes:
                stream.discard = Discard.all
        try:
            found.update(packet.stream_index for packet in islice(container.demux(), COUNTED_PACKETS) if packet.size)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise MemoryError from error
    return {index: found[index] for index in indexes}
