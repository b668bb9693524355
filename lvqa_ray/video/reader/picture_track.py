"""Choice of the main video track: the first one with moving images.

Other tracks hold still images: the full-size photo of a phone's "motion photo", the cover of a music file, a recorder's
thumbnail, the slides of a talk. Not all of them are marked as attached pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from lvqa_ray.video.reader.container_formats import raise_if_out_of_memory

STILL = Disposition.attached_pic | Disposition.timed_thumbnails
"""Tracks marked as covers or thumbnails are always ignored."""

FEWEST_PICTURES_SHARE = 10
"""A track with less than 1/10 of another track's frames is not the main one."""

COUNTED_PACKETS = 500
"""Maximum packets to read, of all tracks together, if the header does not state the frame counts."""


def picture_tracks(container: InputContainer, reopened: Callable[[], InputContainer]) -> Sequence[VideoStream]:
    """Sort the video tracks of a file by preference.

    Tracks that this build of FFmpeg can decode come first, among these the ones with moving images; otherwise the order
    of the file is kept.

    Args:
        container: The demuxer; nothing is read from it.
        reopened: Opens the file again, to count the frames of tracks that do not state them.

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

    def is_moving(track: VideoStream) -> bool:
        return counts[track.index] > 1 and counts[track.index] * FEWEST_PICTURES_SHARE >= most

    return sorted(tracks, key=lambda track: (track.codec_context is None, not is_moving(track)))


def _counted(reopened: Callable[[], InputContainer], indexes: dict[int, int]) -> dict[int, int]:
    found: Counter[int] = Counter()
    with reopened() as container:
        for stream in container.streams:
            if stream.index not in indexes:
                stream.discard = Discard.all
        try:
            found.update(packet.stream_index for packet in islice(container.demux(), COUNTED_PACKETS) if packet.size)
        except av.FFmpegError as error:
            raise_if_out_of_memory(error)
    return {index: found[index] for index in indexes}
