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
    """A span that cannot be cut exactly without encoding all of it."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a packet says of its picture.

    Attributes:
        pts: When it is shown, in the stream's time base.
        dts: When it is decoded.
        duration: How long it is shown; 0 where the file does not say.
        idr: Whether nothing after it depends on anything before it.
    """

    pts: int
    dts: int
    duration: int
    idr: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How to put a clip together, in the stream's time base; indices are of the stamps.

    Attributes:
        zero: The source's time that is the clip's time 0.
        head: Frames to encode before the copied ones, in the order of display.
        key: The first packet to copy.
        stop: The one after the last to copy.
        tail: Frames to encode after the copied ones, in the order of display.
        tail_key: From which packet on to decode for them.
        tail_dts: Their decoding times in the source's clock, rising.
        delay: By how much decoding runs ahead of display.
        end: When the last frame has been shown, as far as the file says.
    """

    zero: int
    head: tuple[int, ...]
    key: int
    stop: int
    tail: tuple[int, ...]
    tail_key: int
    tail_dts: tuple[int, ...]
    delay: int
    end: int

    @property
    def times(self) -> list[int]:
        """When the clip's encoded frames are shown, from the clip's start."""
        return [max(0, pts - self.zero) for pts in (*self.head, *self.tail)]


def plan_cut(stamps: Sequence[Stamp], *, start: float, begin: float, end: float, long_frame: float) -> Plan:
    """Decide what to copy.

    Args:
        stamps: Packets in decoding order, from an IDR frame at or before the start (or from the first packet) to the
            first that is decoded at or after the end.
        start: The wanted start, in the stream's time base.
        begin: The same, less what counts as rounding: frames from here on are in.
        end: Frames shown before this are in.
        long_frame: Where the first frame comes later than this after the start, the one before it opens the clip.

    Raises:
        NotExactError: No whole group of pictures lies within, or the stamps are not in order.
    """
    _check(stamps)
    wanted = sorted(stamp.pts for stamp in stamps if begin <= stamp.pts < end)
    keys = [i for i, stamp in enumerate(stamps) if stamp.idr]
    key = next((i for i in keys if begin <= stamps[i].pts < end), None)
    if key is None:
        raise NotExactError("no key frame that stands alone lies within the span")
    first = stamps[key].pts
    if any(stamp.pts < first for stamp in stamps[key:]) or any(stamp.pts > first for stamp in stamps[:key]):
        raise NotExactError("frames are shown across the key frame")
    head = [pts for pts in wanted if pts < first]
    zero = wanted[0]
    if wanted[0] - start > long_frame:
        on_display = max((stamp.pts for stamp in stamps[:key] if stamp.pts < begin), default=None)
        if on_display is not None:
            head.insert(0, on_display)
            zero = round(start)
    body = wanted[len([pts for pts in wanted if pts < first]) :]
    stop = _stop(stamps, key, body)
    copied = stop - key
    tail = body[copied:]
    last = max(stamps, key=lambda stamp: stamp.pts if stamp.pts < end else -1)
    return Plan(
        zero=zero,
        head=tuple(head),
        key=key,
        stop=stop,
        tail=tuple(tail),
        tail_key=max(i for i in keys if i < stop),
        # Display lags behind decoding, so the decoding times of the dropped packets fit the frames in their place.
        tail_dts=tuple(stamp.dts for stamp in stamps[stop : stop + len(tail)]),
        delay=stamps[key].pts - stamps[key].dts,
        end=last.pts + last.duration,
    )


def _check(stamps: Sequence[Stamp]) -> None:
    if not stamps or not stamps[0].idr:
        raise NotExactError("the first key frame does not stand alone")
    if any(later.dts <= earlier.dts for earlier, later in pairwise(stamps)):
        raise NotExactError("decoding times do not rise")
    if any(stamp.pts < stamp.dts for stamp in stamps) or len({stamp.pts for stamp in stamps}) < len(stamps):
        raise NotExactError("frames share a time, or are shown before they are decoded")


def _stop(stamps: Sequence[Stamp], key: int, body: Sequence[int]) -> int:
    """The end of the longest run of packets from ``key`` that is also the beginning of the clip in display order."""
    stop, latest = key + 1, stamps[key].pts
    for count, stamp in enumerate(stamps[key : key + len(body)], 1):
        latest = max(latest, stamp.pts)
        if latest == body[count - 1]:
            stop = key + count
    return stop
