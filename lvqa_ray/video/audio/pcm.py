"""The sound of a video as 16 kHz mono, on the clock of its picture, a piece at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal, get_args

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.packet import Packet
from av.stream import Discard

from lvqa_ray.video.audio.convert import AudioConverter
from lvqa_ray.video.audio.track_choice import audio_track
from lvqa_ray.video.reader.video_reader import open_video

RATE = 16_000
"""Samples a second: what recognizers of speech are made for."""
GAP_S = 0.05
"""How far sound may run ahead of its clock, or behind it, before it is put right."""
OPUS_BITS = 24_000
MP3_BITS = 32_000

Samples = npt.NDArray[np.int16]
Form = Literal["opus", "mp3", "flac", "wav"]
FORMS: tuple[Form, ...] = get_args(Form)
MIMES: dict[Form, str] = {"opus": "audio/ogg", "mp3": "audio/mpeg", "flac": "audio/flac", "wav": "audio/wav"}
_WRITTEN: dict[Form, tuple[str, str]] = {
    "opus": ("ogg", "libopus"),
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "wav": ("wav", "pcm_s16le"),
}


def sound_of(path: str, end_s: float) -> Iterator[Samples]:
    """The sound of a video from its first picture on, without a gap: where there is none, silence.

    Sound from before the first picture and from after the end is left out; what does not decode is silence.

    Args:
        path: A local file.
        end_s: Where the picture ends, in seconds from the first one.

    Yields:
        Samples at `RATE`, some at a time; nothing where there is no stream of sound.

    Raises:
        VideoError: The file cannot be opened.
    """
    with open_video(path, picture_only=False) as source:
        container, zero_s = source.container, source.sound_start_s
        stream = audio_track(path, container)
        if stream is None:
            return
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        shape = AudioConverter(format="s16", layout="mono", rate=RATE)
        for samples in resample_gapless(
            source.demuxer.packets(stream), stream, shape, zero_s=zero_s, end_s=zero_s + end_s
        ):
            yield samples.reshape(-1)


def resample_gapless(
    packets: Iterator[Packet[Any]], stream: AudioStream, shape: AudioConverter, *, zero_s: float, end_s: float
) -> Iterator[npt.NDArray[Any]]:
    """The sound of a stretch of time without a gap, from where the container stands on: where there is none, silence.

    Args:
        packets: Of the stream.
        stream: The stream of sound.
        shape: To mono or to a planar format.
        zero_s: Where the stretch begins, in the container's time.
        end_s: Where it ends.

    Yields:
        Samples, channels x some at a time. What comes before the stretch or does not decode is passed over.
    """
    rate = shape.rate
    end = round((end_s - zero_s) * rate)
    at = 0
    for frame in _shaped(packets, stream, shape):
        base = Fraction(frame.time_base or Fraction(1, rate))
        start = at if frame.pts is None else round((float(frame.pts * base) - zero_s) * rate)
        samples = frame.to_ndarray()
        if abs(start - at) > GAP_S * rate or not at:
            while at < min(start, end):
                piece = min(rate, min(start, end) - at)
                yield np.zeros((len(samples), piece), samples.dtype)
                at += piece
            samples = samples[:, max(0, at - start) :]
        samples = samples[:, : end - at]
        if samples.size:
            yield samples
            at += samples.shape[1]
        if at >= end:
            return


def _shaped(packets: Iterator[Packet[Any]], stream: AudioStream, shape: AudioConverter) -> Iterator[AudioFrame]:
    """The converted frames of a stream; packets that do not decode are passed over."""
    for frame in decoded(packets, stream):
        yield from shape.convert(frame)


def decoded(packets: Iterator[Packet[Any]], stream: AudioStream, *, end_s: float | None = None) -> Iterator[AudioFrame]:
    """Decode an audio stream; packets that do not decode are passed over.

    Args:
        packets: Of the stream.
        stream: The stream.
        end_s: The container's time at which to stop (s).
    """
    while True:
        try:
            packet = next(packets, None)
            frames = [] if packet is None else stream.decode(packet)
        except (av.FFmpegError, OSError) as error:
            if isinstance(error, MemoryError):
                raise MemoryError from error
            if packet is None or isinstance(error, EOFError):
                return
            continue
        for frame in frames:
            assert isinstance(frame, AudioFrame)  # noqa: S101 - of a stream of sound
            yield frame
        if packet is None:
            return
        if end_s is not None and packet.pts is not None and float(packet.pts * packet.time_base) >= end_s:
            return


def encoded(samples: Samples, form: Form) -> bytes:
    """Samples at `RATE` as a file.

    Args:
        samples: At least one.
        form: ``opus`` (in Ogg, 24 kbit/s) and ``mp3`` (32 kbit/s) are small, ``flac`` and ``wav`` without loss.
    """
    container, codec = _WRITTEN[form]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE)
        assert isinstance(stream, AudioStream)  # noqa: S101 - of a codec of sound
        stream.codec_context.layout = "mono"
        if form in ("opus", "mp3"):
            stream.codec_context.bit_rate = OPUS_BITS if form == "opus" else MP3_BITS
        shape = AudioResampler(format=stream.codec_context.format or "s16", layout="mono", rate=RATE, frame_size=0)
        for start in range(0, len(samples), RATE):
            frame = AudioFrame.from_ndarray(samples[None, start : start + RATE], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            for shaped in shape.resample(frame):
                output.mux(stream.encode(shaped))
        output.mux(stream.encode(None))
    return file.getvalue()


def tone(form: Form) -> bytes:
    """A second of a soft tone, to try an endpoint with."""
    wave = 3000 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)
    return encoded(wave.astype(np.int16), form)
