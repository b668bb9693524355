"""Detection of damage that a demuxer skips silently: unexpected bytes between two packets.

The demuxers of Matroska, MPEG transport and MPEG program streams resynchronise after damage, which leaves only a gap
between two packets. An undamaged screen recording has such gaps too, so the bytes must be checked.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from av.packet import Packet
from av.video.stream import VideoStream

from lvqa_ray.video.reader.container import is_elsewhere
from lvqa_ray.video.reader.container_formats import MATROSKA, PS, TS

GAP_DEMUXERS = frozenset({MATROSKA, TS, PS})

LEAST_GAP_S, LEAST_GAP_PERIODS = 0.2, 6
"""A gap is checked if it is longer than both."""

_TS_SIZES = (188, 192, 204)
_CLUSTER, _GROUP, _BLOCKS = b"\x1f\x43\xb6\x75", b"\xa0", frozenset({b"\xa1", b"\xa3"})
_IN_CLUSTERS = "e7 a7 ab 9b fb a1 a3 75a2 75a1 a4 ec bf fa fd 8e af 5854"
_AFTER_CLUSTERS = "1c53bb6b 1254c367 114d9b74 1941a469 1043a770 1549a966 1654ae6b"
_BETWEEN = frozenset(map(bytes.fromhex, f"{_IN_CLUSTERS} {_AFTER_CLUSTERS}".split()))
"""Matroska elements that may occur between two blocks."""
_BLOCK_HEAD = 4
"""Bytes before the data of a block: track, time, flags."""
_PACK_START = re.compile(rb"\x00\x00\x01[\xb9-\xff]")
_PADDING = 4096
"""Maximum number of zero bytes between two packs."""


def is_gap(before_s: float, after_s: float, period_s: float) -> bool:
    """Whether two packets are so far apart in time that the bytes between them must be checked."""
    return after_s - before_s > max(LEAST_GAP_S, LEAST_GAP_PERIODS * period_s)


def is_whole(path: str, format_name: str, before: Packet[VideoStream], after: Packet[VideoStream]) -> bool:
    """Whether nothing is missing between two packets of a stream in a local file; ``True`` also if unknown."""
    start, end = before.pos, after.pos
    if start is None or end is None or not 0 <= start < end or is_elsewhere():
        return True
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if format_name == TS:
            return _ts_is_whole(data, start, end, before.stream.id)
        if format_name == PS:
            return _ps_is_whole(data, start, end)
        # With header stripping, packets are longer than their blocks.
        expected = start + _BLOCK_HEAD + before.size
        return any(_mkv_is_whole(data, at, end) for at in (expected, *range(expected - 64, expected + 5)))


def _ts_is_whole(data: mmap.mmap, start: int, end: int, pid: int) -> bool:
    """Whether all packets begin with the sync byte, and the continuity counter of a stream is unbroken."""
    for size in _TS_SIZES:
        first = next((at for at in range(start, start + size) if data[at : at + 4 * size : size] == b"G" * 4), None)
        if first is not None:
            break
    else:
        return False
    counter: int | None = None
    for at in range(first, end, size):
        sync, high, low, flags = data[at : at + 4]
        if sync != ord("G") or high & 0x80:
            return False
        if (high & 0x1F) << 8 | low != pid or not flags & 0x10:
            continue
        is_marked = flags & 0x20 and data[at + 4] and data[at + 5] & 0x80
        if counter is not None and not is_marked and flags & 0xF not in (counter, (counter + 1) & 0xF):
            return False
        counter = flags & 0xF
    return True


def _ps_is_whole(data: mmap.mmap, start: int, end: int) -> bool:
    """Whether packs and packets are contiguous."""
    found = _PACK_START.search(data, max(0, start - 4), end)
    at = found.start() if found else end
    while at < end:
        while data[at : at + 3] != b"\0\0\1":
            filled = _PACK_START.search(data, at, min(end + 4, at + _PADDING))
            if filled is None or data[at : filled.start()].strip(b"\0"):
                return False
            at = filled.start()
        kind = data[at + 3]
        if kind < 0xB9:
            return False
        if kind == 0xBA:
            at += 12 if data[at + 4] >> 4 == 2 else 14 + (data[at + 13] & 7)
        elif kind == 0xB9:
            at += 4
        else:
            at += 6 + int.from_bytes(data[at + 4 : at + 6], "big")
    return True


def _mkv_is_whole(data: mmap.mmap, start: int, end: int) -> bool:
    """Whether elements lead from one block to the data of another."""
    return any(body == end for body in _mkv_blocks(data, start, end))


def _mkv_blocks(data: mmap.mmap, at: int, end: int) -> Iterator[int]:
    while at < end:
        kind = _vint(data, at)
        length = _vint(data, at + len(kind))
        if not kind or not length:
            return
        at += len(kind) + len(length)
        if kind in _BLOCKS:
            yield at
        if kind in (_CLUSTER, _GROUP):
            continue
        if kind not in _BETWEEN:
            return
        at += int.from_bytes(length, "big") & ~(1 << 7 * len(length))


def _vint(data: mmap.mmap, at: int) -> bytes:
    """Bytes of a variable-length integer (RFC 8794, section 4); empty if there is none."""
    first = data[at : at + 1]
    return data[at : at + 9 - first[0].bit_length()] if first and first[0] else b""
