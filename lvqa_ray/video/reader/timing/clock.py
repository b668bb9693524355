"""Clocks that jump: time stamps of joined recordings, brought onto one time line from 0 to the end.

Transport and program streams may be joined byte by byte (``cat a.ts b.ts``), and recorders append to a file after an
interruption. The time stamps then begin anew, or jump ahead. FFmpeg's demuxers hand them on as they are, and search
such a file for a time in vain. So the packets of the picture are read once, undecoded; where the clock jumps, a new
part begins, whose first picture follows upon the last one of the part before. Seeking goes by bytes then. As in the
`ffmpeg` program, a step back is a jump, and so is a gap of more than ten seconds that is out of all proportion.
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
"""Containers whose time stamps may jump: transport streams, program streams, and live recordings in FLV."""

BACK_S = 0.1
"""A step back of more than this is a jump: the frames between are decoded out of order in some files."""
CLOCK_OVERLAP_S = 1.0
"""A key frame that is decoded no later than the frame before it, by up to this, begins a part that overlaps."""
AHEAD_S = 10.0
"""A step ahead of more than this is a jump, if it is also longer than so many usual ones."""
CLOCK_USUAL_STEPS = 20
CLOCK_FORMAT = 3


@dataclass(frozen=True, slots=True)
class Stamped:
    """What the packets of the picture say, in the order of the file.

    Attributes:
        place: The byte at which the packet begins.
        dts: When it is decoded.
        pts: When it is shown.
        duration: How long it is shown.
        is_key: Whether it is a key frame.
    """

    place: int
    dts: int
    pts: int
    duration: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class ClockPart:
    """A stretch of a file in which the clock runs on.

    Attributes:
        place: The byte at which its first picture begins.
        after: The byte at which the last picture before it begins.
        first: The time stamp of its first picture.
        shift: What to add to time stamps of the part.
    """

    place: int
    after: int
    first: int
    shift: int


@dataclass(frozen=True, slots=True)
class Clock:
    """The time line of a file whose clock jumps.

    Attributes:
        parts: At least two, in the order of the file.
        key_times: When the key frames appear on the time line, rising.
        key_places: At which bytes they begin.
        is_configured: Whether the head of each part says how it is to be decoded, as in FLV: it must be read.
    """

    parts: tuple[ClockPart, ...]
    key_times: tuple[int, ...]
    key_places: tuple[int, ...]
    is_configured: bool = False

    def on_time_line(self, packets: Iterator[Packet[Any]], place: int = 0) -> Iterator[Packet[Any]]:
        """Shift the time stamps of packets of all streams.

        Args:
            packets: In the order of the file.
            place: The byte at which they begin; those that do not say where they are follow upon the last that did.
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
        """The byte at which the key frame begins that appears at a time, or one before it."""
        place = self.key_places[max(0, bisect_right(self.key_times, time) - 1)]
        if not self.is_configured:
            return place
        part = max((part for part in self.parts if part.place <= place), key=lambda each: each.place)
        return part.after if part.after else place

    def _part_of(self, index: int, place: int, stamp: int) -> ClockPart:
        """The part of a packet; between the pictures of two parts, that whose clock it fits."""
        part, following = self.parts[index], next(islice(self.parts, index + 1, None), None)
        if following is None or place <= following.after:
            return part
        ended = following.first + following.shift - part.shift
        return following if abs(stamp - following.first) < abs(stamp - ended) else part


def clock_of(path: str, container: InputContainer, stream: VideoStream) -> Clock | None:
    """The time line of a local file, or ``None`` where its clock runs through.

    A file is read once for it, undecoded, on each machine: what was found stands in a folder for temporary files.
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
    what = f"{CLOCK_FORMAT} {os.path.realpath(path)} {size} {mtime_ns} {index}"
    note = _folder() / f"{sha256(what.encode(errors='surrogateescape')).hexdigest()}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _from_json(json.loads(note.read_text(encoding="ascii")))
    packets, base = _read(path, index)
    clock = build(packets, ticks_per_s=1 / base)
    clock = replace(clock, is_configured=format_name == FLV) if clock else None
    with suppress(OSError):
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = note.with_suffix(f".{uuid4().hex}")
        written.write_text(json.dumps(asdict(clock) if clock else None), encoding="ascii")
        written.replace(note)
    return clock


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"lvqa-clocks-{os.getuid()}"


def _from_json(said: Mapping[str, Any] | None) -> Clock | None:
    if said is None:
        return None
    parts = tuple(ClockPart(**part) for part in said["parts"])
    return Clock(parts, tuple(said["key_times"]), tuple(said["key_places"]), bool(said["is_configured"]))


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
    """Find where a clock jumps, and how to put its parts one after the other.

    Args:
        packets: Those of the picture.
        ticks_per_s: Units of their time stamps in a second.

    Returns:
        The time line, or ``None`` where the clock runs through.
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
        # A part whose frames are decoded further ahead of display follows a little later, or it would begin too early.
        shift = max(end - first.pts, packets[start - 1].dts + parts[-1].shift + 1 - run[0].dts)
        parts.append(ClockPart(run[0].place, packets[start - 1].place, run[0].dts, shift))
        keys += [(packet.pts + shift, packet.place) for packet in run if packet.is_key]
        end = max(end, *(packet.pts + packet.duration + shift for packet in run))
    keys.sort()
    return Clock(tuple(parts), tuple(time for time, _ in keys), tuple(place for _, place in keys))


def _jumps(packets: Sequence[Stamped], ticks_per_s: float) -> list[int]:
    """Indices of the packets with which a new part begins."""
    steps = [later.dts - earlier.dts for earlier, later in pairwise(packets)]
    usual = median(abs(step) for step in steps) if steps else 0
    back, ahead = -BACK_S * ticks_per_s, max(AHEAD_S * ticks_per_s, CLOCK_USUAL_STEPS * usual)
    starts: list[int] = []
    last = 0  # the last packet that the clock led to
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
            continue  # one wrong stamp among right ones
        starts.append(index)
        last = index
    return starts
