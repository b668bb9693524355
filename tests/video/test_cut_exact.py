"""Exact clips hold the frames that they should: every one is decoded and compared with the source's."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import decord
import numpy as np
import numpy.typing as npt
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.records import Span
from lvqa_ray.video.cut import cut_clip
from lvqa_ray.video.cut_encode import Encoding
from lvqa_ray.video.cut_exact import ExactPicture
from lvqa_ray.video.cut_plan import NotExactError
from lvqa_ray.video.source import open_source
from tests import media

Planes = npt.NDArray[np.uint8]
MIN_PSNR = 35
CRF = 20


@dataclass
class Shown:
    time_s: float
    planes: Planes


def shown(path: Path) -> list[Shown]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start = float((stream.start_time or 0) * (stream.time_base or 1))
        return [
            Shown((frame.time or 0.0) - start, np.asarray(frame.to_ndarray(), np.uint8))
            for frame in container.decode(stream)
        ]


def psnr(left: Planes, right: Planes) -> float:
    error = float(np.mean((left.astype(float) - right.astype(float)) ** 2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")


def frames_seen_by_opencv(path: Path) -> int:
    reader, count = cv2.VideoCapture(str(path)), 0
    while reader.read()[0]:
        count += 1
    return count


def check(path: Path, source: list[Shown], start: float, end: float, dest: Path, *, copied: int) -> Span:
    """Cut and compare every frame; at least ``copied`` of them must be identical."""
    cut = cut_clip(str(path), Span(start_s=start, end_s=end), dest, mode="exact", encoding=Encoding(crf=CRF))
    assert cut.mode == "exact" or not copied
    wanted = [frame for frame in source if start - 1e-6 <= frame.time_s < end - 1e-6]
    clip = shown(dest)
    assert len(clip) == len(wanted)
    quality = [psnr(mine.planes, theirs.planes) for mine, theirs in zip(clip, wanted, strict=True)]
    assert min(quality) >= MIN_PSNR
    assert sum(value == float("inf") for value in quality) >= copied
    assert [frame.time_s for frame in clip] == pytest.approx(
        [frame.time_s - wanted[0].time_s for frame in wanted], abs=0.002
    )
    assert cut.span.start_s == pytest.approx(wanted[0].time_s)
    assert end - 0.1 < cut.span.end_s <= end + 1e-6
    # Other readers have ideas of their own about clips that begin between key frames.
    assert len(decord.VideoReader(str(dest))) == len(wanted)
    assert frames_seen_by_opencv(dest) == len(wanted)
    return cut.span


@pytest.mark.parametrize(("gop", "b_frames"), [(12, 0), (12, 2), (5, 3), (30, 2), (25, 4), (1, 0)])
def test_a_grid_of_spans(tmp_path: Path, gop: int, b_frames: int) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=4, scenes=(1.3, 2.9), gop=gop, b_frames=b_frames)
    source = shown(path)
    key = gop / 25
    starts = [0.0, 0.04, key, key + 0.04, max(0.0, key - 0.04), 0.61]
    ends = [4.0, 3.96, 3.2, 3.24, 3.28, 3.02, 2 * key + 1, 2.51]
    for start in starts:
        for end in ends:
            if end - start > 2 * key + 0.1:
                check(path, source, start, end, tmp_path / "clip.mp4", copied=1)


@pytest.mark.parametrize(("bframes", "pyramid"), [(3, "strict"), (7, "normal"), (16, "normal")])
def test_deep_pyramids_of_b_frames(tmp_path: Path, bframes: int, pyramid: str) -> None:
    params = f"bframes={bframes}:b-pyramid={pyramid}:b-adapt=0:ref=6:keyint=40:min-keyint=40:scenecut=0"
    path = x264_video(tmp_path / "film.mp4", params, frames=120)
    source = shown(path)
    for last in range(62, 80):
        check(path, source, 0.88, last / 25, tmp_path / "clip.mp4", copied=2)


def test_a_film_with_sound(tmp_path: Path) -> None:
    path, source = media.bunny(), shown(media.bunny())
    with av.open(str(path)) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.pts is not None]
    spans = [(0.0, 5.28), (0.0, 3.33), (keys[-1] - 0.2, 5.28), (keys[-1], 5.2)] if len(keys) > 1 else [(0.0, 3.33)]
    for start, end in spans:
        true = check(path, source, start, end, tmp_path / "clip.mp4", copied=1)
        with av.open(str(tmp_path / "clip.mp4")) as container:
            heard = [frame for frame in container.decode(audio=0) if frame.time is not None]
        assert heard[0].time == pytest.approx(0, abs=0.03)
        assert heard[-1].time == pytest.approx(true.duration_s, abs=0.05)


def test_a_film_of_the_street(tmp_path: Path) -> None:
    source = shown(media.bikes())
    for start, end in [(0.0, 10.0), (1.0, 9.48), (3.21, 7.77), (9.0, 10.0)]:
        check(media.bikes(), source, start, end, tmp_path / "clip.mp4", copied=0)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_variable_rate_in_any_container(tmp_path: Path, suffix: str) -> None:
    path = media.make_video(tmp_path / f"film.{suffix}", seconds=6, vfr=True, gop=8)
    source = shown(path)
    for start, end in [(0.2, 5.0), (1.0, 2.6), (2.4, 5.9), (3.1, 6.0)]:
        wanted = [frame.time_s for frame in source if start - 1e-6 <= frame.time_s < end - 1e-6]
        if wanted[0] - start < 0.05:
            check(path, source, start, end, tmp_path / "clip.mp4", copied=1)


def test_a_frame_that_is_on_display_at_the_start_opens_the_clip(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "slow.mp4", seconds=8, fps=5, gop=6)
    slow = slides(tmp_path / "slides.mp4")
    exact, full = tmp_path / "exact.mp4", tmp_path / "full.mp4"
    for film, start in ((path, 0.9), (slow, 3.7)):
        cut = cut_clip(str(film), Span(start_s=start, end_s=7.5), exact, mode="exact")
        whole = cut_clip(str(film), Span(start_s=start, end_s=7.5), full, mode="encode").span
        assert cut.mode == "exact"
        assert (cut.span.start_s, cut.span.end_s) == pytest.approx((whole.start_s, whole.end_s))
        times, expected = [f.time_s for f in shown(exact)], [f.time_s for f in shown(full)]
        assert times == pytest.approx(expected, abs=0.002)


def test_a_clip_of_a_clip(tmp_path: Path, film: Path) -> None:
    cut_clip(str(film), Span(start_s=0.3, end_s=3.7), tmp_path / "once.mp4", mode="exact", encoding=Encoding(crf=CRF))
    source = shown(tmp_path / "once.mp4")
    check(tmp_path / "once.mp4", source, 0.04, 3.2, tmp_path / "twice.mp4", copied=10)


def test_rotation_stays_metadata(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "phone.mp4", seconds=3, rotation=90)
    check(path, shown(path), 0.4, 2.6, tmp_path / "clip.mp4", copied=10)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert {round(frame.rotation) for frame in container.decode(video=0)} == {-90}


@pytest.mark.parametrize(
    "made",
    [
        {"codec": "libx265"},
        {"codec": "mpeg4"},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le"},
        {"gop": 250},
    ],
)
def test_what_cannot_be_copied_is_encoded(tmp_path: Path, made: dict[str, str | int]) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=2, **made)  # type: ignore[arg-type]
    cut = cut_clip(str(path), Span(start_s=0.52, end_s=1.52), tmp_path / "clip.mp4", mode="exact")
    assert cut.mode == "encode"
    true = cut.span
    assert (true.start_s, true.end_s) == pytest.approx((0.52, 1.52))
    assert len(shown(tmp_path / "clip.mp4")) == 25


@pytest.mark.parametrize("params", ["open-gop=1:bframes=3:keyint=12", "intra-refresh=1:keyint=12"])
def test_groups_that_lean_on_others_are_still_exact(tmp_path: Path, params: str) -> None:
    path = x264_video(tmp_path / "film.mp4", params, frames=60)
    true = cut_clip(str(path), Span(start_s=0.52, end_s=1.52), tmp_path / "clip.mp4", mode="exact").span
    assert (true.start_s, true.end_s) == pytest.approx((0.52, 1.52))
    assert len(shown(tmp_path / "clip.mp4")) == 25


def test_a_result_that_is_not_what_was_asked_for_is_not_kept(tmp_path: Path, film: Path) -> None:
    other = tmp_path / "other.mp4"
    cut_clip(str(film), Span(start_s=0.3, end_s=3.26), other, mode="exact")
    with open_source(str(film)) as source, av.open(str(tmp_path / "clip.mp4"), "w") as output:
        picture = ExactPicture(source, output, Span(start_s=0.3, end_s=3.3), crf=CRF)
        for packet in picture.packets():
            output.mux(packet)
    picture.check(tmp_path / "clip.mp4")
    with pytest.raises(NotExactError, match="does not hold the frames"):
        picture.check(other)


def test_a_scribbled_file_is_left_to_encode(tmp_path: Path) -> None:
    path = media.scribble(media.make_video(tmp_path / "film.mp4", seconds=6, faststart=True), 0.5, 0.52)
    cut = cut_clip(str(path), Span(start_s=0.5, end_s=5.5), tmp_path / "clip.mp4", mode="exact")
    assert cut.mode == "encode"
    assert (cut.span.start_s, cut.span.end_s) == pytest.approx((0.52, 5.5))
    times = [frame.time_s for frame in shown(tmp_path / "clip.mp4")]
    assert times == sorted(set(times))
    assert len(times) > 100


def x264_video(path: Path, params: str, *, frames: int) -> Path:
    """A moving picture, encoded with x264's own options."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"x264-params": params, "preset": "veryfast"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.thread_count = 160, 90, "yuv420p", 1
        for index in range(frames):
            picture = media.scene_picture(1, index / frames, width=160, height=90)
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def slides(path: Path) -> Path:
    """Ten pictures at 25 frames a second, then one every 1.3 s, with a key frame every second one."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"bf": "0"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.gop_size = 160, 90, "yuv420p", 2
        video.codec_context.time_base = Fraction(1, 1000)
        times = [40 * i for i in range(10)] + [400 + 1300 * i for i in range(7)]
        for index, time_ms in enumerate(times):
            frame = VideoFrame.from_ndarray(media.scene_picture(index, 0.3, width=160, height=90), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path
