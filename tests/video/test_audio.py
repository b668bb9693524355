"""Sound on the clock of the picture, and cut where nobody speaks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from lvqa_ray.video.audio.pcm import FORMS, RATE, Form, Samples, encoded, sound_of
from lvqa_ray.video.audio.silence_split import OVERLAP_S, WINDOW, split_at_silence
from tests import media
from tests.fakes.ears import measured
from tests.spoken import spoken, with_sound

SAID = [(1.0, "The bridge is closed today."), (5.0, "Then we swim."), (8.5, "Wait for me over there, please.")]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media.make_video(tmp_path_factory.mktemp("film") / "bare.mp4", seconds=12, size=(64, 36))


def heard(path: Path, end_s: float = 12.0) -> Samples:
    return np.concatenate([np.zeros(0, np.int16), *sound_of(str(path), end_s)])


def starts(samples: Samples) -> list[float]:
    return [start for start, _ in measured(encoded(samples, "wav"), "audio/wav")["spoken"]]


@pytest.mark.parametrize("offset_s", [0.0, 0.75])
def test_sound_has_the_times_of_the_picture(film: Path, tmp_path: Path, offset_s: float) -> None:
    sound = heard(with_sound(film, tmp_path / "talk.mkv", SAID, offset_s=offset_s))
    assert abs(len(sound) - 12 * RATE) < RATE / 10
    assert starts(sound) == pytest.approx([at for at, _ in SAID], abs=0.05)


def test_no_sound_and_sound_that_outlasts_the_picture(film: Path, tmp_path: Path) -> None:
    assert not len(heard(film))
    long = media.make_video(tmp_path / "long.mp4", seconds=2, size=(64, 36), audio_seconds=5)
    assert len(heard(long, 2.0)) == 2 * RATE


def test_what_is_lost_of_a_damaged_file_is_silence(film: Path, tmp_path: Path) -> None:
    talk = media.scribble(with_sound(film, tmp_path / "talk.mkv", SAID), 0.3, 0.45)
    late = [at for at in starts(heard(talk)) if at > 8]
    assert late == pytest.approx([8.5], abs=0.05)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_can_be_heard(form: Form) -> None:
    said = spoken("Then we swim.")
    sound = measured(encoded(np.concatenate([np.zeros(RATE, np.int16), said]), form), "audio/x")
    assert sound["channels"] == 1
    assert sound["seconds"] == pytest.approx(1 + len(said) / RATE, abs=0.01)
    assert [start for start, _ in sound["spoken"]] == pytest.approx([1.0], abs=0.04)


def test_long_sound_is_cut_where_nobody_speaks(film: Path, tmp_path: Path) -> None:
    path = str(with_sound(film, tmp_path / "talk.mkv", SAID))
    parts = list(split_at_silence(sound_of(path, 12.0), 6.0))
    assert len(parts) == 3
    found = [part.start / RATE + start for part in parts for start in starts(part.samples)]
    assert found == pytest.approx([at for at, _ in SAID], abs=0.05)
    assert all(before.end <= after.start for before, after in pairwise(parts))
    assert all(len(part.samples) <= 6 * RATE for part in parts)
    assert sum(len(part.samples) for part in parts) < 0.7 * 12 * RATE, "silence is not sent"


def test_sound_without_a_pause_is_cut_with_an_overlap_and_silence_gives_nothing() -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 30 * RATE).astype(np.int16)
    pieces = [noise[at : at + 700] for at in range(0, len(noise), 700)]
    parts = list(split_at_silence(iter(pieces), 10.0))
    assert [part.start for part in parts] == [n * 8 * RATE for n in range(len(parts))]
    assert all(before.end - after.start == OVERLAP_S * RATE for before, after in pairwise(parts))
    assert parts[-1].end == len(noise)
    assert all(np.array_equal(part.samples, noise[part.start : part.end]) for part in parts)
    assert list(split_at_silence(iter([np.zeros(60 * RATE, np.int16)]), 10.0)) == []
    assert list(split_at_silence(iter([]), 10.0)) == []
    short = np.full(WINDOW // 2, 5000, np.int16)
    assert [len(part.samples) for part in split_at_silence(iter([short]), 10.0)] == [len(short)]
