"""Clips and their pictures out of one pass, against the same from two."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from av.video.frame import VideoFrame

from lvqa_ray.records import Span
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.frame_dropping import MOST_PASSED
from lvqa_ray.video.scenes import clip_builder as shots
from lvqa_ray.video.scenes.clip_builder import FrameSampling, iter_clips, scenes_with_frames
from lvqa_ray.video.scenes.detection import iter_scenes
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.frame_buffer import BufferedFrame, FrameBuffer
from lvqa_ray.video.spans import ScenePlan
from tests import media
from tests.video.test_scenes import count_decoded

EIGHT = FrameSampling(count=8, fps=None, short_side=64, quality=85)
RATE = FrameSampling(count=None, fps=3.0, short_side=64, quality=85)
PLANS = (
    ScenePlan(max_s=10),
    ScenePlan(max_s=1),
    ScenePlan(max_s=0.7, min_s=0.5, start_remove_s=0.11, end_remove_s=0.23),
    ScenePlan(max_s=0.9, min_s=0.5, overlap=True, end_remove_s=1.2),
)


SPARED_S = (MOST_PASSED + 1) / 25
"""How much older a picture may be where frames are passed over."""


def expected(path: Path, plan: ScenePlan, detection: Detection) -> list[Span]:
    scenes = iter_scenes(str(path), detection, least_s=plan.least_s)
    return [clip for scene in scenes for clip in plan.clips(scene)]


def check(path: Path, plan: ScenePlan, sampling: FrameSampling) -> None:
    """The spans are those of two passes, and so are the pictures, but for the time error that is documented."""
    check_with(Detection(accuracy="exact"), 0, path, plan, sampling)
    check_with(Detection(accuracy="fast"), SPARED_S, path, plan, sampling)


def check_with(detection: Detection, spared_s: float, path: Path, plan: ScenePlan, sampling: FrameSampling) -> None:
    got = list(scenes_with_frames(str(path), detection=detection, plan=plan, sampling=sampling))
    assert [span for span, _ in got] == expected(path, plan, detection)
    for span, frames in got:
        times = sampling.times(span)
        wanted = sample_frames(str(path), times, short_side=sampling.short_side, quality=sampling.quality)
        assert len(frames) == len(times)
        # sample_frames leaves out times past the end of the picture; a pass has the last picture for those.
        for ours, theirs in zip(frames, wanted, strict=False):
            bound = spared_s + (span.duration_s / (4 * sampling.count) if sampling.count else 0)
            assert theirs.time_s - bound - 1e-6 <= ours.time_s <= theirs.time_s + 1e-6
            if ours.time_s == theirs.time_s:
                assert ours.jpeg == theirs.jpeg


@pytest.mark.parametrize("sampling", [EIGHT, RATE], ids=["count", "rate"])
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_pictures_are_those_of_two_passes(film: Path, plan: ScenePlan, sampling: FrameSampling) -> None:
    check(film, plan, sampling)


@pytest.mark.parametrize("codec", ["libsvtav1", "libx265", "libvpx-vp9", "mpeg4"])
def test_other_codecs(tmp_path: Path, codec: str) -> None:
    path = media.make_video(tmp_path / "film.mkv", seconds=2.4, scenes=(1.2,), codec=codec)
    check(path, ScenePlan(max_s=1), EIGHT)


@pytest.mark.parametrize("kind", ["vfr", "static", "b_frames"])
def test_odd_videos(tmp_path: Path, kind: str) -> None:
    path = media.make_video(
        tmp_path / "film.mp4",
        seconds=6,
        scenes=() if kind == "static" else (4.2,),
        vfr=kind == "vfr",
        static=kind == "static",
        b_frames=5 if kind == "b_frames" else 0,
    )
    for sampling in (EIGHT, RATE, FrameSampling(count=1, fps=None, short_side=64, quality=85)):
        check(path, ScenePlan(max_s=4), sampling)


def test_a_real_clip_in_long_scenes() -> None:
    for plan in (ScenePlan(max_s=10), ScenePlan(max_s=1.5)):
        check(media.bikes(), plan, FrameSampling(count=2, fps=None, short_side=64, quality=85))


def test_a_truncated_file_keeps_what_was_decoded(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "cut.mp4", seconds=4, scenes=(1.2,), faststart=True)
    media.truncate(path, 0.7)
    check(path, ScenePlan(max_s=1), EIGHT)


def test_a_long_scene_gives_its_clips_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=8)
    decoded = count_decoded(monkeypatch)
    shots = iter_clips(str(path), detection=Detection(), plan=ScenePlan(max_s=1), sampling=EIGHT)
    first = next(shots)
    assert first.span == Span(start_s=0, end_s=1)
    assert decoded[0] <= 25 * 1.5 + 17
    assert len(first.frames()) == 8


def test_large_pictures_are_kept_as_jpegs_of_the_same_bytes(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of() -> list[object]:
        return list(scenes_with_frames(str(film), detection=Detection(), plan=PLANS[1], sampling=EIGHT))

    small = all_of()
    monkeypatch.setattr(shots, "HELD_BYTES", 0)
    assert all_of() == small


def test_pictures_that_nobody_asks_for_are_not_encoded(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[VideoFrame] = []

    def encode(_: JpegEncoder, frame: VideoFrame) -> bytes:
        encoded.append(frame)
        return b""

    monkeypatch.setattr(JpegEncoder, "encode", encode)
    for shot in iter_clips(str(film), detection=Detection(), plan=PLANS[0], sampling=EIGHT):
        if shot.span.start_s == 0:
            shot.frames()
    assert 0 < len(encoded) <= 8


class Numbers(JpegEncoder):
    def encode(self, frame: VideoFrame) -> bytes:
        return str(frame.pts).encode()


def shelf_of(times: Sequence[float], count: int, sure_s: Sequence[float] = ()) -> FrameBuffer:
    shelf = FrameBuffer(0.0, sure_s=sure_s, count=count, encoder=Numbers(short_side=8, quality=1), compact=False)
    for time in times:
        shelf.add(BufferedFrame(time, VideoFrame(8, 8, "yuv420p")))
    return shelf


@pytest.mark.parametrize("length", [7, 63, 64, 65, 100, 1000, 5000])
def test_a_shelf_stays_small_and_keeps_its_bound(length: int) -> None:
    times = [i / 25 for i in range(length)]
    shelf = shelf_of(times, count=8)
    assert len(shelf._raster) <= 64
    end_s = length / 25
    for i in range(8):
        wanted = (i + 0.5) * end_s / 8
        (frame,) = shelf.take([wanted])
        shown = max(time for time in times if time <= wanted)
        assert shown - end_s / 32 - 1e-9 <= frame.time_s <= shown


def test_a_shelf_keeps_what_is_sure_to_be_wanted() -> None:
    shelf = shelf_of([i / 25 for i in range(1000)], count=1, sure_s=[3.33, 7.77])
    assert [frame.time_s for frame in shelf.take([3.33, 7.77])] == [3.32, 7.76]
