"""Smart cut plan: which packets of a span to copy, and which frames before and after them to re-encode.

Pure arithmetic on packet timestamps. The copied run begins at an IDR frame, across which no frame refers. It ends where
the packets so far, in decoding order, are also the first frames in display order: later packets may depend on a frame
past the end, as B-frames do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


class NotExactError(Exception):
    """A smart cut is impossible for this span, which is no error in the file: re-encode it completely."""


class NoKeyFrameError(NotExactError):
    """The span has no IDR frame, so nothing can be copied."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Timestamps of a packet, in the stream's time base.

    Attributes:
        pts: Presentation time.
        dts: Decoding time.
        duration: Duration.
        idr: Whether it is an IDR frame: nothing after it depends on anything before it.
    """

    pts: int
    dts: int
    duration: int
    idr: bool


@dataclass(frozen=True, slots=True)
class PacketSlot:
    """Timestamps in the clip for a re-encoded frame, in the stream's time base.

    Attributes:
        frame: Presentation time in the source.
        pts: Presentation time in the clip.
        dts: Decoding time in the clip.
        duration: Duration.
    """

    frame: int
    pts: int
    dts: int
    duration: int


@dataclass(frozen=True, slots=True)
class SmartCutPlan:
    """Plan of a clip; packet indices refer to the list of `Stamp`.

    Attributes:
        zero: Source time of the clip's time 0.
        end: Source time at which the last frame leaves the display.
        head: Frames to encode before the copied packets, in display order.
        key: Index of the first packet to copy.
        stop: Index after the last packet to copy.
        tail: Frames to encode after the copied packets, in display order.
        tail_key: Index of the first packet to decode for the tail.
    """

    zero: int
    end: int
    head: tuple[PacketSlot, ...]
    key: int
    stop: int
    tail: tuple[PacketSlot, ...]
    tail_key: int


def plan_cut(stamps: Sequence[Stamp], *, start: float, end: float, slack: float, long_frame: float) -> SmartCutPlan:
    """Plan which packets to copy and which frames to encode.

    Args:
        stamps: Packets in decoding order, from a key frame at or before the start (or from the first packet) to the
            last one that is decoded before the end.
        start: The wanted start, in the stream's time base.
        end: The wanted end.
        slack: Rounding tolerance: frames from ``start - slack`` to before ``end - slack`` belong to the clip.
        long_frame: If the first frame comes later than this after the start, the clip opens with the one before it.

    Raises:
        NoKeyFrameError: The span has no IDR frame.
        NotExactError: The timestamps are out of order.
    """
    _check(stamps)
    wanted = sorted((stamp for stamp in stamps if start - slack <= stamp.pts < end - slack), key=lambda s: s.pts)
    alone = [i for i, stamp in enumerate(stamps) if stamp.idr]
    key = next((i for i in alone if start - slack <= stamps[i].pts < end - slack), None)
    if key is None:
        raise NoKeyFrameError("no key frame that stands alone lies within the span")
    first = stamps[key].pts
    if any(stamp.pts < first for stamp in stamps[key:]) or any(stamp.pts > first for stamp in stamps[:key]):
        raise NotExactError("frames are shown across the key frame")

    before = [stamp for stamp in wanted if stamp.pts < first]
    body = wanted[len(before) :]
    zero = wanted[0].pts
    earlier = [stamp for stamp in stamps if stamp.pts < start - slack]
    if earlier and zero - start > long_frame:
        before.insert(0, max(earlier, key=lambda s: s.pts))
        zero = round(start)

    # The same reordering delay as at the key frame, so that its packet follows in decoding order.
    ahead = first - stamps[key].dts
    shown = [max(0, s.pts - zero) for s in before]
    head = [PacketSlot(s.pts, pts, pts - ahead, s.duration) for s, pts in zip(before, shown, strict=True)]
    stop = _stop(stamps, key, body)
    rest = body[stop - key :]
    # Frames are never shown before they are decoded, so the n-th remaining frame in display order is shown no earlier
    # than the n-th remaining packet is decoded: the frames of the tail can take over these decoding times.
    tail = [PacketSlot(s.pts, s.pts - zero, stamps[stop + n].dts - zero, s.duration) for n, s in enumerate(rest)]
    return SmartCutPlan(
        zero=zero,
        end=wanted[-1].pts + wanted[-1].duration,
        head=tuple(head),
        key=key,
        stop=stop,
        tail=tuple(tail),
        tail_key=max(i for i in alone if i < stop),
    )


def _check(stamps: Sequence[Stamp]) -> None:
    if any(later.dts <= earlier.dts for earlier, later in pairwise(stamps)):
        raise NotExactError("decoding times do not rise")
    if any(stamp.pts < stamp.dts for stamp in stamps) or len({stamp.pts for stamp in stamps}) < len(stamps):
        raise NotExactError("frames share a time, or are shown before they are decoded")


def _stop(stamps: Sequence[Stamp], key: int, body: Sequence[Stamp]) -> int:
    """End of the longest run of packets from ``key`` that is also the beginning of the clip in display order."""
    stop, latest = key + 1, stamps[key].pts
    for count, stamp in enumerate(stamps[key : key + len(body)], 1):
        latest = max(latest, stamp.pts)
        if latest == body[count - 1].pts:
            stop = key + count
    return stop
