"""Audio track of a clip: packets are copied, or re-encoded to AAC if MP4 does not support them."""

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
from lvqa_ray.video.audio.convert import AudioConverter
from lvqa_ray.video.audio.pcm import decoded, resample_gapless
from lvqa_ray.video.audio.track_choice import audio_track
from lvqa_ray.video.cutting.stream_copy import moved
from lvqa_ray.video.reader.video_reader import VideoReader

MP4_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "alac", "flac"})
"""Audio codecs that MP4 supports and players expect there."""

RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000})
"""Common sample rates of AAC (Hz)."""

CHANNEL_BITS = 64_000
ONE_HEADER = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
"""Containers that state the channels and the sample rate of a track once."""

SHORT_S = 0.1
"""Approximate maximum length of an audio packet."""

RUN_UP_S = 1.0
"""Decoding starts this long before a clip: decoders need earlier packets, and timestamps after a seek may be wrong."""


def clip_sound(source: VideoReader, output: OutputContainer, span: Span) -> Iterator[Packet[AudioStream]]:
    """Add an audio stream to a clip.

    Args:
        source: The video, open with all its streams.
        output: Container to which the stream is added, unless there is no decodable audio.
        span: Span of the clip's video, in seconds from the first frame.

    Yields:
        Packets ready to be muxed, in order; the stream is added before the first of them.
    """
    sound = audio_track(source.path, source.container)
    if sound is None:
        return
    for other in source.container.streams:
        if other.index != sound.index:
            other.discard = Discard.all
    begin_s, end_s = source.sound_start_s + span.start_s, source.sound_start_s + span.end_s
    is_copied = sound.codec.canonical_name in MP4_SOUND and _is_uniform(source, sound, begin_s, end_s)
    yield from (_copied if is_copied else _encoded)(source, sound, output, begin_s, end_s)


def _is_uniform(source: VideoReader, sound: AudioStream, begin_s: float, end_s: float) -> bool:
    """Whether channels and sample rate stay the same within a clip, as its header states them once.

    They can change only in containers without a global header; there the audio is decoded for this check.
    """
    if source.container.format.name in ONE_HEADER:
        return True
    context = sound.codec_context
    stated = (context.sample_rate, context.channels)
    base = Fraction(sound.time_base or Fraction(1, 1000))
    try:
        source.demuxer.seek_sound(sound, begin_s - RUN_UP_S)
    except av.FFmpegError:
        return True
    return all(
        (frame.sample_rate, frame.layout.nb_channels) == stated
        for frame in decoded(source.demuxer.packets(sound), sound, end_s=end_s)
        if frame.pts is None or float(frame.pts * (frame.time_base or base)) >= begin_s - 2 * SHORT_S
    )


def _copied(
    source: VideoReader, sound: AudioStream, output: OutputContainer, begin_s: float, end_s: float
) -> Iterator[Packet[AudioStream]]:
    target: AudioStream | None = None
    base = sound.time_base
    assert base is not None  # noqa: S101 - every demuxed stream has one
    begin, end = round(begin_s / base), round(end_s / base)
    latest = begin - 1
    try:
        source.demuxer.seek_sound(sound, begin_s)
        for packet in source.demuxer.packets(sound):
            if packet.is_corrupt or packet.pts is None or packet.pts <= latest:  # concatenated files may overlap
                continue
            if packet.pts >= end:
                return
            latest = packet.pts
            target = target or output.add_stream_from_template(sound)
            yield moved(packet, -begin, target)
    except av.FFmpegError:
        return  # the file is unreadable from here


def _encoded(
    source: VideoReader, sound: AudioStream, output: OutputContainer, begin_s: float, end_s: float
) -> Iterator[Packet[AudioStream]]:
    """Encode as AAC, sample-accurate; mono stays mono, anything else becomes stereo."""
    rate = sound.rate if sound.rate in RATES else 48_000
    layout = "mono" if sound.channels == 1 else "stereo"
    target: AudioStream | None = None
    try:
        source.demuxer.seek_sound(sound, begin_s - RUN_UP_S)
    except av.FFmpegError:
        return
    converter = AudioConverter(format="fltp", layout=layout, rate=rate)
    framer = AudioResampler(format="fltp", layout=layout, rate=rate, frame_size=1024)
    at = 0
    for samples in resample_gapless(source.demuxer.packets(sound), sound, converter, zero_s=begin_s, end_s=end_s):
        frame = AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        at += samples.shape[1]
        target = target or _aac_stream(output, rate, layout)
        for whole in framer.resample(frame):
            yield from target.encode(whole)
    if target is not None:
        for whole in framer.resample(None):
            yield from target.encode(whole)
        yield from target.encode(None)


def _aac_stream(output: OutputContainer, rate: int, layout: str) -> AudioStream:
    stream = output.add_stream("aac", rate=rate)
    stream.codec_context.layout = layout
    stream.codec_context.bit_rate = CHANNEL_BITS * stream.codec_context.layout.nb_channels
    return stream
