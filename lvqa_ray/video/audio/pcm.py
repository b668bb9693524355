"""PCM audio of a video: 16 kHz mono, aligned to the video stream, streamed in pieces."""

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
from lvqa_ray.video.reader.container_formats import raise_if_out_of_memory
from lvqa_ray.video.reader.video_reader import open_video

RATE = 16_000
"""Sample rate (Hz) that speech recognizers expect."""
GAP_S = 0.05
"""Audio that deviates from its timestamps by more than this (s) is realigned."""
OPUS_BITS = 24_000
MP3_BITS = 32_000

Samples = npt.NDArray[np.int16]
Form = Literal["opus", "mp3", "flac", "wav"]
SOUND_FORMS: tuple[Form, ...] = get_args(Form)
MIMES: dict[Form, str] = {"opus": "audio/ogg", "mp3": "audio/mpeg", "flac": "audio/flac", "wav": "audio/wav"}
_CODECS: dict[Form, tuple[str, str]] = {
    "opus": ("ogg", "libopus"),
    "mp3": ("mp3", "libmp3lame"),
    "flac": ("flac", "flac"),
    "wav": ("wav", "pcm_s16le"),
}


def sound_of(path: str, end_s: float) -> Iterator[Samples]:
    """Decode the audio of a video from its first frame on; gaps are filled with silence.

    Audio before the first frame and after the end is left out; undecodable audio becomes silence.

    Args:
        path: A local file.
        end_s: End of the video stream, in seconds from the first frame.

    Yields:
        Samples at `RATE`, in pieces; nothing if there is no audio stream.

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
        converter = AudioConverter(format="s16", layout="mono", rate=RATE)
        packets = source.demuxer.packets(stream)
        for samples in resample_gapless(packets, stream, converter, zero_s=zero_s, end_s=zero_s + end_s):
            yield samples.reshape(-1)


def resample_gapless(
    packets: Iterator[Packet[Any]], stream: AudioStream, converter: AudioConverter, *, zero_s: float, end_s: float
) -> Iterator[npt.NDArray[Any]]:
    """Decode and resample a time span of an audio stream; gaps are filled with silence.

    Args:
        packets: Packets of the stream, from the span's start or before.
        stream: The audio stream.
        converter: Converts to mono or to a planar format.
        zero_s: Start of the span, in container time (s).
        end_s: End of the span, in container time (s).

    Yields:
        Samples, channels x n. Audio before the span and undecodable audio is skipped.
    """
    rate = converter.rate
    end = round((end_s - zero_s) * rate)
    at = 0
    for frame in (each for source in decoded(packets, stream) for each in converter.convert(source)):
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


def decoded(packets: Iterator[Packet[Any]], stream: AudioStream, *, end_s: float | None = None) -> Iterator[AudioFrame]:
    """Decode an audio stream up to the container time ``end_s``; undecodable packets are skipped."""
    while True:
        try:
            packet = next(packets, None)
            frames = [] if packet is None else stream.decode(packet)
        except (av.FFmpegError, OSError) as error:
            raise_if_out_of_memory(error)
            if packet is None or isinstance(error, EOFError):
                return
            continue
        for frame in frames:
            assert isinstance(frame, AudioFrame)  # noqa: S101 - for the type checker: it is an audio stream
            yield frame
        if packet is None:
            return
        if end_s is not None and packet.pts is not None and float(packet.pts * packet.time_base) >= end_s:
            return


def encoded(samples: Samples, form: Form) -> bytes:
    """Encode samples as an audio file.

    Args:
        samples: At least one sample, mono at `RATE`.
        form: ``opus`` (in Ogg, 24 kbit/s) and ``mp3`` (32 kbit/s) are small, ``flac`` and ``wav`` lossless.
    """
    container, codec = _CODECS[form]
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=RATE)
        assert isinstance(stream, AudioStream)  # noqa: S101 - for the type checker: it is an audio codec
        stream.codec_context.layout = "mono"
        if form in ("opus", "mp3"):
            stream.codec_context.bit_rate = OPUS_BITS if form == "opus" else MP3_BITS
        resampler = AudioResampler(format=stream.codec_context.format or "s16", layout="mono", rate=RATE, frame_size=0)
        for start in range(0, len(samples), RATE):
            frame = AudioFrame.from_ndarray(samples[None, start : start + RATE], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            for resampled in resampler.resample(frame):
                output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))
    return file.getvalue()


def tone(form: Form) -> bytes:
    """Test tone: one second of a soft 440 Hz sine, for trying an endpoint."""
    wave = 3000 * np.sin(np.arange(RATE) * 2 * np.pi * 440 / RATE)
    return encoded(wave.astype(np.int16), form)
