"""Sampling passes over frames, and gives the pictures that decoding all of them would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.video_reader import open_video
from tests import media
from tests.video.test_scenes import count_decoded


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("vfr", [False, True])
def test_every_picture_is_the_same(tmp_path: Path, codec: str, vfr: bool) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=6, codec=codec, vfr=vfr, b_frames=5, gop=30)
    encoder = JpegEncoder(short_side=64, quality=85)
    with open_video(str(path)) as source:
        whole = [(source.time_of(frame), encoder.encode(frame)) for frame in source.frames()]
    chance = np.random.default_rng(1)
    for count in (1, 3, 20):
        times = sorted(chance.uniform(0, 5.9, count).tolist())
        shown = [[each for each in whole if each[0] <= time][-1] for time in times]
        found = sample_frames(str(path), times, short_side=64, quality=85)
        assert [(frame.time_s, frame.jpeg) for frame in found] == shown


def test_frames_that_nobody_needs_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=6, b_frames=3, gop=200)
    decoded = count_decoded(monkeypatch)
    sample_frames(str(path), [1.0, 5.5], short_side=64, quality=85)
    assert decoded[0] < 0.8 * 5.5 * 25
