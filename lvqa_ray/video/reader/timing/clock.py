"""Timestamp discontinuities: maps the timestamps of concatenated recordings to one continuous timeline.

Transport and program streams may be concatenated (``cat a.ts b.ts``), and recorders append to a file after an
interruption. The timestamps then restart or jump ahead. FFmpeg's demuxers pass them on unchanged, and cannot seek by
time in such a file. Therefore the video packets are read once, undecoded. At each jump a new part begins, whose first
frame follows the last frame of the part before; seeking then goes by byte offset. As in the `ffmpeg` program, a step
back is a jump, and so is a gap of more than ten seconds that is also unusually long for the file.
"""

from __future__ import annotations

import json
import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from hashlib import sha256
from itertools import islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from lvqa_ray.video.reader.container import is_elsewhere, open_container
from lvqa_ray.video.reader.container_formats import FLV, PS, TS

JUMPING = frozenset({TS, PS, FLV})
"""Containers whose timestamps may jump: transport streams, program streams, and live recordings in FLV."""

BACK_S = 0.1
"""A step back of more than this is a jump; smaller ones occur in files whose packets are not in decoding order."""
CLOCK_OVERLAP_S = 1.0
"""A key frame whose dts is not after that of the packet before it, by up to this, begins an overlapping part."""
AHEAD_S = 10.0
"""A step ahead of more than this is a jump, if it is also longer than `CLOCK_USUAL_STEPS` median steps."""
CLOCK_USUAL_STEPS = 20
CLOCK_FORMAT = 3
"""Version of the cached JSON."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """Timestamps of a video packet.

    Attributes:
        place: Byte offset of the packet.
        dts: Decoding time.
        pts: Presentation time.
        duration: Duration.
        is_key: Whether it is a key frame.
    """

    place: int
    dts: int
    pts: int
    duration: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class ClockPart:
    """Part of a file with continuous timestamps.

    Attributes:
        place: Byte offset of its first frame.
        after: Byte offset of the last frame before it.
        first: Timestamp of its first frame.
        shift: Offset to add to the timestamps of the part.
    """

    place: int
    after: int
    first: int
    shift: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Continuous timeline of a file whose timestamps jump.

    Attributes:
        parts: At least two parts, in file order.
        key_times: Times of the key frames on the timeline, ascending.
        key_places: Byte offsets of the key frames.
        is_configured: Whether each part begins with a decoder configuration that must be read, as in FLV.
    """

    parts: tuple[ClockPart, ...]
    key_times: tuple[int, ...]
    key_places: tuple[int, ...]
    is_configured: bool = False

    def on_time_line(self, packets: Iterator[Packet[Any]], place: int = 0) -> Iterator[Packet[Any]]:
        """Shift the timestamps of packets of all streams to the timeline.

        Args:
            packets: Packets in file order.
            place: Byte offset of the first one; a packet without an offset gets that of the last one that has one.
        """
        places = [part.place for part in self.parts]
        for packet in packets:
            place = packet.pos if packet.pos is not None and packet.pos >= 0 else place
            stamp = packet.dts if packet.dts is not None else packet.pts
            if stamp is not None:
                shift = self._part_of(max(0, bisect_right(places, place) - 1), place, stamp).shift
                packet.pts = None if packet.pts is None else packet.pts + shift
                packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet

    def place_before(self, time: int) -> int:
        """Byte offset of the last key frame that appears no later than a time."""
        place = self.key_places[max(0, bisect_right(self.key_times, time) - 1)]
        if not self.is_configured:
            return place
        part = max((part for part in self.parts if part.place <= place), key=lambda each: each.place)
        return part.after if part.after else place

    def _part_of(self, index: int, place: int, stamp: int) -> ClockPart:
        """Part of a packet; between the frames of two parts, the one whose timestamps fit better."""
        part, following = self.parts[index], next(islice(self.parts, index + 1, None), None)
        if following is None or place <= following.after:
            return part
        ended = following.first + following.shift - part.shift
        return following if abs(stamp - following.first) < abs(stamp - ended) else part


def clock_of(path: str, container: InputContainer, stream: VideoStream) -> Clock | None:
    """Timeline of a local file; ``None`` if its timestamps do not jump.

    The file is demuxed once per machine; the result is cached in the folder for temporary files.
    """
    if container.format.name not in JUMPING or is_elsewhere():
        return None
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return _clock_of(path, status.st_size, status.st_mtime_ns, stream.index, container.format.name)


@lru_cache(maxsize=32)
def _clock_of(path: str, size: int, mtime_ns: int, index: int, format_name: str) -> Clock | None:
    key = f"{CLOCK_FORMAT} {os.path.realpath(path)} {size} {mtime_ns} {index}"
    cached = _folder() / f"{sha256(key.encode(errors='surrogateescape')).hexdigest()}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _from_json(json.loads(cached.read_text(encoding="ascii")))
    packets, base = _read(path, index)
    clock = build(packets, ticks_per_s=1 / base)
    clock = replace(clock, is_configured=format_name == FLV) if clock else None
    with suppress(OSError):
        cached.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = cached.with_suffix(f".{uuid4().hex}")
        temporary.write_text(json.dumps(asdict(clock) if clock else None), encoding="ascii")
        temporary.replace(cached)
    return clock


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"lvqa-clocks-{os.getuid()}"


def _from_json(data: Mapping[str, Any] | None) -> Clock | None:
    if data is None:
        return None
    parts = tuple(ClockPart(**part) for part in data["parts"])
    return Clock(parts, tuple(data["key_times"]), tuple(data["key_places"]), bool(data["is_configured"]))


def _read(path: str, index: int) -> tuple[list[Stamped], float]:
    packets: list[Stamped] = []
    with open_container(path) as container:
        stream = container.streams[index]
        for other in container.streams:
            if other.index != index:
                other.discard = Discard.all
        place = 0
        with suppress(av.FFmpegError):  # the file is used as far as it can be read
            for packet in container.demux(stream):
                place = packet.pos if packet.pos is not None and packet.pos >= 0 else place
                pts = packet.pts if packet.pts is not None else packet.dts
                if packet.size and packet.dts is not None and pts is not None:
                    packets.append(Stamped(place, packet.dts, pts, packet.duration or 0, packet.is_keyframe))
        return packets, float(stream.time_base or 1)


def build(packets: Sequence[Stamped], *, ticks_per_s: float) -> Clock | None:
    """Build the timeline from the packets of a video stream.

    Args:
        packets: All packets, in file order.
        ticks_per_s: Timestamp units per second.

    Returns:
        The timeline; ``None`` if timestamps do not jump.
    """
    starts = _jumps(packets, ticks_per_s)
    if not starts:
        return None
    parts = [ClockPart(0, 0, packets[0].dts, 0)]
    keys = [(packet.pts, packet.place) for packet in packets[: starts[0]] if packet.is_key]
    end = max(packet.pts + packet.duration for packet in packets[: starts[0]])
    for start, stop in zip(starts, [*starts[1:], len(packets)], strict=True):
        run = packets[start:stop]
        first = next((packet for packet in run if packet.is_key), run[0])
        # Decoding times must rise too: a part with a longer reordering delay begins a little later.
        shift = max(end - first.pts, packets[start - 1].dts + parts[-1].shift + 1 - run[0].dts)
        parts.append(ClockPart(run[0].place, packets[start - 1].place, run[0].dts, shift))
        keys += [(packet.pts + shift, packet.place) for packet in run if packet.is_key]
        end = max(end, *(packet.pts + packet.duration + shift for packet in run))
    keys.sort()
    return Clock(tuple(parts), tuple(time for time, _ in keys), tuple(place for _, place in keys))


def _jumps(packets: Sequence[Stamped], ticks_per_s: float) -> list[int]:
    """Indices of the packets at which a new part begins."""
    steps = [later.dts - earlier.dts for earlier, later in pairwise(packets)]
    usual = median(abs(step) for step in steps) if steps else 0
    back, ahead = -BACK_S * ticks_per_s, max(AHEAD_S * ticks_per_s, CLOCK_USUAL_STEPS * usual)
    starts: list[int] = []
    last = 0  # the last packet with a plausible timestamp
    for index in range(1, len(packets)):
        step = packets[index].dts - packets[last].dts
        if packets[index].is_key and -CLOCK_OVERLAP_S * ticks_per_s <= step <= 0:
            starts.append(index)
            last = index
            continue
        if back <= step <= ahead:
            last = index
            continue
        following = next(islice(packets, index + 1, None), None)
        if following is None or back <= following.dts - packets[last].dts <= ahead:
            continue  # a single wrong timestamp
        starts.append(index)
        last = index
    return starts
