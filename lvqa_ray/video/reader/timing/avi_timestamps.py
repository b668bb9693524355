"""Timestamp correction for AVI and ASF, which store decoding times (dts) and no presentation times (pts).

Each packet has a time slot, in decoding order. A decoder outputs a frame as soon as it is due, so the frame is shown in
the slot of the packet that the decoder received last. The demuxer's own guess is wrong with B-frames.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

_FORMATS = frozenset({"avi", "asf"})
_VOP = re.compile(b"\x00\x00\x01\xb6(.)", re.DOTALL)
_B_VOP = 2


class TimestampFixer:
    """Corrects the timestamps of a video stream's packets.

    Args:
        container: The demuxer.
        stream: The video stream.

    Attributes:
        is_start_unsaid: Whether the time of the first frame is known only after decoding it.
        settling_s: Timestamps may be wrong for this long after a seek, see `settled`.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self._stream = stream
        codec = stream.codec.canonical_name
        reordered = container.format.name in _FORMATS and stream.codec_context.has_b_frames
        self._untimed = reordered and codec in ("h264", "hevc")
        self._mpeg4 = reordered and codec == "mpeg4"
        self.is_start_unsaid = container.format.name == "avi" or self._untimed
        self.settling_s = 0.7 if container.format.name == "mpeg" else 0.0

    def settled(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Drop the packets right after a seek in an MPEG program stream.

        The stream needs a pts only every 0.7 s (ISO/IEC 13818-1, 2.7.4); after a seek FFmpeg may assign it to the rest
        of an earlier frame.
        """
        base = self._stream.time_base or 1
        until: int | None = None
        for packet in packets:
            if until is not None and packet.dts is not None and packet.dts >= until:
                yield packet
                yield from packets
                return  # a demuxer must not be called again after the end of the file
            if until is None and packet.dts is not None:
                until = packet.dts + round(self.settling_s / base)

    def timed(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Correct the pts of packets, or remove it so that the decoder sets it; other streams pass through."""
        if self._mpeg4:
            return self._mpeg4_timed(packets)
        if self._untimed:
            return map(self._without_time, packets)
        return iter(packets)

    def _without_time(self, packet: Packet[Any]) -> Packet[Any]:
        if packet.stream_index == self._stream.index:
            packet.pts = None
        return packet

    def _mpeg4_timed(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Unpack packed B-frames and set pts: of a B-frame at once, of others when the next reference frame comes."""
        unpack = BitStreamFilterContext("mpeg4_unpack_bframes", self._stream)
        waiting: list[Packet[Any]] = []
        for packet in packets:
            if packet.stream_index != self._stream.index:
                yield packet
                continue
            if not packet.size:  # the end
                yield from _last(waiting)
                waiting.clear()
                yield packet
                continue
            for part in unpack.filter(packet):
                vop = _VOP.search(bytes(part))
                if vop and vop[1][0] >> 6 == _B_VOP:
                    part.pts = part.dts
                elif waiting:
                    waiting[0].pts = part.dts
                    yield from waiting
                    waiting.clear()
                waiting.append(part)
        yield from _last(waiting)


def _last(waiting: list[Packet[Any]]) -> list[Packet[Any]]:
    if waiting:
        waiting[0].pts = (waiting[-1].dts or 0) + max(1, waiting[-1].duration or 0)
    return waiting
