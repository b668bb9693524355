"""Smart cut: a frame-accurate clip that copies whole GOPs and re-encodes only the frames at its edges.

Re-encoded are the frames before the first whole GOP, and the few at the end whose packets depend on frames past the end
(`smart_cut_edges`). Works for progressive H.264 in 8-bit 4:2:0; anything else raises `NotExactError`, and so does a
clip that fails the check after writing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from lvqa_ray.records import Span
from lvqa_ray.video.cutting import h264_nal
from lvqa_ray.video.cutting.reencode import HELD_S, longest_wait_s
from lvqa_ray.video.cutting.smart_cut_edges import EdgeEncoder, EdgeEncoderConfig
from lvqa_ray.video.cutting.smart_cut_plan import NotExactError, SmartCutPlan, Stamp, plan_cut
from lvqa_ray.video.cutting.stream_copy import changes_decoder, from_key_frame
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.spans import EPSILON_S

MAX_PACKETS = 500_000
"""Limit on the packets of a span (hours of video), to bound the memory for their timestamps."""

TIME_TOLERANCE_S = 0.002
"""Containers round times, Matroska to a millisecond."""


class ExactPicture:
    """Video stream of a smart-cut clip: copies what can be copied, and encodes the rest to matching H.264.

    Reads the packets of the span twice: first their timestamps, for the plan, then their data.

    Args:
        source: The open video.
        output: Container to which the stream is added.
        span: Span of the clip; holds the same frames as `EncodedPicture`.
        crf: Quality of the encoded frames, 0 to 51.

    Attributes:
        start_s: When the first frame of the clip appears (s).
        end_s: When its last frame leaves the display (s).

    Raises:
        NotExactError: A smart cut is impossible for this file or span.
        UnitError: The stream is not valid H.264.
    """

    def __init__(self, source: VideoReader, output: OutputContainer, span: Span, *, crf: int) -> None:
        self._source = source
        self._span = span
        self._style = EdgeEncoderConfig(source, crf=crf)
        self._stamps = self._read_stamps()
        self._plan = self._make_plan()
        self.start_s = self._time_s(self._plan.zero)
        self.end_s = min(self._time_s(self._plan.end), max(span.end_s, self.start_s + source.period_s))
        self._stream = output.add_stream_from_template(source.stream)
        if aspect := source.stream.sample_aspect_ratio:  # the template has that of the codec only
            self._stream.codec_context.sample_aspect_ratio = aspect
        if self._plan.head or self._plan.tail:
            self._stream.codec_context.extradata = self._style.header()

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield packets ready to be muxed, in decoding order."""
        plan = self._plan
        head = EdgeEncoder(self._source, self._style, plan.head, self._stream)
        tail = EdgeEncoder(self._source, self._style, plan.tail, self._stream)
        for index, packet in enumerate(from_key_frame(self._source, self._span.start_s)):
            if index >= plan.stop and tail.is_fed:
                break
            if index >= len(self._stamps) or packet.pts != self._stamps[index].pts:
                raise NotExactError("the file reads differently the second time")
            if index < plan.key:
                yield from head.feed(packet)
                continue
            if index == plan.key:
                yield from head.finish()
            if index >= plan.tail_key:
                # The decoder needs the packets before the tail too. No tail packet comes out before the last copied
                # packet, because all frames of the tail are decoded and shown after it.
                yield from tail.feed(packet)
            if index < plan.stop:
                yield self._copied(packet, self._stamps[index])
        yield from tail.finish()

    def check(self, path: Path) -> None:
        """Compare the timestamps of the written clip's packets with the plan.

        Raises:
            NotExactError: The clip has other frames, or other times.
        """
        plan, base = self._plan, self._source.time_base
        encoded = [slot.pts for slot in plan.head + plan.tail]
        copied = [stamp.pts - plan.zero for stamp in self._stamps[plan.key : plan.stop]]
        wanted = [float(time * base) for time in sorted(encoded + copied)]
        with open_video(str(path)) as clip:
            found = sorted(float((packet.pts or 0) * clip.time_base) for packet in clip.packets() if packet.size)
        if len(found) != len(wanted) or any(abs(a - b) > TIME_TOLERANCE_S for a, b in zip(found, wanted, strict=True)):
            raise NotExactError("the clip does not hold the frames that it should")

    def _read_stamps(self) -> list[Stamp]:
        """Timestamps of the packets from the key frame before the span to the last one decoded before its end."""
        period = max(1, round(self._source.period_s / self._source.time_base))
        end = self._stamp_of(self._span.end_s - EPSILON_S)
        stamps: list[Stamp] = []
        untimed: list[Stamp] = []  # Matroska: the first packets after a seek have no dts
        for packet in from_key_frame(self._source, self._span.start_s):
            if packet.pts is None or packet.is_corrupt or packet.is_discard:
                raise NotExactError("a packet without a time, cut short, or left out by an edit list")
            if changes_decoder(self._source, packet):
                raise NotExactError("the decoder configuration changes midway")
            if packet.dts is not None and packet.dts >= end and stamps:
                break
            stamp = Stamp(packet.pts, packet.dts or 0, packet.duration or period, self._is_idr(packet))
            if packet.dts is None:
                untimed.append(stamp)
                continue
            first = stamp.dts - period * len(untimed)
            stamps += [Stamp(s.pts, first + period * i, s.duration, s.idr) for i, s in enumerate(untimed)]
            untimed.clear()
            stamps.append(stamp)
            if len(stamps) > MAX_PACKETS:
                raise NotExactError("the span holds too many packets")
        if untimed:
            raise NotExactError("packets without decoding times")
        return stamps

    def _is_idr(self, packet: Packet[VideoStream]) -> bool:
        """Whether a packet is an IDR frame; raises for packets with damaged NAL unit lengths."""
        units = list(h264_nal.units(bytes(packet), avcc=self._style.avcc))
        kinds = {h264_nal.kind(unit) for unit in units}
        if not kinds & {h264_nal.SLICE, h264_nal.IDR_SLICE}:
            raise NotExactError("a packet without a frame")
        self._style.take_note(units)
        return packet.is_keyframe and h264_nal.IDR_SLICE in kinds

    def _make_plan(self) -> SmartCutPlan:
        base = float(self._source.time_base)
        plan = plan_cut(
            self._stamps,
            start=self._stamp_of(self._span.start_s),
            end=self._stamp_of(self._span.end_s),
            slack=EPSILON_S / base,
            long_frame=longest_wait_s(self._source) / base,
        )
        shown = [slot.frame for slot in plan.tail] or [stamp.pts for stamp in self._stamps[plan.key : plan.stop]]
        if self._span.end_s - self._time_s(max(shown)) > HELD_S:
            raise NotExactError("the last frame stays on display for long, which packets do not state reliably")
        return plan

    def _copied(self, packet: Packet[VideoStream], stamp: Stamp) -> Packet[VideoStream]:
        packet.pts, packet.dts = stamp.pts - self._plan.zero, stamp.dts - self._plan.zero
        packet.duration = stamp.duration
        packet.stream = self._stream
        return packet

    def _stamp_of(self, time_s: float) -> float:
        return float((self._source.start_s + time_s) / self._source.time_base)

    def _time_s(self, stamp: int) -> float:
        return float(stamp * self._source.time_base) - self._source.start_s
