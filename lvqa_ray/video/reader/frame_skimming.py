"""Skipping of non-reference frames that are not wanted, which saves a fifth to a quarter of the decoding work."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
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
    before: deque[int | None] = deque()
    ahead: deque[Packet[Any]] = deque()
    times: list[int] = []  # of the packets of both, sorted
    source = iter(packets)
    keeps: bool | None = None
    try:
        while True:
            while len(ahead) <= REORDERED and (packet := next(source, None)) is not None:
                ahead.append(packet)
                if packet.pts is not None:
                    insort(times, packet.pts)
            if not ahead:
                return
            packet = ahead.popleft()
            if (needed := _is_needed(packet.pts, times, wanted)) != keeps:
                codec.skip_frame, keeps = "DEFAULT" if needed else "NONREF", needed
            yield packet
            before.append(packet.pts)
            if len(before) > REORDERED and (gone := before.popleft()) is not None:
                del times[bisect_left(times, gone)]
    finally:
        codec.skip_frame = "DEFAULT"


def _is_needed(pts: int | None, times: Sequence[int], wanted: Sequence[float]) -> bool:
    """Whether a wanted time is before the next of the sorted times, or there is none."""
    if pts is None:
        return True
    following = bisect_right(times, pts)
    first = bisect_left(wanted, pts)
    return following == len(times) or (first < len(wanted) and wanted[first] < times[following])
