"""Choice of the audio track of a video: the first one that can be decoded and is the programme itself."""

from __future__ import annotations

from itertools import islice
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard, Disposition

from lvqa_ray.video.reader.container import open_container

SIDE_TRACK = Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired
"""Commentary and audio description: chosen only where there is nothing else."""

TRIED_PACKETS = 50
"""Packets of each track that are decoded at most, to find one that decodes."""


def audio_track(path: str, container: InputContainer) -> AudioStream | None:
    """Choose the audio track of a video.

    Tracks that this build of FFmpeg cannot decode, and tracks without packets, do not count. Of the others the first
    one counts, after which come commentary and audio description. Where there are several tracks, the first packets of
    each are decoded: a decoder may exist and still fail on every packet.

    Args:
        path: The file, to read the first packets of several tracks.
        container: The demuxer, from which nothing is read.

    Returns:
        The track; ``None`` where there is none that decodes.
    """
    tracks = [track for track in container.streams.audio if track.codec_context is not None and not _is_empty(track)]
    tracks.sort(key=lambda track: bool(track.disposition & SIDE_TRACK))
    if len(tracks) > 1:
        decoding = _decoding(path, [track.index for track in tracks])
        tracks = [track for track in tracks if track.index in decoding] or tracks
    return tracks[0] if tracks else None


def _is_empty(track: AudioStream) -> bool:
    """Whether the header says that a track holds nothing, or no packet has told its sample rate."""
    return (track.duration == 0 and not track.frames) or not track.codec_context.sample_rate


def _decoding(path: str, indexes: list[int]) -> set[int]:
    """Those of some tracks of which a packet near the beginning decodes."""
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
            if isinstance(error, MemoryError):
                raise MemoryError from error
    return found


def _decodes(packet: Packet[Any]) -> bool:
    try:
        return bool(packet.decode())
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise MemoryError from error
        return False
