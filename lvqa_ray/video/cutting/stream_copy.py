"""Stream copy: a clip's video packets, copied from a key frame on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TypeVar

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Span
from lvqa_ray.video.cutting.reencode import SPARSE_AFTER_S
from lvqa_ray.video.reader.video_reader import STEPS_BACK_S, VideoReader, no_frames
from lvqa_ray.video.spans import EPSILON_S

S = TypeVar("S", VideoStream, AudioStream)


class CopiedPicture:
    """Video stream of a copied clip, from the key frame at or before the start of the span.

    Args:
        source: The open video.
        output: Container to which the stream is added.
        span: The wanted span.

    Attributes:
        start_s: When the key frame appears: the true start (s).
        end_s: When the last frame leaves the display (s); final after `packets` is exhausted.

    Raises:
        VideoError: There is no key frame, or MP4 does not support the codec.
    """

    def __init__(self, source: VideoReader, output: OutputContainer, span: Span) -> None:
        if source.codec not in output.supported_codecs:
            raise _not_copied(source, f"holds {source.codec}, which does not go into an MP4")
        self._source = source
        self._span = span
        self._packets = from_key_frame(source, span.start_s)
        first = next(self._packets, None)
        if first is None:
            raise no_frames(f"{source.path} after {span.start_s:.3f} s")
        second = next(self._packets, None)
        self._packets = chain([second] if second else [], self._packets)
        self._first = first = self._opened_by(first, second)
        self._start_pts = first.pts or 0
        # Frames that an edit list drops before the first one are dropped by the clip's own edit list.
        self._zero_pts = max(self._start_pts, self._start_pts - source.offset_of(first))
        self.start_s = self.end_s = max(0.0, source.time_of(first))
        self._stream = output.add_stream_from_template(source.stream, opaque=True)  # opaque: no encoder needed
        if aspect := source.stream.sample_aspect_ratio:  # the template has that of the codec only
            self._stream.codec_context.sample_aspect_ratio = aspect

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield packets ready to be muxed.

        Raises:
            VideoError: The file has no presentation times.
        """
        end = float((self._source.start_s + self._span.end_s - EPSILON_S) / self._source.time_base)
        # A packet past the end is copied only if a later packet is shown before the end, and so may depend on it. Then
        # all frames shown before it are copied too, or the clip would have a gap.
        waiting: list[Packet[VideoStream]] = []
        last: Packet[VideoStream] | None = None
        for packet in self._timed():
            pts, dts = packet.pts or 0, packet.dts or 0
            if dts >= end and packet is not self._first:
                break
            waiting.append(packet)
            if pts < end or packet is self._first:
                end = max(end, *(each.pts or 0 for each in waiting))
                for each in waiting:
                    if last is not None:
                        yield self._shifted(last)
                    last = each
                waiting.clear()
        else:  # the end of the file, whose last frame may stay on display
            if last is not None:
                shown_s = self._source.final_end_of(last) - self._source.time_of(last)
                last.duration = max(last.duration or 0, round(shown_s / self._source.time_base))
        if last is not None:
            yield self._shifted(last)

    def _timed(self) -> Iterator[Packet[VideoStream]]:
        """Packets from the key frame on, without leading frames, all with decoding times."""
        untimed: list[Packet[VideoStream]] = []  # Matroska: the first packets after a seek have no dts
        for packet in chain([self._first], self._packets):
            if packet.is_corrupt and packet is not self._first:  # truncated
                continue
            if packet.pts is None:
                raise _not_copied(self._source, "does not say when its frames are shown")
            if changes_decoder(self._source, packet):
                raise _not_copied(self._source, "changes its decoder configuration midway")
            if packet.pts < self._start_pts:  # a leading frame, which refers to frames before the key frame
                continue
            if packet.dts is None:
                untimed.append(packet)
                continue
            yield from self._before(packet.dts, untimed)
            untimed.clear()
            yield packet
        if untimed:
            yield from self._before(self._start_pts, untimed)

    def _before(self, dts: int, packets: Sequence[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        period = max(1, round(self._source.period_s / self._source.time_base))
        for left, packet in zip(range(len(packets), 0, -1), packets, strict=True):
            packet.dts = dts - period * left
            yield packet

    def _opened_by(self, first: Packet[VideoStream], second: Packet[VideoStream] | None) -> Packet[VideoStream]:
        """Key frame of the clip; one that is still on display at the start of the span is moved to that start."""
        late_s = self._span.start_s - self._source.time_of(first)
        start = round((self._source.start_s + self._span.start_s) / self._source.time_base)
        is_only = second is None or (second.dts or 0) > start
        if first.pts is None or late_s <= SPARSE_AFTER_S or not is_only or self._source.time_base > SPARSE_AFTER_S:
            return first
        late = start - first.pts
        if second is None:
            first.duration = round((self._source.final_end_of(first) - self._source.time_of(first)) / first.time_base)
        first.pts = start
        first.dts = None if first.dts is None else first.dts + late
        first.duration = max(1, (first.duration or 0) - late)
        return first

    def _shifted(self, packet: Packet[VideoStream]) -> Packet[VideoStream]:
        # The last frame leaves the display at the end of the span, or a clip of still images would be too long.
        most_s = max(self._span.end_s - self._source.time_of(packet), min(self._source.period_s, SPARSE_AFTER_S))
        most = math.ceil(most_s / self._source.time_base)
        if (packet.duration or 0) > most:
            packet.duration = most
        self.end_s = max(self.end_s, self._source.end_of_packet(packet))
        return moved(packet, -self._zero_pts, self._stream)


def _not_copied(source: VideoReader, why: str) -> VideoError:
    return VideoError(
        VideoFault.UNREADABLE, f'{source.path} {why}, so that it cannot be copied; use "exact" or "encode" for it.'
    )


def changes_decoder(source: VideoReader, packet: Packet[VideoStream]) -> bool:
    """Whether a packet brings a new decoder configuration, as in concatenated FLV files."""
    if not source.is_joined or not packet.has_sidedata("new_extradata"):
        return False
    return bytes(packet.get_sidedata("new_extradata")) != source.stream.codec_context.extradata


def from_key_frame(source: VideoReader, time_s: float) -> Iterator[Packet[VideoStream]]:
    """Yield packets from the last key frame that appears no later than ``time_s``, or from the first key frame."""
    for step_s in STEPS_BACK_S:
        if time_s <= step_s:
            source.rewind()
        else:
            source.seek(time_s - step_s)
        packets = (packet for packet in source.packets() if packet.size)
        run = _last_run(source, packets, time_s)
        if run and (time_s <= step_s or source.time_of(run[0]) <= time_s + EPSILON_S):
            yield from run
            yield from packets
            return


def _last_run(source: VideoReader, packets: Iterator[Packet[VideoStream]], time_s: float) -> list[Packet[VideoStream]]:
    """Read packets up to ``time_s``; returns those from the last key frame on, since a seek may end before it."""
    run: list[Packet[VideoStream]] = []
    for packet in packets:
        if packet.is_keyframe and (not run or source.time_of(packet) <= time_s + EPSILON_S):
            run.clear()
        elif not run:
            continue
        run.append(packet)
        stamp = packet.pts if packet.dts is None else packet.dts
        if stamp is None or float(stamp * source.time_base) - source.start_s > time_s:
            break
    return run


def moved(packet: Packet[S], by: int, stream: S) -> Packet[S]:
    """Assign a packet to a stream, and shift its timestamps by ``by`` units of its time base."""
    if packet.pts is not None:
        packet.pts += by
    if packet.dts is not None:
        packet.dts += by
    packet.stream = stream
    return packet
