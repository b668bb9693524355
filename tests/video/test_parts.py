"""Videos looked at in parts, against the same in one piece."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.records import Frame, ProbedVideo, ScoredPart, Span, Video
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.scenes.clip_builder import FrameSampling, iter_clips
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.parallel import find_parts, score_part
from lvqa_ray.video.scenes.parallel_join import JoinedParts, PartsDisagreeError
from lvqa_ray.video.spans import ScenePlan
from tests import media

EIGHT = FrameSampling(count=8, fps=None, short_side=64, quality=85)
RATE = FrameSampling(count=None, fps=3.0, short_side=64, quality=85)
PLAN = ScenePlan(max_s=1.1, min_s=0.3)
Shots = list[tuple[Span, tuple[Frame, ...]]]


def looked(path: Path, length_s: float, detection: Detection, sampling: FrameSampling | None) -> list[ScoredPart]:
    row = ProbedVideo(video=Video(id="v", uri=str(path), fingerprint="f"), info=probe(str(path)))
    parts = find_parts(row, length_s)
    return [score_part(part, detection=detection, plan=PLAN, sampling=sampling) for part in parts]


def joined(parts: list[ScoredPart], detection: Detection, sampling: FrameSampling | None) -> Shots:
    joining = JoinedParts(detection, PLAN, sampling)
    return [*(shot for part in parts for shot in joining.add(part)), *joining.finish()]


def check(
    path: Path, length_s: float = 1.0, detection: Detection | None = None, sampling: FrameSampling = EIGHT
) -> None:
    """Spans and times of pictures are those of one piece, and so is each picture that is there: most of them."""
    detection = detection or Detection()
    whole = [(s.span, s.frames()) for s in iter_clips(str(path), detection=detection, plan=PLAN, sampling=sampling)]
    parts = looked(path, length_s, detection, sampling)
    assert len(parts) >= 2
    shots = joined(parts, detection, sampling)
    assert [span for span, _ in shots] == [span for span, _ in whole]
    for (_, ours), (_, theirs) in zip(shots, whole, strict=True):
        assert [frame.time_s for frame in ours] == [frame.time_s for frame in theirs]
        assert ours == theirs or not any(frame.jpeg for frame in ours)


@pytest.mark.parametrize("detector", ["content", "adaptive", "both"])
def test_a_real_clip(detector: Any) -> None:
    check(media.bikes(), 2.5, Detection(detector=detector))


def test_big_buck_bunny(tmp_path: Path) -> None:
    # Its one group of pictures again and again, which puts cuts exactly on key frames, and scenes across them.
    path = tmp_path / "bunny.mkv"
    media.repeat(media.bunny(), path, times=2)
    check(path, 2.0)


FILMS: Mapping[str, dict[str, Any]] = {
    "b_frames.mp4": {"b_frames": 5},
    "open_gop.mp4": {"b_frames": 3, "open_gop": True},
    "vfr.mp4": {"vfr": True},
    "late.ts": {},
    "x265.mkv": {"codec": "libx265"},
    "vp9.mkv": {"codec": "libvpx-vp9"},
    "mpeg4.mkv": {"codec": "mpeg4"},
}


@pytest.mark.parametrize("name", FILMS)
def test_made_films(tmp_path: Path, name: str) -> None:
    path = media.make_video(tmp_path / name, seconds=5, scenes=(1.2, 1.9, 2.88, 4.2), **FILMS[name])
    check(path)
    check(path, 1.5, sampling=RATE)


def test_a_scene_that_is_longer_than_a_part(tmp_path: Path) -> None:
    check(media.make_video(tmp_path / "film.mp4", seconds=6, scenes=(4.6,)))


def test_most_pictures_come_with_the_parts(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=8, scenes=[0.6 * i for i in range(1, 13)], gop=6)
    shots = joined(looked(path, 2.5, Detection(), EIGHT), Detection(), EIGHT)
    assert sum(bool(frames[0].jpeg) for _, frames in shots) >= 0.6 * len(shots)
    assert all(not frames for _, frames in joined(looked(path, 2.5, Detection(), None), Detection(), None))


def test_too_short_for_parts_or_without_key_frames(tmp_path: Path) -> None:
    assert looked(media.make_video(tmp_path / "short.mp4", seconds=1.2), 1.0, Detection(), None) == []
    assert looked(media.make_video(tmp_path / "one.mp4", seconds=4, gop=200), 1.0, Detection(), None) == []


def test_what_is_damaged_or_does_not_follow_is_for_one_piece(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=5, scenes=(1.2, 2.8))
    parts = looked(path, 1.0, Detection(), None)
    assert all(before.tail == after.head for before, after in pairwise(parts))
    for wrong in (
        [parts[0], parts[2]],
        [parts[1]],
        [parts[0], replace(parts[1], head=parts[2].head)],
        [parts[0], replace(parts[1], head=((parts[1].head[0][0], b"another"), *parts[1].head[1:]))],
    ):
        with pytest.raises(PartsDisagreeError):
            joined(wrong, Detection(), None)
    path = media.scribble(Path(shutil.copy(path, tmp_path / "damaged.mp4")), 0.4, 0.5)
    with pytest.raises(PartsDisagreeError):
        joined(looked(path, 1.0, Detection(), None), Detection(), None)


@pytest.mark.parametrize("fps", [25, 60])
def test_scenes_that_are_too_short_join_the_same_neighbour(tmp_path: Path, fps: int) -> None:
    cuts = (0.3, 1.2, 1.5, 2.4, 2.7, 2.9, 3.8, 4.72)
    path = media.make_video(tmp_path / "flashes.mp4", seconds=5, fps=fps, scenes=cuts)
    check(path, detection=Detection(min_scene_frames=3))
