"""What is lost of a damaged video is known to whoever watches."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.records import Span
from lvqa_ray.video.detect import Detection
from lvqa_ray.video.frames import sample_frames
from lvqa_ray.video.losses import Losses, watch_losses
from lvqa_ray.video.scenes import detect_scenes
from tests import media
from tests.cases.timelines import BLUE, RED, write

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


@pytest.mark.parametrize("name", ["film.mkv", "film.ts", "film.mpg"])
@pytest.mark.parametrize("wiped", [b"\0", b"\x5a\x17\xd3"])
def test_what_a_demuxer_leaves_out_is_lost_for_who_seeks_too(tmp_path: Path, name: str, wiped: bytes) -> None:
    codec = "mpeg2video" if name == "film.mpg" else "libx264"
    path = media.make_video(tmp_path / name, seconds=12, size=(320, 180), codec=codec)
    data = bytearray(path.read_bytes())
    begin, end = int(0.3 * len(data)), int(0.7 * len(data))
    data[begin:end] = (wiped * (end - begin))[: end - begin]
    path.write_bytes(data)
    with watch_losses() as losses:
        sample_frames(str(path), [5.0, 5.5], short_side=90, quality=80)
    assert losses.within(Span(start_s=4.5, end_s=6)) == 1.5
    with watch_losses() as losses:
        sample_frames(str(path), [0.5, 1.0, 10.5, 11.0], short_side=90, quality=80)
    assert losses.within(Span(start_s=10, end_s=12)) == losses.within(Span(start_s=0, end_s=2)) == 0


@pytest.mark.parametrize("name", ["sparse.mkv", "sparse.webm", "sparse.ts"])
def test_a_picture_that_stays_on_display_is_no_loss(tmp_path: Path, name: str) -> None:
    codec = "libvpx" if name == "sparse.webm" else "libx264"
    times = [0, 40, 4000, 4040, 4080, 12_000]
    path = write(
        tmp_path / name,
        times,
        lambda time: RED if time % 80 else BLUE,
        codec=codec,
        tone_s=0 if codec == "libvpx" else 13,
    )
    with watch_losses() as losses:
        detect_scenes(str(path), Detection())
    assert losses.within(ALL) == 0
