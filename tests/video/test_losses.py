"""What is lost of a damaged video is known to whoever watches."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from lvqa_ray.records import Span
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.decode_losses import Losses, watch_losses
from lvqa_ray.video.scenes.detection import detect_scenes
from lvqa_ray.video.scenes.detectors import Detection
from tests import media
from tests.cases import folder
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


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_what_depends_on_a_lost_key_frame_is_lost(tmp_path: Path, name: str) -> None:
    path = media.make_video(tmp_path / name, seconds=12, size=(320, 180), gop=75, faststart=True)
    with av.open(str(path)) as film:
        packets = [packet for packet in film.demux(video=0) if packet.is_keyframe and packet.size]
        key = bytes(packets[1])
    data = path.read_bytes()
    assert data.count(key) == 1
    path.write_bytes(data.replace(key, key[:8] + bytes(len(key) - 8)))
    with watch_losses() as losses:
        sample_frames(str(path), [4.5, 5.5], short_side=90, quality=80)
    assert losses.within(Span(start_s=4, end_s=5.5)) == pytest.approx(1.5, abs=0.1)
    with watch_losses() as losses:
        detect_scenes(str(path), Detection())
    assert losses.within(ALL) == pytest.approx(3, abs=0.1)


def test_a_program_stream_can_be_sought_in_to_its_very_end() -> None:
    path = str(folder("16") / "sar.mpg")
    for time in (2.2, 3.0, 3.5, 3.9, 4.2):
        (frame,) = sample_frames(path, [time], short_side=90, quality=80)
        assert frame.time_s == pytest.approx(min(time, 3.96), abs=0.05)
