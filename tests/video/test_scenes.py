from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import scenedetect

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.probe import probe
from lvqa_ray.video.scenes import Detector, detect_scenes
from tests import media

DETECTORS: tuple[Detector, ...] = ("content", "adaptive", "both")


def starts(path: Path, detector: Detector = "content", frame_skip: int = 0) -> list[float]:
    return [round(span.start_s, 3) for span in detect_scenes(str(path), detector=detector, frame_skip=frame_skip)]


def stock_cuts(path: Path, detector: Detector) -> list[float]:
    manager = scenedetect.SceneManager()
    if detector != "adaptive":
        manager.add_detector(scenedetect.ContentDetector())
    if detector != "content":
        manager.add_detector(scenedetect.AdaptiveDetector(luma_only=True))
    manager.detect_scenes(scenedetect.open_video(str(path), backend="opencv"))
    return [start.seconds for start, _ in manager.get_scene_list()][1:]


def f1(ours: list[float], theirs: list[float], within_s: float) -> float:
    hits = sum(any(abs(cut - other) <= within_s for other in theirs) for cut in ours)
    return 2 * hits / (len(ours) + len(theirs)) if ours or theirs else 1.0


@pytest.mark.parametrize("detector", DETECTORS)
def test_cuts_agree_with_stock_pyscenedetect_on_a_real_clip(detector: Detector) -> None:
    theirs = stock_cuts(media.bikes(), detector)
    assert len(theirs) >= 4
    assert f1(starts(media.bikes(), detector)[1:], theirs, within_s=2 / 25) >= 0.95


@pytest.mark.parametrize("detector", DETECTORS)
def test_scenes_begin_at_the_cuts_and_leave_no_gap(film: Path, detector: Detector) -> None:
    scenes = detect_scenes(str(film), detector=detector)
    assert [span.start_s for span in scenes] == [0, 1.2, 2.8]
    assert all(a.end_s == b.start_s for a, b in pairwise(scenes))
    assert scenes[-1].end_s == pytest.approx(4.0)


@pytest.mark.parametrize("codec", ["libsvtav1", "libx265", "libvpx-vp9", "mpeg4"])
def test_other_codecs(tmp_path: Path, codec: str) -> None:
    path = media.make_video(tmp_path / "film.mkv", seconds=2.4, scenes=(1.2,), codec=codec)
    assert starts(path) == [0, 1.2]


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_static_video_is_one_scene(tmp_path: Path, detector: Detector) -> None:
    path = media.make_video(tmp_path / "static.mp4", static=True)
    (only,) = detect_scenes(str(path), detector=detector)
    assert (only.start_s, only.end_s) == (0, 2)


def test_times_come_from_stamps_where_the_rate_varies(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "vfr.mp4", seconds=6, scenes=(4.2,), vfr=True)
    assert starts(path) == [0, 4.2]
    assert detect_scenes(str(path), detector="content")[-1].end_s == pytest.approx(
        probe(str(path)).duration_sec, abs=0.13
    )


def test_times_count_from_the_first_picture(tmp_path: Path) -> None:
    assert starts(media.make_video(tmp_path / "late.ts", seconds=2.4, scenes=(1.2,))) == [0, 1.2]


def test_skipping_frames_finds_a_cut_nearby(film: Path) -> None:
    found = starts(film, frame_skip=1)
    assert len(found) == 3
    assert found == pytest.approx([0, 1.2, 2.8], abs=0.08)


def test_what_comes_before_a_corruption_is_kept(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "cut.mp4", seconds=4, scenes=(1.2,), faststart=True)
    media.truncate(path, 0.7)
    scenes = detect_scenes(str(path), detector="content")
    assert [span.start_s for span in scenes] == [0, 1.2]
    assert 1.2 < scenes[-1].end_s < 4


def test_garbage_in_the_middle_is_survived(tmp_path: Path, film: Path) -> None:
    path = Path(shutil.copy(film, tmp_path / "film.mp4"))
    media.scribble(path, 0.4, 0.45)
    assert detect_scenes(str(path), detector="content")[-1].end_s == pytest.approx(4.0, abs=0.5)


def test_nothing_decodable_is_an_error(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", faststart=True)
    media.scribble(path, 0.4, 1.0)
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"mdat") + 5])
    with pytest.raises(VideoError) as caught:
        detect_scenes(str(path), detector="content")
    assert caught.value.kind is VideoFault.NO_FRAMES
