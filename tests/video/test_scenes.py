from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scenedetect
from av.video.frame import VideoFrame

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.scenes.detection import detect_scenes, iter_scenes
from lvqa_ray.video.scenes.detectors import Detection, Detector, Scorer
from lvqa_ray.video.scenes.downscale import Accuracy, Downscaler
from tests import media
from tests.video.films import OPTIONS, transcoded

DETECTORS: tuple[Detector, ...] = ("content", "adaptive", "both")


def starts(path: Path, detector: Detector = "content", frame_skip: int = 0, accuracy: Accuracy = "fast") -> list[float]:
    return [
        round(span.start_s, 3)
        for span in detect_scenes(str(path), Detection(detector=detector, frame_skip=frame_skip, accuracy=accuracy))
    ]


def stock_cuts(path: Path, detector: Detector, frame_skip: int = 0, *, backend: str = "opencv") -> list[float]:
    manager = scenedetect.SceneManager()
    if detector != "adaptive":
        manager.add_detector(scenedetect.ContentDetector())
    if detector != "content":
        manager.add_detector(scenedetect.AdaptiveDetector(luma_only=True))
    manager.detect_scenes(scenedetect.open_video(str(path), backend=backend), frame_skip=frame_skip)
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
def test_exact_cuts_are_those_of_stock_pyscenedetect(detector: Detector) -> None:
    ours = starts(media.bikes(), detector, accuracy="exact")[1:]
    assert ours == [round(cut, 3) for cut in stock_cuts(media.bikes(), detector)]


@pytest.mark.parametrize("skip", [0, 1, 3])
def test_exact_cuts_are_the_stock_ones_when_frames_are_skipped(skip: int) -> None:
    ours = starts(media.bikes(), frame_skip=skip, accuracy="exact")[1:]
    assert ours == [round(cut, 3) for cut in stock_cuts(media.bikes(), "content", skip)]


@pytest.mark.parametrize(
    ("size", "most"), [((1280, 720), 0), ((768, 432), 0), ((1920, 1080), 3), ((1440, 1080), 3), ((640, 360), 0)]
)
def test_exact_pictures_are_those_that_stock_makes(tmp_path: Path, size: tuple[int, int], most: int) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=0.2, size=size)
    capture = cv2.VideoCapture(str(path))
    with open_video(str(path)) as source:
        for frame in source.frames():
            _, whole = capture.read()
            factor = max(size) / 256
            stock = cv2.resize(whole, (round(size[0] / factor), round(size[1] / factor)))
            ours = Downscaler(*size, "exact")(frame)
            assert np.abs(ours[..., :3].astype(int) - stock).max() <= most
            assert Downscaler(*size, "fast")(frame).shape == (stock.shape[0] // 2, stock.shape[1] // 2, 3)


@pytest.mark.parametrize("luma_only", [False, True])
def test_the_cheap_score_has_the_stock_numbers(luma_only: bool) -> None:
    detection = Detection(detector="adaptive", luma_only=luma_only)
    (cheap,) = detection.detectors()
    stock = scenedetect.AdaptiveDetector(luma_only=luma_only)
    pictures = np.random.default_rng(1).integers(0, 256, (6, 36, 64, 3), np.uint8)
    scores_of = Scorer(detection)
    for i, picture in enumerate(pictures):
        time = scenedetect.FrameTimecode(i, 25.0)
        stock.process_frame(time, picture)
        cheap.process_frame(time, *scores_of(picture))
        assert cheap._frame_score == pytest.approx(stock._frame_score, rel=1e-12)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_scene_is_told_while_the_rest_is_unread(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=8, scenes=(1.2, 2.8))
    decoded = count_decoded(monkeypatch)
    scenes = iter_scenes(str(path), Detection(detector=detector))
    assert next(scenes).end_s == pytest.approx(1.2)
    assert decoded[0] <= 30 + 17
    assert next(scenes).end_s == pytest.approx(2.8)
    assert decoded[0] <= 70 + 17


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    decoded = [0]
    frames = VideoReader.frames

    def counted(source: VideoReader, **settings: Any) -> Iterator[VideoFrame]:
        for frame in frames(source, **settings):
            decoded[0] += 1
            yield frame

    monkeypatch.setattr(VideoReader, "frames", counted)
    return decoded


@pytest.mark.parametrize("detector", DETECTORS)
def test_scenes_begin_at_the_cuts_and_leave_no_gap(film: Path, detector: Detector) -> None:
    scenes = detect_scenes(str(film), Detection(detector=detector))
    assert [span.start_s for span in scenes] == [0, 1.2, 2.8]
    assert all(a.end_s == b.start_s for a, b in pairwise(scenes))
    assert scenes[-1].end_s == pytest.approx(4.0)


@pytest.mark.parametrize("codec", OPTIONS)
def test_cuts_agree_in_every_codec_with_b_frames_and_a_varying_rate(tmp_path: Path, codec: str) -> None:
    path = transcoded(tmp_path / "film.mkv", media.bikes(), codec)
    # OpenCV's reader gives nothing for AV1, and says nothing.
    stock = stock_cuts(path, "content", backend="pyav" if codec == "libsvtav1" else "opencv")
    assert len(stock) >= 4
    assert starts(path, accuracy="exact")[1:] == [round(cut, 3) for cut in stock]
    assert f1(starts(path)[1:], stock, within_s=2 / 25) >= 0.99


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_static_video_is_one_scene(tmp_path: Path, detector: Detector) -> None:
    path = media.make_video(tmp_path / "static.mp4", static=True)
    (only,) = detect_scenes(str(path), Detection(detector=detector))
    assert (only.start_s, only.end_s) == (0, 2)


def test_times_come_from_stamps_where_the_rate_varies(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "vfr.mp4", seconds=6, scenes=(4.2,), vfr=True)
    assert starts(path) == [0, 4.2]
    assert detect_scenes(str(path), Detection())[-1].end_s == pytest.approx(probe(str(path)).duration_sec, abs=0.13)


def test_times_count_from_the_first_picture(tmp_path: Path) -> None:
    assert starts(media.make_video(tmp_path / "late.ts", seconds=2.4, scenes=(1.2,))) == [0, 1.2]


def test_skipping_frames_finds_a_cut_nearby(film: Path) -> None:
    found = starts(film, frame_skip=1)
    assert len(found) == 3
    assert found == pytest.approx([0, 1.2, 2.8], abs=0.08)


def test_what_comes_before_a_corruption_is_kept(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "cut.mp4", seconds=4, scenes=(1.2,), faststart=True)
    media.truncate(path, 0.7)
    scenes = detect_scenes(str(path), Detection())
    assert [span.start_s for span in scenes] == [0, 1.2]
    assert 1.2 < scenes[-1].end_s < 4


def test_garbage_in_the_middle_is_survived(tmp_path: Path, film: Path) -> None:
    path = Path(shutil.copy(film, tmp_path / "film.mp4"))
    media.scribble(path, 0.4, 0.45)
    assert detect_scenes(str(path), Detection())[-1].end_s == pytest.approx(4.0, abs=0.5)


def test_nothing_decodable_is_an_error(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", faststart=True)
    media.scribble(path, 0.4, 1.0)
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"mdat") + 5])
    with pytest.raises(VideoError) as caught:
        detect_scenes(str(path), Detection())
    assert caught.value.kind is VideoFault.NO_FRAMES


def test_scenes_that_are_too_short_join_a_neighbour(tmp_path: Path) -> None:
    cuts = (0.3, 2.0, 2.3, 2.6, 4.0)
    path = str(media.make_video(tmp_path / "flashes.mp4", seconds=4.32, scenes=cuts))
    detection = Detection(min_scene_frames=3)
    found = [round(scene.end_s, 2) for scene in iter_scenes(path, detection)]
    assert found == [0.32, 2.0, 2.32, 2.6, 4.0, 4.32]
    joined = [(round(scene.start_s, 2), round(scene.end_s, 2)) for scene in iter_scenes(path, detection, least_s=0.5)]
    assert joined == [(0.0, 2.0), (2.0, 2.6), (2.6, 4.32)]  # the first joins the next one, the last the one before
