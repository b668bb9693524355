"""Looking at a video without the frames that no other refers to, against looking at all of them."""

from __future__ import annotations

import random
import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from scenedetect import ContentDetector, FrameTimecode

from lvqa_ray.records import Span
from lvqa_ray.video.reader.decode_losses import watch_losses
from lvqa_ray.video.reader.frame_dropping import MOST_PASSED
from lvqa_ray.video.reader.video_reader import open_video
from lvqa_ray.video.scenes.detection import FrameEvent, frame_events
from lvqa_ray.video.scenes.detectors import CutFinder, Detection
from lvqa_ray.video.scenes.frame_scores import LookbackReader
from tests import media
from tests.video.films import transcoded, x264_video


def seen(path: Path, *, sparing: bool, detection: Detection | None = None) -> list[FrameEvent]:
    with open_video(str(path)) as source:
        return list(frame_events(source, detection or Detection(), sparing=sparing))


def check(path: Path) -> float:
    """Cuts and the end are the same; tells what part of the frames was looked at."""
    every, some = seen(path, sparing=False), seen(path, sparing=True)
    assert [each.time_s for each in some if each.cut] == [each.time_s for each in every if each.cut]
    assert (some[0].time_s, some[-1].end_s) == (every[0].time_s, every[-1].end_s)
    assert {each.time_s for each in some} <= {each.time_s for each in every}
    return len(some) / len(every)


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_a_real_clip(tmp_path: Path, codec: str) -> None:
    assert check(transcoded(tmp_path / "film.mkv", media.bikes(), codec)) < 0.75


@pytest.mark.parametrize("begin", range(4))
def test_a_cut_at_a_frame_that_no_other_refers_to(tmp_path: Path, begin: int) -> None:
    # Scenes change every 40 frames, and frames refer to every third one: each cut lies elsewhere between two of those.
    params = f"bframes=2:b-adapt=0:b-pyramid=none:scenecut=0:keyint={95 + begin}:min-keyint=95"
    path = x264_video(tmp_path / "film.mp4", params, frames=170)
    assert sum(each.cut for each in seen(path, sparing=True)) == 4
    assert check(path) < 0.7


@pytest.mark.parametrize("kind", ["vfr", "open_gop"])
def test_odd_videos(tmp_path: Path, kind: str) -> None:
    path = media.make_video(
        tmp_path / "film.mkv", seconds=6, scenes=(1.16, 3.4), b_frames=3, vfr=kind == "vfr", open_gop=kind == "open_gop"
    )
    check(path)


def test_where_hardly_a_frame_is_referred_to_all_are_looked_at(tmp_path: Path) -> None:
    params = "bframes=16:b-adapt=0:b-pyramid=none:keyint=100:min-keyint=100:scenecut=0"
    path = x264_video(tmp_path / "film.mp4", params, frames=200)
    found = seen(path, sparing=True)
    assert max(after.time_s - before.time_s for before, after in pairwise(found)) <= (MOST_PASSED + 2) / 25
    check(path)


def test_frames_without_times_are_all_counted(tmp_path: Path) -> None:
    path = x264_video(tmp_path / "film.h264", "bframes=2:b-adapt=0", frames=100)
    assert check(path) == 1


def test_movement_is_looked_at_closely_and_not_taken_for_cuts() -> None:
    # Bikes ride by: over three frames much of it changes by more than a cut's least.
    detection = Detection(threshold=12.0)
    every = seen(media.bikes(), sparing=False, detection=detection)
    some = seen(media.bikes(), sparing=True, detection=detection)
    assert [each.time_s for each in some if each.cut] == [each.time_s for each in every if each.cut]


def test_frames_between_two_come_from_anywhere(tmp_path: Path) -> None:
    path = x264_video(tmp_path / "film.mp4", "bframes=3:b-adapt=0:keyint=50", frames=200)
    with open_video(str(path)) as source, LookbackReader(str(path)) as lookback:
        frames = list(source.frames())
        for first, last in ((3, 6), (6, 8), (8, 9), (9, 12), (60, 62), (140, 144), (190, 199)):
            between = lookback.between(frames[first], frames[last])
            assert [frame.pts for frame in between] == [frame.pts for frame in frames[first + 1 : last]]


def test_damage_is_noted_and_spared_frames_are_not(tmp_path: Path, film: Path) -> None:
    path = media.scribble(Path(shutil.copy(film, tmp_path / "film.mp4")), 0.4, 0.5)
    lost = []
    for sparing in (False, True):
        with watch_losses() as losses:
            seen(path, sparing=sparing)
        lost.append(losses.within(Span(start_s=0, end_s=4)))
    assert 0 < lost[1] <= lost[0] + (MOST_PASSED + 1) / 25


class Stock(ContentDetector):  # type: ignore[misc]  # PySceneDetect ships no types
    def _calculate_frame_score(self, timecode: FrameTimecode, frame_img: float) -> float:  # noqa: ARG002
        return frame_img


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(7)])
@pytest.mark.parametrize("least", [0, 1, 15])
def test_frames_that_change_nothing_need_not_be_told_to_the_detector(rate: Fraction, least: int) -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    base, found = Fraction(1, 90_000), 0
    for often in (0.01, 0.1, 0.5):
        finder = CutFinder(Detection(min_scene_frames=least), base, rate)
        stock = Stock(min_scene_len=least)
        ours: list[float] = []
        theirs: list[float] = []
        offset = 0
        for _ in range(800):
            score = 30.0 if chance.random() < often else 26.9
            ours += [each.seconds for each in finder.look(offset, float(offset * base), (score,))]
            position = FrameTimecode(finder._position(offset))
            theirs += [each.seconds for each in stock.process_frame(position, score)]
            offset += round(chance.choice((1, 1, 1, 0.5, 2.5)) / rate / base)
        assert ours == theirs
        found += len(ours)
    assert found >= 4
