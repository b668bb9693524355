"""The sound of a clip: its packets copied as they are, or encoded anew where an MP4 does not hold them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Discard

from lvqa_ray.records import Span
from lvqa_ray.video.audio import laid_out
from lvqa_ray.video.cut_copy import moved
from lvqa_ray.video.source import Source

MP4_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
"""Codecs that an MP4 holds and players expect there."""

RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""What AAC has and films use, in samples a second."""

CHANNEL_BITS = 64_000
RUN_UP_S = 1.0
"""Decoding begins so long before a clip: decoders need some of what was, and stamps right after a seek may lie."""


def clip_sound(source: Source, output: OutputContainer, span: Span) -> Iterator[Packet[AudioStream]]:
    """Add a stream of sound to a clip.

    Args:
        source: The video, open with all its streams.
        output: Where to add the stream; nothing is added where there is no sound that can be decoded.
        span: What the clip's picture holds, in seconds from the first picture.

    Yields:
        Packets ready to be muxed, in order; the stream is there before the first of them.
    """
    sounds = source.container.streams.audio
    if not sounds or sounds[0].codec_context is None:
        return
    source.stream.discard = Discard.all
    begin_s, end_s = source.sound_start_s + span.start_s, source.sound_start_s + span.end_s
    make = _copied if sounds[0].codec.canonical_name in MP4_SOUND else _encoded
    yield from make(source, sounds[0], output, begin_s, end_s)


def _copied(
    source: Source, sound: AudioStream, output: OutputContainer, begin_s: float, end_s: float
) -> Iterator[Packet[AudioStream]]:
    target = output.add_stream_from_template(sound)
    base = sound.time_base
    assert base is not None  # noqa: S101 - every demuxed stream has one
    begin, end = round(begin_s / base), round(end_s / base)
    try:
        source.container.seek(max(begin, sound.start_time or 0), stream=sound)
        for packet in source.container.demux(sound):
            if packet.is_corrupt or packet.pts is None or packet.pts < begin:
                continue
            if packet.pts >= end:
                return
            yield moved(packet, -begin, target)
    except av.FFmpegError:
        return  # the sound ends where the file does


def _encoded(
    source: Source, sound: AudioStream, output: OutputContainer, begin_s: float, end_s: float
) -> Iterator[Packet[AudioStream]]:
    """As AAC, exact to the sample; mono stays mono, anything else becomes stereo."""
    rate = sound.rate if sound.rate in RATES else 48_000
    layout = "mono" if sound.channels == 1 else "stereo"
    target = output.add_stream("aac", rate=rate)
    target.codec_context.layout = layout
    target.codec_context.bit_rate = CHANNEL_BITS * target.codec_context.layout.nb_channels
    base = Fraction(sound.time_base or Fraction(1, rate))
    try:
        source.container.seek(max(round((begin_s - RUN_UP_S) / base), sound.start_time or 0), stream=sound)
    except av.FFmpegError:
        return
    shape = AudioResampler(format="fltp", layout=layout, rate=rate)
    packed = AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)
    at = 0
    for samples in laid_out(source.container, sound, shape, zero_s=begin_s, end_s=end_s):
        frame = AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        at += samples.shape[1]
        for whole in packed.resample(frame):
            yield from target.encode(whole)
    if at:
        for whole in packed.resample(None):
            yield from target.encode(whole)
    yield from target.encode(None)
