"""Films with something said in them: subtitles beside the film and in its file, and real sound."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import espeakng_loader
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.subtitle import SubtitleSet

from lvqa_ray.video.audio.pcm import RATE, Samples

Line = tuple[int, int, str]
"""When a line begins and ends (ms), and what is said."""

RETRIEVAL, UTF8 = 1, 1
"""eSpeak's numbers for giving the sound back, and for text in UTF-8."""
ASS_HEADER = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n\0"


def srt(lines: Sequence[Line]) -> str:
    """The text of a SubRip file."""

    def stamp(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    return "\n".join(
        f"{number}\n{stamp(start)} --> {stamp(end)}\n{text}\n" for number, (start, end, text) in enumerate(lines, 1)
    )


def with_streams(film: Path, to: Path, streams: Sequence[tuple[str, Sequence[Line]]], codec: str) -> Path:
    """Copy a film and put streams of subtitles into it.

    Args:
        film: The film.
        to: The copy; its suffix chooses the container.
        streams: Language and lines of each.
        codec: ``subrip``, ``ass`` and ``webvtt`` for Matroska, ``mov_text`` for MP4.
    """
    with av.open(str(film)) as given, av.open(str(to), "w") as made:
        copies = {stream.index: made.add_stream_from_template(stream) for stream in given.streams}
        said = []
        for language, lines in streams:
            encoder = av.CodecContext.create(codec, "w")
            assert isinstance(encoder, SubtitleCodecContext)
            encoder.subtitle_header = ASS_HEADER
            encoder.time_base = Fraction(1, 1000)
            stream = made.add_stream(codec)
            assert isinstance(stream.codec_context, SubtitleCodecContext)
            stream.codec_context.subtitle_header = ASS_HEADER
            stream.time_base = Fraction(1, 1000)
            stream.metadata["language"] = language
            said.append((stream, encoder, lines))
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                made.mux(packet)
        for stream, encoder, lines in said:
            for number, (start, end, text) in enumerate(lines):
                shown = f"{number},0,Default,,0,0,0,,{text}".encode()
                packet = encoder.encode_subtitle(SubtitleSet.create(shown, 0, end - start, pts=start))
                packet.stream = stream
                packet.pts = packet.dts = start
                packet.duration = end - start
                packet.time_base = Fraction(1, 1000)
                made.mux(packet)
    return to


@cache
def spoken(text: str) -> Samples:
    """A sentence as eSpeak says it, without the silence around it: 16 kHz, mono."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(RETRIEVAL, 0, espeakng_loader.get_data_path().encode(), 0)
    said: list[Samples] = []

    def take(wave: Any, count: int, _: Any) -> int:
        if wave and count > 0:
            said.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        return 0

    kept = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(take)
    library.espeak_SetSynthCallback(kept)
    library.espeak_SetVoiceByName(b"en")
    given = text.encode()
    library.espeak_Synth(given, len(given) + 1, 0, 0, 0, UTF8, None, None)
    library.espeak_Synchronize()
    library.espeak_Terminate()
    wave = np.concatenate(said)
    times = np.arange(int(len(wave) * RATE / rate)) * rate / RATE
    samples: Samples = np.interp(times, np.arange(len(wave)), wave).astype(np.int16)
    heard = np.flatnonzero(np.abs(samples) > 300)
    return samples[heard[0] : heard[-1] + 1]


def with_sound(film: Path, to: Path, said: Sequence[tuple[float, str]], *, offset_s: float = 0.0) -> Path:
    """Copy a film and let somebody say sentences in it.

    Args:
        film: The film, without sound.
        to: The copy (Matroska).
        said: When each begins (s), and the sentence.
        offset_s: When the stream of sound begins; nothing may be said before.
    """
    with av.open(str(film)) as given, av.open(str(to), "w") as made:
        length = float(given.duration or 0) / av.time_base
        track = np.zeros(int((length - offset_s) * RATE), np.int16)
        for start, text in said:
            samples = spoken(text)
            at = round((start - offset_s) * RATE)
            track[at : at + len(samples)] = samples
        copy = made.add_stream_from_template(given.streams.video[0])
        sound = made.add_stream("flac", rate=RATE)
        assert isinstance(sound, AudioStream)
        sound.codec_context.layout = "mono"
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                made.mux(packet)
        for at in range(0, len(track), 4096):
            frame = AudioFrame.from_ndarray(track[None, at : at + 4096], format="s16", layout="mono")
            frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
            frame.pts = at + round(offset_s * RATE)
            made.mux(sound.encode(frame))
        made.mux(sound.encode(None))
    return to
