"""Damage detection during decoding: finds lost and corrupt frames and notes them as losses."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.video.reader import gaps
from lvqa_ray.video.reader.decode_losses import note_loss

if TYPE_CHECKING:
    from lvqa_ray.video.reader.video_reader import VideoReader

SUSPICIOUS_FRAMES = 16
"""A gap within this many frames after a corrupt one counts as a loss."""


class DamageDetector:
    """Watches the packets and frames of one reader from a seek on, and notes losses.

    Demuxers that resynchronise after damage drop what they do not understand, without an error: a gap soon after a
    corrupt frame is taken for a loss, unless the frames in it were skipped on purpose.

    Args:
        reader: Gives the times of packets and frames.
        start_s: Position after the seek (s).

    Attributes:
        is_damaged: Whether a packet failed to decode, or the file could not be read to its end.
    """

    def __init__(self, reader: VideoReader, start_s: float) -> None:
        self._reader = reader
        self._shown_s = start_s
        self._suspicious = 0
        self._key_frames = _KeyFrames()
        self.is_damaged = False

    def note_gaps(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        """Pass packets through; note what is lost between two of them, and what depends on it up to a key frame."""
        reader = self._reader
        format_name = reader.container.format.name
        if format_name not in gaps.GAP_DEMUXERS:
            yield from packets
            return
        before: Packet[VideoStream] | None = None
        shown_s = 0.0
        lost_from_s: float | None = None
        for packet in packets:
            if packet.size and packet.pts is not None:
                time_s = reader.time_of(packet)
                if before is not None and gaps.is_gap(shown_s, time_s, reader.period_s):
                    is_whole = gaps.is_whole(reader.path, format_name, before, packet)
                    lost_from_s = lost_from_s if is_whole else shown_s + reader.period_s
                if lost_from_s is not None:
                    note_loss(lost_from_s, time_s if packet.is_keyframe else time_s + reader.period_s)
                    lost_from_s = None if packet.is_keyframe else lost_from_s
                shown_s = time_s if before is None else max(shown_s, time_s)
                before = packet
            yield packet

    def key_frame_sent(self, pts: int | None) -> None:
        """Record that a key frame goes into the decoder."""
        self._key_frames.sent(pts)

    def packet_failed(self, packet: Packet[VideoStream]) -> None:
        """Note a packet that the decoder rejected."""
        self.is_damaged = True
        begin_s = self._shown_s if packet.pts is None else self._reader.time_of(packet)
        note_loss(begin_s, begin_s + self._reader.period_s)

    def frame_decoded(self, frame: VideoFrame, *, skipped: bool) -> None:
        """Check a decoded frame: corruption, a gap before it, and the key frame that it depends on.

        Args:
            frame: The frame.
            skipped: Whether frames before it were skipped on purpose.
        """
        begin_s, end_s = self._reader.time_of(frame), self._reader.end_of(frame)
        self._key_frames.decoded(frame.pts or 0)
        if self._key_frames.lost is not None:
            note_loss(self._reader.seconds_at(self._key_frames.lost), end_s)
        if frame.is_corrupt:
            self._suspicious = SUSPICIOUS_FRAMES
            note_loss(begin_s if skipped else min(self._shown_s, begin_s), end_s)
        elif self._suspicious:
            self._suspicious -= 1
            if begin_s - self._shown_s > self._reader.period_s / 2 and not skipped:
                note_loss(self._shown_s, begin_s)
        self._shown_s = end_s

    def file_unreadable(self) -> None:
        """Note that the rest of the file cannot be read."""
        self.is_damaged = True
        note_loss(self._shown_s, math.inf)


class _KeyFrames:
    """Finds key frames that went into a decoder and never came out, as after damage that raises no error.

    Those before the first frame do not count: after a seek, a decoder may need more than one of them to start.
    """

    def __init__(self) -> None:
        self._sent: deque[int] = deque()
        self._started = False
        self.lost: int | None = None
        """Time of the lost key frame that the current frame depends on; ``None`` if it was not lost."""

    def sent(self, pts: int | None) -> None:
        if self._started and pts is not None:
            self._sent.append(pts)

    def decoded(self, pts: int) -> None:
        self._started = True
        while self._sent and self._sent[0] <= pts:
            key = self._sent.popleft()
            self.lost = None if key == pts else key
