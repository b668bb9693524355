"""Choice of a video's audio track: the first decodable one that is not commentary or audio description."""

from __future__ import annotations

from itertools import islice
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from lvqa_ray.video.reader.container import open_container
from lvqa_ray.video.reader.container_formats import raise_if_out_of_memory

SIDE_TRACK = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired
"""Commentary and audio description: chosen only if there is nothing else."""

TRIED_PACKETS = 50
"""Maximum packets to decode per track, to find one that decodes."""


def audio_track(path: str, container: InputContainer) -> AudioStream | None:
    """Choose the audio track of a video.

    Tracks that this build of FFmpeg cannot decode, and tracks without packets, are ignored. If there are several
    tracks, the first packets of each are decoded, since a decoder may exist and still fail on every packet.

    Args:
        path: The file, to read the first packets of several tracks.
        container: The demuxer; nothing is read from it.

    Returns:
        The track; ``None`` if there is no decodable one.
    """
    tracks = [track for track in container.streams.audio if track.codec_context is not None and not _is_empty(track)]
    tracks.sort(key=lambda track: bool(track.disposition & SIDE_TRACK))
    if len(tracks) > 1:
        decoding = _decoding(path, [track.index for track in tracks])
        tracks = [track for track in tracks if track.index in decoding] or tracks
    return tracks[0] if tracks else None


def _is_empty(track: AudioStream) -> bool:
    """Whether a track has no data by its header, or no known sample rate."""
    return (track.duration == 0 and not track.frames) or not track.codec_context.sample_rate


def _decoding(path: str, indexes: list[int]) -> set[int]:
    """Indexes of the tracks that have a decodable packet near the beginning."""
    found: set[int] = set()
    with open_container(path) as container:
        for stream in container.streams:
            if stream.index not in indexes:
                stream.discard = Discard.all
        tracks = [track for track in container.streams.audio if track.index in indexes]
        try:
            for packet in islice(container.demux(*tracks), TRIED_PACKETS * len(tracks)):
                if packet.stream_index not in found and _decodes(packet):
                    found.add(packet.stream_index)
                if len(found) == len(indexes):
                    break
        except av.FFmpegError as error:
            raise_if_out_of_memory(error)
    return found


def _decodes(packet: Packet[Any]) -> bool:
    try:
        return bool(packet.decode())
    except av.FFmpegError as error:
        raise_if_out_of_memory(error)
        return False
