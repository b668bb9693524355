"""Edge encoder of a smart cut: encodes the frames at both ends so that they match the copied packets between them.

The encoded frames have their own parameter sets, with an id that the source does not use, in the clip's header beside
those of the source. As the standard defines, a decoder changes between the sets at a key frame. x264's fastest preset
stays within the Constrained Baseline profile, which every decoder of the source's profile supports.
"""

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

from lvqa_ray.video.cutting import h264_nal
from lvqa_ray.video.cutting.smart_cut_plan import NotExactError, PacketSlot
from lvqa_ray.video.reader.video_reader import VideoReader

PRESET = "ultrafast"
PIXELS = ("yuv420p", "yuvj420p")


class EdgeEncoderConfig:
    """Encoder settings that match the packets of a source.

    Args:
        source: The open video.
        crf: Quality, 0 to 51.

    Attributes:
        avcc: Whether the source's units are length-prefixed, see `h264_nal`.

    Raises:
        NotExactError: The source is not H.264 in 8-bit 4:2:0.
        UnitError: Its decoder configuration cannot be read.
    """

    def __init__(self, source: VideoReader, *, crf: int) -> None:
        self._source = source
        self._crf = crf
        context = source.stream.codec_context
        if source.codec != "h264" or context.pix_fmt not in PIXELS:
            raise NotExactError(f"{source.codec} in {context.pix_fmt} is not copied in parts")
        self._config = context.extradata or b""
        self.avcc = h264_nal.in_avcc_form(self._config)
        self._parameters = h264_nal.numbered(h264_nal.config_units(self._config))

    def take_note(self, units: Sequence[bytes]) -> None:
        """Check the parameter sets in a packet that may be copied.

        Raises:
            NotExactError: It redefines a parameter set of the header, which the clip's header states only once.
        """
        for name, unit in h264_nal.numbered(units).items():
            if self._parameters.setdefault(name, unit) != unit:
                raise NotExactError("the parameter sets of the stream change midway")

    def header(self) -> bytes:
        """Decoder configuration for both copied and encoded packets."""
        return h264_nal.with_parameters(self._config, list(h264_nal.units(self.encoder().extradata or b"", avcc=False)))

    def encoder(self) -> VideoCodecContext:
        """Open an encoder.

        Raises:
            NotExactError: The source uses all ids of parameter sets.
        """
        number = min(set(range(32)) - {number for _, number in self._parameters}, default=None)
        if number is None:
            raise NotExactError("no id is free for a parameter set")
        given = self._source.stream.codec_context
        context = av.CodecContext.create("libx264", "w")
        context.width, context.height, context.pix_fmt = given.width, given.height, given.pix_fmt
        context.time_base = self._source.time_base
        context.framerate = self._source.fps or Fraction(25)
        if given.sample_aspect_ratio:
            context.sample_aspect_ratio = given.sample_aspect_ratio
        context.colorspace, context.color_range = given.colorspace, given.color_range
        context.color_primaries, context.color_trc = given.color_primaries, given.color_trc
        context.thread_count = 1
        context.flags |= Flags.global_header
        # Without B-frames, decoding order is display order.
        x264 = f"sps-id={number}:bframes=0"
        context.options = {"crf": str(self._crf), "preset": PRESET, "x264-params": x264}
        context.open()
        return context


class EdgeEncoder:
    """Re-encodes consecutive frames (``slots``, in display order) of a source, with the source's decoder."""

    def __init__(
        self, source: VideoReader, style: EdgeEncoderConfig, slots: Sequence[PacketSlot], stream: VideoStream
    ) -> None:
        self._source = source
        self._style = style
        self._slots = slots
        self._stream = stream
        self._missing = {slot.frame for slot in slots}
        self._decoded = self._encoded = 0
        self._encoder: VideoCodecContext | None = None

    @property
    def is_fed(self) -> bool:
        """Whether the packets of all its frames have been fed."""
        return not self._missing

    def feed(self, packet: Packet[VideoStream]) -> Iterator[Packet[VideoStream]]:
        """Decode a packet, if one of the frames needs it; yields encoded packets.

        Raises:
            NotExactError: A frame does not match the header.
        """
        if self.is_fed:
            return
        if self._encoder is None:
            self._encoder = self._style.encoder()
            self._source.stream.codec_context.flush_buffers()
        if packet.pts not in self._missing and not h264_nal.is_referred_to(bytes(packet), avcc=self._style.avcc):
            return
        self._missing.discard(packet.pts or 0)
        for frame in self._source.stream.codec_context.decode(packet):
            yield from self._encode(self._encoder, frame)

    def finish(self) -> Iterator[Packet[VideoStream]]:
        """Flush decoder and encoder; yields the remaining packets.

        Raises:
            NotExactError: Not every frame could be decoded.
        """
        if self._encoder is not None:
            for frame in self._source.stream.codec_context.decode(None):
                yield from self._encode(self._encoder, frame)
            yield from self._placed(self._encoder.encode(None))
        if self._encoded != len(self._slots):
            raise NotExactError("a frame cannot be decoded")

    def _encode(self, encoder: VideoCodecContext, frame: VideoFrame) -> Iterator[Packet[VideoStream]]:
        if self._decoded == len(self._slots) or frame.pts != self._slots[self._decoded].frame:
            return
        size = (frame.width, frame.height, frame.format.name)
        if size != (encoder.width, encoder.height, encoder.pix_fmt) or frame.interlaced_frame or frame.is_corrupt:
            raise NotExactError("a frame is interlaced, damaged, or of another size or format")
        self._decoded += 1
        frame.pict_type = 0  # let the encoder choose its own key frames
        yield from self._placed(encoder.encode(frame))

    def _placed(self, packets: Sequence[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        for packet in packets:
            slot = self._slots[self._encoded]
            units = [unit for unit in h264_nal.units(bytes(packet), avcc=False) if h264_nal.kind(unit) != h264_nal.SEI]
            made = cast("Packet[VideoStream]", Packet(h264_nal.joined(units, avcc=self._style.avcc)))
            made.time_base = self._source.time_base
            made.pts, made.dts, made.duration = slot.pts, slot.dts, slot.duration
            made.is_keyframe = packet.is_keyframe
            made.stream = self._stream
            self._encoded += 1
            yield made
