from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import simplejpeg

from lvqa_ray.errors import ConfigError, VideoError, VideoFault
from lvqa_ray.records import Frame
from lvqa_ray.video.frames.frame_encoder import fit
from lvqa_ray.video.frames.frame_sampling import sample_frames
from tests import media

Reader = Literal["pyav", "decord"]
both = pytest.mark.parametrize("reader", ["pyav", "decord"])


def sample(path: Path, *times: float, reader: Reader = "pyav", short_side: int = 64, quality: int = 95) -> list[Frame]:
    return sample_frames(str(path), times, short_side=short_side, quality=quality, reader=reader)


def pixels(frame: Frame) -> media.Picture:
    picture: media.Picture = simplejpeg.decode_jpeg(frame.jpeg)
    return picture


def corner(frame: Frame) -> media.Picture:
    """The background colour of a scene, as three numbers."""
    colour: media.Picture = pixels(frame)[2:10, 2:10].mean((0, 1)).astype(np.uint8)
    return colour


def background(scene: int) -> media.Picture:
    colour: media.Picture = media.scene_picture(scene, 0.5, width=160, height=90)[2, 2]
    return colour


def test_no_times_no_frames(film: Path) -> None:
    assert sample(film) == []


@both
def test_each_frame_is_the_one_on_display(film: Path, reader: Reader) -> None:
    frames = sample(film, 0, 0.1, 1.19, 1.2, 2.5, 3.999, reader=reader)
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.08, 1.16, 1.2, 2.48, 3.96])
    for frame, scene in zip(frames, [0, 0, 0, 1, 1, 2], strict=True):
        assert corner(frame) == pytest.approx(background(scene), abs=12)


@both
def test_order_and_repeats(film: Path, reader: Reader) -> None:
    frames = sample(film, 3, 1, 1.01, reader=reader)
    assert [frame.time_s for frame in frames] == pytest.approx([1, 1, 3])


@both
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_late_start_finds_its_frame(tmp_path: Path, suffix: str, reader: Reader) -> None:
    path = media.make_video(tmp_path / f"film.{suffix}", seconds=4, scenes=(1.2, 2.8))
    for time, scene in [(0.0, 0), (0.44, 0), (0.48, 0), (1.24, 1), (3.44, 2)]:
        (frame,) = sample(path, time, reader=reader)
        assert frame.time_s == pytest.approx(time)
        assert corner(frame) == pytest.approx(background(scene), abs=12)


@both
def test_a_variable_rate_goes_by_time_stamps(tmp_path: Path, reader: Reader) -> None:
    path = media.make_video(tmp_path / "vfr.mp4", seconds=4, scenes=(3,), vfr=True)
    frames = sample(path, 2.65, 2.9, 3.1, reader=reader)
    assert [frame.time_s for frame in frames] == pytest.approx([2.64, 2.88, 3.0])
    assert corner(frames[-1]) == pytest.approx(background(1), abs=12)


@both
@pytest.mark.parametrize("codec", ["libsvtav1", "libx265", "libvpx-vp9", "mpeg4"])
def test_codecs(tmp_path: Path, codec: str, reader: Reader) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=2, scenes=(1,), codec=codec, vfr=True)
    frames = sample(path, 0.5, 1.52, reader=reader)
    assert [frame.time_s for frame in frames] == pytest.approx([0.48, 1.44])
    assert corner(frames[1]) == pytest.approx(background(1), abs=16)


@both
def test_a_phone_video_is_turned(upright_phone: Path, reader: Reader) -> None:
    (frame,) = sample(upright_phone, 0.0, reader=reader)
    picture = pixels(frame)
    assert picture.shape[0] > picture.shape[1]
    # Stored: the block at the left edge. Turned clockwise by 90 degrees: at the top.
    assert picture[:12, 24:40].mean() < picture[-12:, 24:40].mean() - 30


@both
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("matrix", [1, 6, 2])
def test_colour_bars_come_out_right(tmp_path: Path, matrix: int, full_range: bool, reader: Reader) -> None:
    path = media.make_bars(tmp_path / "bars.mp4", matrix=matrix, full_range=full_range)
    picture = pixels(sample(path, 0, reader=reader)[0])
    found = [picture[20:44, 20 * i + 6 : 20 * i + 14].mean((0, 1)) for i in range(7)]
    assert np.abs(np.array(found) - np.array(media.BARS)).max() < 6


@both
def test_the_same_input_gives_the_same_bytes(film: Path, reader: Reader) -> None:
    assert sample(film, 0.5, 2.5, reader=reader) == sample(film, 0.5, 2.5, reader=reader)


def test_a_frame_is_the_same_wherever_reading_began(film: Path) -> None:
    assert sample(film, 0.0, 1.0, 3.4)[-1] == sample(film, 3.4)[0]


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((160, 90), 45, (80, 45)), ((160, 90), 448, (160, 90)), ((161, 91), 448, (161, 91)), ((16_000, 2), 1, (8000, 1))],
)
def test_sizes(size: tuple[int, int], short_side: int, expected: tuple[int, int]) -> None:
    assert fit(*size, short_side=short_side) == expected


def test_odd_sizes_and_small_pictures_are_left_alone(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "odd.mp4", seconds=0.2, size=(161, 91), pix_fmt="yuv444p")
    assert pixels(sample(path, 0, short_side=448)[0]).shape == (91, 161, 3)


@both
def test_a_single_frame(tmp_path: Path, reader: Reader) -> None:
    path = media.make_video(tmp_path / "one.mp4", seconds=0.04)
    assert [frame.time_s for frame in sample(path, 0.02, reader=reader)] == [0]


@both
def test_frames_past_the_end_are_left_out(film: Path, reader: Reader) -> None:
    assert [frame.time_s for frame in sample(film, 3, 60, reader=reader)] == pytest.approx([3])
    with pytest.raises(VideoError) as caught:
        sample(film, 60, 70, reader=reader)
    assert caught.value.kind is VideoFault.TRUNCATED


def test_a_file_cut_short_gives_what_it_has(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=6, faststart=True)
    media.truncate(path, 0.6)
    assert [frame.time_s for frame in sample(path, 1, 2, 5.5)] == pytest.approx([1, 2])


def test_garbage_in_the_middle_is_survived(tmp_path: Path, film: Path) -> None:
    path = media.scribble(Path(shutil.copy(film, tmp_path)), 0.4, 0.45)
    frames = sample(path, 0.4, 3.6)
    assert corner(frames[0]) == pytest.approx(background(0), abs=12)
    assert frames[-1].time_s == pytest.approx(3.6, abs=0.1)


def test_a_jump_over_a_long_gap_is_exact(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "long.mp4", seconds=40, fps=5, scenes=(30,), gop=15)
    frames = sample(path, 1, 2, 29.9, 35)
    assert [frame.time_s for frame in frames] == pytest.approx([1, 2, 29.8, 35])
    assert corner(frames[3]) == pytest.approx(background(1), abs=12)


@both
def test_what_is_no_video_says_so(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(VideoError) as caught:
        sample(tmp_path / "nowhere.mp4", 0, reader=reader)
    assert caught.value.kind is VideoFault.MISSING_FILE


def test_decord_missing_is_the_configuration_s_fault(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(ConfigError, match="decord2"):
        sample(film, 0, reader="decord")
