"""What an MP4 does not hold is encoded anew."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream

from lvqa_ray.records import Span
from lvqa_ray.video.audio.pcm import RATE, Samples, sound_of
from lvqa_ray.video.cutting.clip_file import CutMode, cut_clip
from tests.video.films import counted


@pytest.mark.parametrize(
    ("codec", "suffix", "mode"), [("pcm_s16le", "mov", "exact"), ("mp2", "ts", "copy"), ("pcm_s16le", "mov", "encode")]
)
def test_sound_that_no_mp4_holds_is_kept_in_step(tmp_path: Path, codec: str, suffix: str, mode: CutMode) -> None:
    path = beeping(tmp_path / f"film.{suffix}", counted(tmp_path / "film.mp4", "libx264", frames=75), codec)
    made = cut_clip(str(path), Span(start_s=1.2, end_s=2.8), tmp_path / "clip.mp4", mode=mode)
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        assert clip.streams.audio[0].codec.canonical_name == "aac"
    loud = np.flatnonzero(np.abs(heard(tmp_path / "clip.mp4", made.span.duration_s)) > 3000)
    assert loud[0] / RATE == pytest.approx(2.0 - made.span.start_s, abs=0.02)
    assert loud[-1] / RATE == pytest.approx(2.5 - made.span.start_s, abs=0.02)


def beeping(path: Path, film: Path, codec: str) -> Path:
    """The film with a tone from 2.0 to 2.5 s."""
    wave = np.zeros(3 * RATE)
    wave[2 * RATE : 5 * RATE // 2] = 9000 * np.sin(np.arange(RATE // 2) * 0.3)
    with av.open(str(film)) as given, av.open(str(path), "w") as output:
        picture = output.add_stream_from_template(given.streams.video[0])
        sound = output.add_stream(codec, rate=RATE)
        assert isinstance(sound, AudioStream)
        sound.codec_context.layout = "mono"
        for packet in given.demux(video=0):
            if packet.size:
                packet.stream = picture
                output.mux(packet)
        whole = AudioFrame.from_ndarray(wave.astype(np.int16)[None], format="s16", layout="mono")
        whole.sample_rate, whole.pts, whole.time_base = RATE, 0, Fraction(1, RATE)
        shape = AudioResampler(format="s16", layout="mono", rate=RATE, frame_size=sound.codec_context.frame_size or 512)
        for frame in [*shape.resample(whole), *shape.resample(None), None]:
            output.mux(sound.encode(frame))
    return path


def heard(path: Path, end_s: float) -> Samples:
    return np.concatenate(list(sound_of(str(path), end_s)))
