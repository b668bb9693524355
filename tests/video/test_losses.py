"""What is lost of a damaged video is known to whoever watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.records import Span
from lvqa_ray.video.detect import Detection
from lvqa_ray.video.losses import Losses, watch_losses
from lvqa_ray.video.scenes import detect_scenes
from tests import media

ALL = Span(start_s=0, end_s=100)


def test_stretches_that_overlap_count_once() -> None:
    losses = Losses()
    for start_s, end_s in ((1, 2), (1.5, 3), (7, 8), (2, 4), (9, float("inf"))):
        losses.add(start_s, end_s)
    assert losses.within(Span(start_s=0, end_s=10)) == 3 + 1 + 1
    assert losses.within(Span(start_s=2.5, end_s=3.5)) == 1
    assert losses.within(Span(start_s=4, end_s=7)) == 0


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_garbage_in_the_middle_is_lost_and_the_rest_is_not(tmp_path: Path, name: str) -> None:
    path = media.make_video(tmp_path / name, seconds=8, size=(320, 180))
    with watch_losses() as losses:
        detect_scenes(str(path), Detection())
    assert losses.within(ALL) == 0
    media.scribble(path, 0.4, 0.6)
    with watch_losses() as losses:
        detect_scenes(str(path), Detection())
    assert 0.8 < losses.within(ALL) < 3
    assert losses.within(Span(start_s=0, end_s=2.5)) == 0
    assert losses.within(Span(start_s=6, end_s=8)) == 0
