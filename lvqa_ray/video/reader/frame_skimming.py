"""Skipping of non-reference frames that are not wanted, which saves a fifth to a quarter of the decoding work."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from av.codec.context import CodecContext
from av.packet import Packet

SKIMMED = frozenset({"h264", "hevc"})
"""Codecs whose decoders read the skip option for every packet; that of AV1 reads it once, when it is opened."""

REORDERED = 17
"""Maximum distance in packets between neighbours on display: codecs allow 16 frames of delay."""


def skip_unwanted_nonref(
    packets: Iterable[Packet[Any]], codec: CodecContext, wanted: Sequence[float]
) -> Iterator[Packet[Any]]:
    """Set the decoder's skip option before each packet: non-reference frames that are not wanted may be dropped.

    The frame on display at a time follows from the packets' timestamps, since their durations are unreliable.

    Args:
        packets: Packets in decoding order, which are passed on.
        codec: Single-threaded decoder of one of `SKIMMED`.
        wanted: Times at which the frame on display is needed, ascending, in the packets' units.
    """
    before: deque[int | None] = deque(maxlen=REORDERED)
    ahead: deque[Packet[Any]] = deque()
    source = iter(packets)
    try:
        while True:
            while len(ahead) <= REORDERED and (packet := next(source, None)) is not None:
                ahead.append(packet)
            if not ahead:
                return
            packet = ahead.popleft()
            needed = _is_needed(packet, chain(before, (each.pts for each in ahead)), wanted)
            codec.skip_frame = "DEFAULT" if needed else "NONREF"
            before.append(packet.pts)
            yield packet
    finally:
        codec.skip_frame = "DEFAULT"


def _is_needed(packet: Packet[Any], others: Iterable[int | None], wanted: Sequence[float]) -> bool:
    if packet.pts is None:
        return True
    next_pts = min((pts for pts in others if pts is not None and pts > packet.pts), default=None)
    first = bisect_left(wanted, packet.pts)
    return next_pts is None or (first < len(wanted) and wanted[first] < next_pts)
