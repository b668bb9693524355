"""The picture of a clip, exact to the frame, of which only what must be is encoded anew.

Whole groups of pictures are copied as they are. The frames before the first of them, and the few at the end whose
packets depend on frames past it, are decoded and encoded with parameter sets of their own: those get a number that the
source does not use and stand beside the source's in the clip's header, so that a decoder changes from one to the other
at the key frame, as the standard has it. Works for H.264, 8-bit 4:2:0, progressive; anything else raises
`NotExactError`, and so does a result that does not hold what it should.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from lvqa_ray.records import Span
from lvqa_ray.video import h264
from lvqa_ray.video.cut_copy import from_key_frame
from lvqa_ray.video.cut_encode import LONG_FRAME
from lvqa_ray.video.cut_plan import NotExactError, Stamp, plan_cut
from lvqa_ray.video.recode import Recoder
from lvqa_ray.video.source import EPSILON_S, Source, open_source

MAX_PACKETS = 500_000
"""A span of more packets than this (hours) is not worth the memory of its stamps."""

_TIME_TOLERANCE_S = 0.002


class ExactPicture:
    """Copies what can be copied of a span, and encodes the rest to H.264 that fits it.

    Args:
        source: The open video.
        output: Where to add the stream.
        span: Which frames: the same ones as `EncodedPicture` takes.
        crf: Quality of the encoded frames, 0 to 51.

    Attributes:
        start_s: When the first frame of the clip appears.
        end_s: When the last one has been shown.

    Raises:
        NotExactError: This cannot be done for this file or span; nothing is wrong with it.
        ValueError: The stream is not what it says; `av.FFmpegError` likewise.
    """

    def __init__(self, source: Source, output: OutputContainer, span: Span, *, crf: int) -> None:
        self._source = source
        self._span = span
        config, self._avcc = _config(source)
        self._used = h264.parameter_ids(h264.config_units(config))
        self._stamps = self._read_stamps()
        base = source.time_base
        self._plan = plan = plan_cut(
            self._stamps,
            start=float((source.start_s + span.start_s) / base),
            begin=float((source.start_s + span.start_s - EPSILON_S) / base),
            end=self._end_pts,
            long_frame=LONG_FRAME * source.period_s / float(base),
        )
        number = min(set(range(1, 32)) - self._used, default=0)
        if not number:
            raise NotExactError("no number is free for a parameter set")
        self._head = Recoder(source, plan.head, avcc=self._avcc, number=number, crf=crf)
        self._tail = Recoder(source, plan.tail, avcc=self._avcc, number=number, crf=crf)
        self._stream = output.add_stream_from_template(source.stream)
        if parameters := self._head.parameters or self._tail.parameters:
            self._stream.codec_context.extradata = h264.with_parameters(config, parameters)
        self.start_s = float(plan.zero * base) - source.start_s
        shown_s = float(plan.end * base) - source.start_s
        last = max(stamp.pts for stamp in self._stamps if stamp.pts < self._end_pts)
        if float(last * base) - source.start_s >= shown_s - EPSILON_S:  # no duration in the file
            shown_s += source.period_s
        self.end_s = min(shown_s, max(span.end_s, self.start_s + source.period_s))

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield packets ready to be muxed, in decoding order.

        Raises:
            NotExactError: The file holds something else than its stamps promised.
        """
        plan = self._plan
        head_pts = [max(0, pts - plan.zero) for pts in plan.head]
        head = iter(zip(head_pts, [pts - plan.delay for pts in head_pts], strict=True))
        tail = iter([(pts - plan.zero, dts - plan.zero) for pts, dts in zip(plan.tail, plan.tail_dts, strict=True)])
        for index, packet in enumerate(from_key_frame(self._source, self._span.start_s)):
            if index >= plan.stop and self._tail.is_fed:
                break
            if index >= len(self._stamps) or packet.pts != self._stamps[index].pts:
                raise NotExactError("the file reads differently the second time")
            if index < plan.key:
                yield from self._stamped(self._head.feed(packet), head)
                continue
            if index == plan.key:
                yield from self._stamped(self._head.finish(), head)
            if index >= plan.tail_key:
                yield from self._stamped(self._tail.feed(packet), tail)  # gives nothing before the last copied packet
            if index < plan.stop:
                stamp = self._stamps[index]
                yield from self._stamped(iter([packet]), iter([(stamp.pts - plan.zero, stamp.dts - plan.zero)]))
        yield from self._stamped(self._tail.finish(), tail)

    def check(self, path: Path) -> None:
        """Compare the written clip with what was planned, from its packets alone.

        Raises:
            NotExactError: It holds other frames, or shows them at other times.
        """
        plan, base = self._plan, self._source.time_base
        copied = [stamp.pts - plan.zero for stamp in self._stamps[plan.key : plan.stop]]
        wanted = [float(time * base) for time in sorted(plan.times + copied)]
        with open_source(str(path)) as clip:
            found = sorted(float((packet.pts or 0) * clip.time_base) for packet in clip.packets() if packet.size)
        if len(found) != len(wanted) or any(abs(a - b) > _TIME_TOLERANCE_S for a, b in zip(found, wanted, strict=True)):
            raise NotExactError("the clip does not hold the frames that it should")

    @property
    def _end_pts(self) -> float:
        return float((self._source.start_s + self._span.end_s - EPSILON_S) / self._source.time_base)

    def _read_stamps(self) -> list[Stamp]:
        stamps: list[Stamp] = []
        untimed: list[tuple[int, int, bool]] = []  # Matroska: the first after a seek lack their decoding times
        for packet in from_key_frame(self._source, self._span.start_s):
            if packet.pts is None or packet.is_corrupt or packet.is_discard:
                raise NotExactError("a packet without a time, cut short, or left out by an edit list")
            if packet.dts is not None and packet.dts >= self._end_pts and stamps:
                break
            found = list(h264.units(bytes(packet), avcc=self._avcc))  # also finds what is damaged beyond its lengths
            kinds = {h264.kind(unit) for unit in found}
            if not kinds & {h264.SLICE, h264.IDR_SLICE}:
                raise NotExactError("a packet without a picture")
            idr = packet.is_keyframe and h264.IDR_SLICE in kinds
            self._used |= h264.parameter_ids(found)
            if packet.dts is None:
                untimed.append((packet.pts, packet.duration or 0, idr))
                continue
            if untimed:
                step = max(1, round(self._source.period_s / self._source.time_base))
                stamps += _in_steps(untimed, packet.dts, step)
                untimed.clear()
            stamps.append(Stamp(packet.pts, packet.dts, packet.duration or 0, idr))
            if len(stamps) + len(untimed) > MAX_PACKETS:
                raise NotExactError("the span holds too many packets")
        if untimed:
            raise NotExactError("packets without decoding times")
        return stamps

    def _stamped(
        self, packets: Iterator[Packet[VideoStream]], times: Iterator[tuple[int, int]]
    ) -> Iterator[Packet[VideoStream]]:
        for packet in packets:
            packet.pts, packet.dts = next(times)
            packet.time_base = self._source.time_base
            packet.stream = self._stream
            yield packet


def _in_steps(untimed: Sequence[tuple[int, int, bool]], before: int, step: int) -> Iterator[Stamp]:
    """Stamps with decoding times at equal distances, the last one a step before a known one."""
    first = before - step * len(untimed)
    return (Stamp(pts, first + step * i, duration, idr) for i, (pts, duration, idr) in enumerate(untimed))


def _config(source: Source) -> tuple[bytes, bool]:
    context = source.stream.codec_context
    if source.codec != "h264" or context.pix_fmt not in ("yuv420p", "yuvj420p"):
        raise NotExactError(f"{source.codec} in {context.pix_fmt} is not copied in parts")
    config = context.extradata or b""
    return config, h264.in_avcc_form(config)
