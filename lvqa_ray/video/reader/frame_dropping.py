"""Skipping of non-reference frames (half of the decoding work) for callers that do not need every frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from av.codec.context import CodecContext
from av.packet import Packet

from lvqa_ray.video.reader.frame_skimming import REORDERED

MOST_PASSED = 5
"""Maximum packets in a row without a frame; after more of them the rest of the GOP is decoded completely."""

SETTLED = REORDERED + 3
"""A decoder outputs a frame before it has received this many further packets."""


class NonRefSkipper:
    """Lets a decoder skip non-reference frames, except where the caller asks to keep them.

    The choice depends on each GOP alone, so it does not depend on where a reader began.

    Args:
        until: Skip nothing from the first packet on that appears later than this (in the packets' units).
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._over = self._has_output = False
        self._recent: deque[tuple[int, int]] = deque(maxlen=64)  # times and numbers of packets
        self._number = self._key = 0
        self._mark, self._keep_all_from = -1, 0
        self._without_frame = 0

    def packets(self, packets: Iterable[Packet[Any]], codec: CodecContext) -> Iterator[Packet[Any]]:
        """Set the skip option of a decoder of one of `SKIMMED`, on one thread, before each packet is passed on."""
        ahead: deque[Packet[Any]] = deque()
        try:
            for packet in packets:
                ahead.append(packet)
                if len(ahead) > REORDERED:
                    yield self._configured(ahead.popleft(), codec)
            self._over = True  # keep the last frame, which determines the length of the video
            for packet in ahead:
                yield self._configured(packet, codec)
        finally:
            codec.skip_frame = "DEFAULT"

    def frame_decoded(self) -> None:
        """Record that the decoder has output a frame."""
        self._has_output, self._without_frame = True, 0

    def passed_between(self, before: int, pts: int) -> bool:
        """Whether frames were skipped between two consecutive output frames."""
        return any(before < each < pts for each, _ in self._recent)

    def keep_from(self, pts: int) -> None:
        """Keep all later frames of this frame's GOP."""
        if self._mark < self._key:  # the GOP is not marked yet
            self._mark = next((number for each, number in self._recent if each == pts), -1)
            self._keep_all_from = self._mark + SETTLED

    def _configured(self, packet: Packet[Any], codec: CodecContext) -> Packet[Any]:
        self._number += 1
        self._without_frame += self._has_output
        if packet.is_keyframe:
            self._key, self._without_frame = self._number, 0
        if packet.pts is None or packet.pts > self._until:  # without timestamps frames are counted: none may be missing
            self._over = True
        if packet.pts is not None:
            self._recent.append((packet.pts, self._number))
        if self._without_frame > MOST_PASSED and self._mark < self._key:
            self._mark = self._keep_all_from = self._number
        keep_all = self._mark >= self._key and self._number >= self._keep_all_from
        codec.skip_frame = "DEFAULT" if self._over or keep_all else "NONREF"
        return packet
