"""Streams that say when a packet is decoded, and not when its picture is shown: those of AVI and ASF.

Each packet has a slot of time there, in the order of decoding. A decoder lets go of a picture as soon as its turn to be
shown has come, so the picture is shown in the slot of the packet that the decoder was given last. What the demuxer says
of it is a guess that is wrong with B-frames.
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
    """What is known of the times of a stream of slots.

    Args:
        container: The demuxer.
        stream: Its picture.

    Attributes:
        is_start_unsaid: Whether only decoding shows when the first picture appears.
        settling_s: How long after a seek times may be wrong, see `settled`.
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
        """Pass over those that come right after a seek in an MPEG program stream.

        It need not say more often than every 0.7 s when a picture is shown (ISO/IEC 13818-1, 2.7.4), which FFmpeg takes
        for the time of the rest of a picture that it has come upon.
        """
        base = self._stream.time_base or 1
        until: int | None = None
        for packet in packets:
            if until is not None and packet.dts is not None and packet.dts >= until:
                yield packet
                yield from packets
                return  # and not at the end of the file, behind which a demuxer must not be asked again
            if until is None and packet.dts is not None:
                until = packet.dts + round(self.settling_s / base)

    def timed(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """Take the wrong times from packets, or put the right ones in their place.

        A packet without a time leaves it to the decoder, see above. Packets of other streams pass through.
        """
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
        """Part what an encoder has packed together, and time it: a B-frame at once, others when the next one comes."""
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
