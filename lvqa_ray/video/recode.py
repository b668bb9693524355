"""A few H.264 frames in a row, decoded and encoded anew so that they fit between copied ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import cast

import av
from av.codec.context import Flags
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.video import h264
from lvqa_ray.video.cut_plan import NotExactError
from lvqa_ray.video.source import Source

PRESET = "ultrafast"
"""At one crf x264's presets differ in size more than in quality, and these frames are few."""


class Recoder:
    """Encodes chosen frames with parameter sets of their own number.

    Args:
        source: The open video, whose decoder is used.
        frames: Times of the frames in the source's time base, in the order of display.
        avcc: Whether the source's packets hold lengths rather than start codes; the made ones do the same.
        number: Number of the parameter sets; the source must not use it.
        crf: Quality, 0 to 51.
    """

    def __init__(self, source: Source, frames: Sequence[int], *, avcc: bool, number: int, crf: int) -> None:
        self._frames = frames
        self._missing = set(frames)
        self._avcc = avcc
        self._decoder = source.stream.codec_context
        self._encoder = _encoder(source, number, crf) if frames else None
        self._decoded = self._encoded = 0
        self._started = False

    @property
    def parameters(self) -> list[bytes]:
        """The units that a decoder needs for what is made here; none where nothing is."""
        return list(h264.units(self._encoder.extradata or b"", avcc=False)) if self._encoder else []

    @property
    def is_fed(self) -> bool:
        """Whether the packets of all frames have been given."""
        return not self._missing

    def feed(self, packet: Packet[VideoStream]) -> Iterator[Packet[VideoStream]]:
        """Decode a packet if one of the frames needs it.

        Yields:
            What has been encoded by then, in the order of the frames and without times.

        Raises:
            NotExactError: A frame is not what the stream promised.
        """
        if self.is_fed:
            return
        if not self._started:
            self._decoder.flush_buffers()
            self._started = True
        if packet.pts not in self._missing:
            _, is_referred_to = h264.slice_header(bytes(packet), avcc=self._avcc)
            if not is_referred_to:
                return
        self._missing.discard(packet.pts or 0)
        for frame in self._decoder.decode(packet):
            yield from self._encode(frame)

    def finish(self) -> Iterator[Packet[VideoStream]]:
        """Yield the rest.

        Raises:
            NotExactError: Not every frame could be decoded.
        """
        if self._encoder is None:
            return
        for frame in self._decoder.decode(None):
            yield from self._encode(frame)
        yield from self._made(self._encoder.encode(None))
        if self._encoded != len(self._frames):
            raise NotExactError("a frame cannot be decoded")

    def _encode(self, frame: VideoFrame) -> Iterator[Packet[VideoStream]]:
        if self._encoder is None or self._decoded == len(self._frames) or frame.pts != self._frames[self._decoded]:
            return
        size = (frame.width, frame.height, frame.format.name)
        expected = (self._encoder.width, self._encoder.height, self._encoder.pix_fmt)
        if size != expected or frame.interlaced_frame or frame.is_corrupt:
            raise NotExactError("a frame is interlaced, damaged, or of another size or format")
        self._decoded += 1
        frame.pict_type = 0  # let the encoder choose its own key frames
        yield from self._made(self._encoder.encode(frame))

    def _made(self, packets: Sequence[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        for packet in packets:
            parts = [unit for unit in h264.units(bytes(packet), avcc=False) if h264.kind(unit) != h264.SEI]
            made = cast("Packet[VideoStream]", Packet(h264.joined(parts, avcc=self._avcc)))
            made.is_keyframe = packet.is_keyframe
            self._encoded += 1
            yield made


def _encoder(source: Source, number: int, crf: int) -> VideoCodecContext:
    given = source.stream.codec_context
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = given.width, given.height, given.pix_fmt
    context.time_base = source.time_base
    context.framerate = source.fps or Fraction(25)
    if given.sample_aspect_ratio:
        context.sample_aspect_ratio = given.sample_aspect_ratio
    context.colorspace, context.color_range = given.colorspace, given.color_range
    context.color_primaries, context.color_trc = given.color_primaries, given.color_trc
    context.thread_count = 1
    context.flags |= Flags.global_header
    # Without B-frames, frames come out in the order of display and their times need no second thought.
    context.options = {"crf": str(crf), "preset": PRESET, "x264-params": f"sps-id={number}:bframes=0"}
    context.open()
    return context
