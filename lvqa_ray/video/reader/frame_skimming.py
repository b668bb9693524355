"""Passing over frames that nobody asks for and no other frame needs: a fifth to a quarter of the work of decoding."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from av.codec.context import CodecContext
from av.packet import Packet

SKIMMED = frozenset({"h264", "hevc"})
"""Codecs whose decoders heed the setting packet by packet; AV1's takes it once, when it is opened."""

REORDERED = 17
"""How far in front of or behind its neighbours on display a packet may be: codecs allow 16 frames of delay."""


def skip_unwanted_nonref(
    packets: Iterable[Packet[Any]], codec: CodecContext, wanted: Sequence[float]
) -> Iterator[Packet[Any]]:
    """Tell the decoder before each packet whether it may drop its frame, if no other frame refers to that.

    Which frame is on display at a time follows from the packets' own times: durations are not to be relied on.

    Args:
        packets: In the order of decoding.
        codec: The decoder, on one thread, of one of `SKIMMED`.
        wanted: Times at which the frame on display is needed, rising, in the packets' units.

    Yields:
        The same packets.
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
