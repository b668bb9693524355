"""Passing over the frames that no other frame refers to: half of the work of decoding, for who can do without them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from av.codec.context import CodecContext
from av.packet import Packet

from lvqa_ray.video.reader.frame_skimming import REORDERED

MOST_PASSED = 5
"""Packets in a row that give no frame; a group of pictures with more of them is decoded whole from there on."""

SETTLED = REORDERED + 3
"""By when it has been given so many packets more, a decoder has let go of a frame."""


class NonRefSkipper:
    """Has a decoder pass over what no other frame refers to, except where the caller finds that it matters.

    What is passed over follows from each group of pictures alone: it is the same for a reader that begins with that
    group as for one that comes from before it.

    Args:
        until: Pass over nothing any more from the first packet on that appears later (in the packets' units).
    """

    def __init__(self, until: float) -> None:
        self._until = until
        self._over = self._came = False
        self._recent: deque[tuple[int, int]] = deque(maxlen=64)  # times of packets, and their numbers
        self._number = self._key = 0
        self._mark, self._whole_from = -1, 0
        self._silent = 0

    def packets(self, packets: Iterable[Packet[Any]], codec: CodecContext) -> Iterator[Packet[Any]]:
        """Tell the decoder before each packet whether it may drop its frame.

        Args:
            packets: In the order of decoding.
            codec: The decoder, on one thread, of one of `lvqa_ray.video.reader.frame_skimming.SKIMMED`.

        Yields:
            The same packets.
        """
        ahead: deque[Packet[Any]] = deque()
        try:
            for packet in packets:
                ahead.append(packet)
                if len(ahead) > REORDERED:
                    yield self._told(ahead.popleft(), codec)
            self._over = True  # the last frame is to come, which says how long the video is
            for packet in ahead:
                yield self._told(packet, codec)
        finally:
            codec.skip_frame = "DEFAULT"

    def frame_decoded(self) -> None:
        """A frame has come out of the decoder."""
        self._came, self._silent = True, 0

    def passed_between(self, before: int, pts: int) -> bool:
        """Whether frames are missing between two that came one after the other."""
        return any(before < each < pts for each, _ in self._recent)

    def keep_from(self, pts: int) -> None:
        """What is missing before this frame mattered: what comes later of its group of pictures shall not be."""
        if self._mark < self._key:  # else the group has been marked before
            self._mark = next((number for each, number in self._recent if each == pts), -1)
            self._whole_from = self._mark + SETTLED

    def _told(self, packet: Packet[Any], codec: CodecContext) -> Packet[Any]:
        self._number += 1
        self._silent += self._came
        if packet.is_keyframe:
            self._key, self._silent = self._number, 0
        if packet.pts is None or packet.pts > self._until:  # frames without times are counted: none may be missing
            self._over = True
        if packet.pts is not None:
            self._recent.append((packet.pts, self._number))
        if self._silent > MOST_PASSED and self._mark < self._key:
            self._mark = self._whole_from = self._number
        whole = self._mark >= self._key and self._number >= self._whole_from
        codec.skip_frame = "DEFAULT" if self._over or whole else "NONREF"
        return packet
