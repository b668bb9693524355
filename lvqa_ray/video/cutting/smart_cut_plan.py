"""Which packets of a span can be copied, and which frames before and after them must be encoded anew.

Pure arithmetic on the stamps of packets. A copied run begins at a picture that nothing reaches across (an IDR frame),
and ends where, in decoding order, the packets so far are also the first ones in the order of display: what follows
there may depend on a frame past the end, as B-frames do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


class NotExactError(Exception):
    """A span that cannot be cut exactly without encoding all of it. Nothing is wrong with it: encode it."""


class NoKeyFrameError(NotExactError):
    """Nothing in the span can be copied."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a packet says of its picture, in the stream's time base.

    Attributes:
        pts: When it is shown.
        dts: When it is decoded.
        duration: How long it is shown.
        idr: Whether nothing after it depends on anything before it.
    """

    pts: int
    dts: int
    duration: int
    idr: bool


@dataclass(frozen=True, slots=True)
class PacketSlot:
    """A place in the clip for a frame that is encoded anew, in the stream's time base.

    Attributes:
        frame: When the source shows the frame.
        pts: When the clip shows it.
        dts: When the clip's packet is decoded.
        duration: How long it is shown.
    """

    frame: int
    pts: int
    dts: int
    duration: int


@dataclass(frozen=True, slots=True)
class SmartCutPlan:
    """How to put a clip together; indices are of the stamps.

    Attributes:
        zero: The source's time that is the clip's time 0.
        end: The source's time at which the last frame has been shown.
        head: Frames to encode before the copied packets, in the order of display.
        key: The first packet to copy.
        stop: The one after the last to copy.
        tail: Frames to encode after the copied packets, in the order of display.
        tail_key: From which packet on to decode for the tail.
    """

    zero: int
    end: int
    head: tuple[PacketSlot, ...]
    key: int
    stop: int
    tail: tuple[PacketSlot, ...]
    tail_key: int


def plan_cut(stamps: Sequence[Stamp], *, start: float, end: float, slack: float, long_frame: float) -> SmartCutPlan:
    """Decide what to copy.

    Args:
        stamps: Packets in decoding order, from a key frame at or before the start (or from the first one) to the last
            one that is decoded before the end.
        start: The wanted start, in the stream's time base.
        end: The wanted end.
        slack: What counts as rounding: frames from ``start - slack`` up to, not including, ``end - slack`` are in.
        long_frame: Where the first frame comes later than this after the start, the one before it opens the clip.

    Raises:
        NoKeyFrameError: No key frame that stands alone lies within.
        NotExactError: The stamps are not in order.
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

    # Decoding runs ahead of display by as much as at the key frame, so that its own packet follows in order.
    ahead = first - stamps[key].dts
    shown = [max(0, s.pts - zero) for s in before]
    head = [PacketSlot(s.pts, pts, pts - ahead, s.duration) for s, pts in zip(before, shown, strict=True)]
    stop = _stop(stamps, key, body)
    rest = body[stop - key :]
    # Frames are never shown before they are decoded, so the n-th of the rest in the order of display is shown no
    # earlier than the n-th packet left out is decoded: their decoding times fit the frames that take their place.
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
    """The end of the longest run of packets from ``key`` that is also the beginning of the clip in display order."""
    stop, latest = key + 1, stamps[key].pts
    for count, stamp in enumerate(stamps[key : key + len(body)], 1):
        latest = max(latest, stamp.pts)
        if latest == body[count - 1].pts:
            stop = key + count
    return stop
