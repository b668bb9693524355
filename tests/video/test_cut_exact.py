"""Exact clips hold the frames that they should: every one is decoded and compared with the source's."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import numpy.typing as npt
import pytest

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import ClipFile, CutMode, cut_clip
from lvqa_ray.video.cutting.reencode import LONG_FRAME, Encoding
from lvqa_ray.video.reader.media_info import probe
from tests import media
from tests.video.films import joined, slides, x264_video

Planes = npt.NDArray[np.uint8]
MIN_PSNR = 35
ENCODING = Encoding(crf=20)


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


def within(frames: Sequence[Shown], start: float, end: float) -> list[Shown]:
    return [frame for frame in frames if start - 1e-6 <= frame.time_s < end - 1e-6]


def check(
    path: Path,
    source: list[Shown],
    start: float,
    end: float,
    dest: Path,
    *,
    mode: CutMode | None = "exact",
    copied: int = 1,
) -> ClipFile:
    """Cut and compare every frame; at least ``copied`` of them must be identical where the mode is exact."""
    made = cut_clip(str(path), Span(start_s=start, end_s=end), dest, mode="exact", encoding=ENCODING)
    assert mode in (None, made.mode)
    wanted, clip = within(source, start, end), shown(dest)
    assert len(clip) == len(wanted)
    quality = [psnr(mine.planes, theirs.planes) for mine, theirs in zip(clip, wanted, strict=True)]
    assert min(quality) >= MIN_PSNR
    assert made.mode == "encode" or sum(value == float("inf") for value in quality) >= copied
    times = [frame.time_s - wanted[0].time_s for frame in wanted]
    assert [frame.time_s for frame in clip] == pytest.approx(times, abs=0.002)
    assert made.span.start_s == pytest.approx(wanted[0].time_s, abs=0.002)
    assert wanted[-1].time_s < made.span.end_s <= max(end, wanted[-1].time_s + 0.05) + 1e-6
    return made


@pytest.mark.parametrize(("gop", "b_frames"), [(12, 0), (12, 2), (5, 3), (25, 4), (1, 0)])
def test_a_grid_of_spans(tmp_path: Path, gop: int, b_frames: int) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=4, scenes=(1.3, 2.9), gop=gop, b_frames=b_frames)
    source = shown(path)
    key = gop / 25
    for start in [0.0, 0.04, key, key + 0.04, max(0.0, key - 0.04)]:
        for end in [4.0, 3.24, 2 * key + 1]:
            check(path, source, start, end, tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("suffix", "params", "rate", "spans"),
    [
        ("mp4", "bframes=3:keyint=30:min-keyint=30:scenecut=0", Fraction(25), 20),
        ("mkv", "bframes=2:keyint=25", Fraction(30000, 1001), 20),
        ("ts", "bframes=2:keyint=25:slices=3", Fraction(30000, 1001), 20),
        ("flv", "bframes=0:cabac=0:8x8dct=0:keyint=20", Fraction(25), 8),
        ("mp4", "bframes=3:open-gop=1:keyint=12", Fraction(25), 8),
        ("mp4", "keyint=250:min-keyint=250:scenecut=0", Fraction(25), 8),
        ("mp4", "intra-refresh=1:keyint=12", Fraction(25), 8),
    ],
)
def test_any_span_of_any_film(tmp_path: Path, suffix: str, params: str, rate: Fraction, spans: int) -> None:
    """Random spans, half of them from frame to frame; whether they can be copied in part or not."""
    path = x264_video(tmp_path / f"film.{suffix}", params, frames=300 if "250" in params else 130, rate=rate)
    source = shown(path)
    chance = random.Random(params)  # noqa: S311 - spans, no secrets
    modes = set()
    for _ in range(spans):
        start = chance.uniform(0, source[-1].time_s - 0.2)
        if chance.random() < 0.5:
            start = min((frame.time_s for frame in source), key=lambda time: abs(time - start))
        end = chance.uniform(start + 0.1, source[-1].time_s)
        modes.add(check(path, source, start, end, tmp_path / "clip.mp4", mode=None).mode)
    assert "exact" in modes or "open-gop" in params or "intra-refresh" in params


@pytest.mark.parametrize("params", ["bframes=3:b-pyramid=strict", "bframes=16:b-pyramid=normal"])
def test_deep_pyramids_of_b_frames(tmp_path: Path, params: str) -> None:
    params += ":b-adapt=0:ref=6:keyint=40:min-keyint=40:scenecut=0"
    path = x264_video(tmp_path / "film.mp4", params, frames=100)
    source = shown(path)
    for last in range(62, 80):
        check(path, source, 0.88, last / 25, tmp_path / "clip.mp4", copied=2)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_variable_rate_keeps_its_times(tmp_path: Path, suffix: str) -> None:
    path = media.make_video(tmp_path / f"film.{suffix}", seconds=6, vfr=True, gop=8)
    source = shown(path)
    for start, end in [(0.2, 5.0), (1.0, 2.6), (2.4, 5.9)]:
        assert within(source, start, end)[0].time_s - start < LONG_FRAME / 25
        check(path, source, start, end, tmp_path / "clip.mp4")


def test_a_frame_that_is_on_display_at_the_start_opens_the_clip(tmp_path: Path) -> None:
    path, exact, full = slides(tmp_path / "slides.mp4"), tmp_path / "exact.mp4", tmp_path / "full.mp4"
    span = Span(start_s=3.2, end_s=7.5)
    one, other = cut_clip(str(path), span, exact, mode="exact"), cut_clip(str(path), span, full, mode="encode")
    assert one.mode == "exact"
    assert (one.span.start_s, one.span.end_s) == pytest.approx((other.span.start_s, other.span.end_s))
    assert [f.time_s for f in shown(exact)] == pytest.approx([f.time_s for f in shown(full)], abs=0.002)
    assert one.span.start_s == 3.2  # where that frame is on display since 3.0 s


@pytest.mark.parametrize("params", ["bframes=0:keyint=20", "bframes=3:keyint=25"])
def test_every_reader_sees_every_frame(tmp_path: Path, params: str) -> None:
    path, clip = x264_video(tmp_path / "film.mp4", params, frames=120), tmp_path / "clip.mp4"
    source = shown(path)
    for start, end in [(0.36, 3.52), (0.0, 4.04), (1.2, 4.8)]:
        made = check(path, source, start, end, clip)
        count = len(within(source, start, end))
        capture = cv2.VideoCapture(str(clip))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == count
        seen = [picture for read, picture in iter(capture.read, (False, None)) if read]
        assert len(seen) == count
        frames = decord.VideoReader(str(clip)).get_batch(range(count)).asnumpy()
        assert len(decord.VideoReader(str(clip))) == len(frames) == count
        with av.open(str(clip)) as container:
            container.streams.video[0].thread_type = "FRAME"
            container.streams.video[0].thread_count = 4
            parallel = [frame.to_ndarray() for frame in container.decode(video=0)]
        assert all(np.array_equal(a, b.planes) for a, b in zip(parallel, shown(clip), strict=True))
        info = probe(str(clip))
        assert info.num_frames == count
        assert info.duration_sec == pytest.approx(made.span.duration_s, abs=0.005)


@pytest.mark.parametrize("mode", ["exact", "encode", "copy"])
def test_sound_stays_in_step(tmp_path: Path, film: Path, mode: CutMode) -> None:
    """Each packet of sound is heard as long after the first picture as in the source."""
    made = cut_clip(str(film), Span(start_s=0.6, end_s=3.1), tmp_path / "clip.mp4", mode=mode)
    assert made.mode == mode
    original, kept = sound_packets(film), sound_packets(tmp_path / "clip.mp4")
    for data, times in kept.items():
        for time in times:
            assert min(abs(made.span.start_s + time - at) for at in original[data]) < 0.002
    heard = sorted(time for times in kept.values() for time in times)
    assert 0 <= heard[0] < 1024 / media.AUDIO_RATE
    assert 3.1 - made.span.start_s - 2 * 1024 / media.AUDIO_RATE < heard[-1] < 3.1 - made.span.start_s
    cut_clip(str(film), Span(start_s=0.6, end_s=3.1), tmp_path / "silent.mp4", mode=mode, audio=False)
    assert not probe(str(tmp_path / "silent.mp4")).has_audio


def test_a_clip_of_a_clip(tmp_path: Path, film: Path) -> None:
    cut_clip(str(film), Span(start_s=0.3, end_s=3.7), tmp_path / "once.mp4", mode="exact", encoding=ENCODING)
    source = shown(tmp_path / "once.mp4")
    check(tmp_path / "once.mp4", source, 0.04, 3.2, tmp_path / "twice.mp4", copied=10)


def test_rotation_stays_metadata(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "phone.mp4", seconds=3, rotation=90)
    check(path, shown(path), 0.4, 2.6, tmp_path / "clip.mp4", copied=10)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        assert {round(frame.rotation) for frame in container.decode(video=0)} == {-90}


@pytest.mark.parametrize(("pix_fmt", "colour_range"), [("yuv420p", 1), ("yuvj420p", 2)])
def test_colours_keep_their_meaning(tmp_path: Path, pix_fmt: str, colour_range: int) -> None:
    path = tmp_path / "film.mp4"
    x264_video(path, "keyint=20:bframes=2", frames=80, pix_fmt=pix_fmt, colour_range=colour_range, aspect=(4, 3))
    check(path, shown(path), 0.4, 2.72, tmp_path / "clip.mp4", copied=20)
    with av.open(str(tmp_path / "clip.mp4")) as container:
        kinds = {(f.colorspace, f.color_primaries, f.color_trc, f.color_range) for f in container.decode(video=0)}
        assert kinds == {(1, 1, 1, colour_range)}
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    cut_clip(str(path), Span(start_s=0.4, end_s=2.72), tmp_path / "full.mp4", mode="encode")
    for name in ("clip.mp4", "full.mp4"):
        with av.open(str(tmp_path / name)) as container:
            next(container.decode(video=0))  # one that was encoded anew: what it says itself, whatever its header says
            assert container.streams.video[0].codec_context.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize(
    "made",
    [
        {"codec": "libx265"},
        {"codec": "libvpx-vp9", "suffix": "mkv"},
        {"codec": "libsvtav1"},
        {"codec": "mpeg4"},
        {"codec": "mpeg2video", "suffix": "ts"},
        {"pix_fmt": "yuv444p"},
        {"pix_fmt": "yuv420p10le"},
    ],
)
def test_what_cannot_be_copied_is_encoded_and_says_so(tmp_path: Path, made: dict[str, Any]) -> None:
    path = media.make_video(tmp_path / f"film.{made.pop('suffix', 'mp4')}", seconds=2, **made)
    clip = cut_clip(str(path), Span(start_s=0.52, end_s=1.52), tmp_path / "clip.mp4", mode="exact", encoding=ENCODING)
    full = cut_clip(str(path), Span(start_s=0.52, end_s=1.52), tmp_path / "full.mp4", mode="encode", encoding=ENCODING)
    assert clip == full
    assert clip.mode == "encode"
    assert (tmp_path / "clip.mp4").read_bytes() == (tmp_path / "full.mp4").read_bytes()
    assert len(shown(tmp_path / "clip.mp4")) == 25


def test_a_span_without_a_key_frame_is_encoded_fast(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=2, gop=250)
    check(path, shown(path), 0.52, 1.52, tmp_path / "clip.mp4", mode="encode")
    full = replace(ENCODING, preset="ultrafast")
    cut_clip(str(path), Span(start_s=0.52, end_s=1.52), tmp_path / "full.mp4", mode="encode", encoding=full)
    assert (tmp_path / "clip.mp4").read_bytes() == (tmp_path / "full.mp4").read_bytes()


def test_a_head_is_decoded_from_a_key_frame_that_frames_are_shown_across(tmp_path: Path) -> None:
    """As broadcasters and web encoders make them: mostly open groups of pictures, now and then a closed one."""
    params = "bframes=3:open-gop=1:keyint=12:min-keyint=12:scenecut=0"
    path = x264_video(tmp_path / "film.mp4", params, frames=90, idr=(40, 80))
    source = shown(path)
    for start in (0.6, 0.88, 1.04, 1.56):
        check(path, source, start, 2.4, tmp_path / "clip.mp4", copied=10)


def test_interlaced_video_is_encoded(tmp_path: Path) -> None:
    path = x264_video(tmp_path / "film.mp4", "tff=1:bframes=2:keyint=25", frames=60, flags="+ildct+ilme")
    check(path, shown(path), 0.52, 1.92, tmp_path / "clip.mp4", mode="encode", copied=0)


def test_a_stream_that_changes_its_parameters_is_encoded(tmp_path: Path) -> None:
    """Two films in one transport stream, whose parameters have the same number and other contents."""
    halves = [
        x264_video(tmp_path / f"{name}.ts", params, frames=50)
        for name, params in [("a", "keyint=20:ref=1:bframes=0"), ("b", "keyint=20:ref=4:bframes=0")]
    ]
    path = joined(tmp_path / "film.ts", halves)
    check(path, shown(path), 0.52, 3.2, tmp_path / "clip.mp4", mode="encode", copied=0)


@pytest.mark.parametrize(
    ("begin", "end", "mode"),
    [
        (0.5, 0.52, "encode"),
        (0.3, 0.31, "encode"),
        (0.7, 0.75, "encode"),
        (0.2, 0.6, "exact"),  # the index has lost all before 3.36 s, and what it still knows is whole
    ],
)
def test_a_scribbled_file_gives_what_encode_gives(tmp_path: Path, begin: float, end: float, mode: CutMode) -> None:
    path = media.scribble(media.make_video(tmp_path / "film.mp4", seconds=6, faststart=True), begin, end)
    span = Span(start_s=0.5, end_s=5.5)
    exact = cut_clip(str(path), span, tmp_path / "exact.mp4", mode="exact")
    encode = cut_clip(str(path), span, tmp_path / "encode.mp4", mode="encode")
    assert exact == replace(encode, mode=mode)
    times = [frame.time_s for frame in shown(tmp_path / "exact.mp4")]
    assert len(times) == len(shown(tmp_path / "encode.mp4")) > 50
    assert all(later > earlier for earlier, later in pairwise(times))


@pytest.mark.parametrize("fraction", [0.6, 0.9])
def test_a_file_cut_short_is_cut_as_far_as_it_goes(tmp_path: Path, fraction: float) -> None:
    path = media.truncate(media.make_video(tmp_path / "film.mp4", seconds=6, faststart=True), fraction)
    span = Span(start_s=1, end_s=6)
    exact = cut_clip(str(path), span, tmp_path / "exact.mp4", mode="exact")
    encode = cut_clip(str(path), span, tmp_path / "encode.mp4", mode="encode")
    assert (exact.span.start_s, exact.span.end_s) == pytest.approx((encode.span.start_s, encode.span.end_s))
    assert len(shown(tmp_path / "exact.mp4")) == len(shown(tmp_path / "encode.mp4"))


def test_a_span_past_the_end_leaves_nothing_behind(tmp_path: Path, film: Path) -> None:
    with pytest.raises(VideoError):
        cut_clip(str(film), Span(start_s=9, end_s=10), tmp_path / "clips" / "clip.mp4", mode="exact")
    assert list((tmp_path / "clips").iterdir()) == []


def test_a_clip_late_in_a_film_reads_no_more_than_an_early_one(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mkv", seconds=60, gop=25)
    sizes = []
    for start in (2.3, 55.3):
        before = bytes_read()
        made = cut_clip(str(path), Span(start_s=start, end_s=start + 3), tmp_path / "clip.mp4", mode="exact")
        assert made.mode == "exact"
        sizes.append(bytes_read() - before)
    assert sizes[1] < 1.5 * sizes[0]


def sound_packets(path: Path) -> dict[bytes, list[float]]:
    """When each packet of sound is heard, in seconds after the first picture, by what is in it."""
    found: dict[bytes, list[float]] = {}
    with av.open(str(path)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        start = float((picture.start_time or 0) * (picture.time_base or 1))
        for packet in container.demux(sound):
            if packet.pts is not None:
                found.setdefault(bytes(packet), []).append(float(packet.pts * packet.time_base) - start)
    return found


def bytes_read() -> int:
    """Bytes that this process has asked the system for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("rchar")))
