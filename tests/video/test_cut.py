from __future__ import annotations

import math
from pathlib import Path

import av
import decord
import numpy as np
import pytest

from lvqa_ray.errors import ConfigError, VideoError, VideoFault
from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import CutMode, clip_name, cut_clip
from lvqa_ray.video.cutting.reencode import Encoding
from lvqa_ray.video.reader.media_info import probe
from tests import media
from tests.video.films import counted, transcoded, trimmed

both = pytest.mark.parametrize("mode", ["encode", "copy"])


def span(start: float, end: float) -> Span:
    return Span(start_s=start, end_s=end)


def decoded(path: Path) -> list[media.Picture]:
    with av.open(str(path)) as container:
        return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in container.decode(video=0)]


def psnr(left: media.Picture, right: media.Picture) -> float:
    error = np.mean((left.astype(float) - right.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def test_names_tell_clips_apart() -> None:
    names = {
        clip_name(span(10, 20), "encode", crf=23, preset="veryfast"),
        clip_name(span(10, 20.001), "encode", crf=23, preset="veryfast"),
        clip_name(span(10, 20), "encode", crf=24, preset="veryfast"),
        clip_name(span(10, 20), "copy"),
    }
    assert len(names) == 4
    assert "000010000-000020000_encode_crf-23_preset-veryfast.mp4" in names
    assert clip_name(span(0, 1), "copy", note="a/b c") == "000000000-000001000_copy_note-a-b-c.mp4"


@both
@pytest.mark.parametrize("wanted", [(0.0, 1.2), (1.2, 2.8), (2.8, 4.0), (1.0, 2.0)])
def test_a_clip_holds_its_span(tmp_path: Path, film: Path, mode: CutMode, wanted: tuple[float, float]) -> None:
    dest = tmp_path / "deep" / "clip.mp4"
    true = cut_clip(str(film), span(*wanted), dest, mode=mode).span
    source, clip = decoded(film), decoded(dest)
    first, last = round(true.start_s * 25), round(true.end_s * 25) - 1
    assert psnr(clip[0], source[first]) > 28
    assert psnr(clip[-1], source[last]) > 28
    if mode == "encode":
        assert (true.start_s, true.end_s) == pytest.approx(wanted)
        assert len(clip) == round((wanted[1] - wanted[0]) * 25)
    else:
        assert wanted[0] - 0.5 < true.start_s <= wanted[0]
        assert wanted[1] <= true.end_s + 1e-6 < wanted[1] + 0.2
    assert probe(str(dest)).duration_sec == pytest.approx(true.duration_s, abs=0.05)


@both
def test_sound_is_kept_in_step_or_left_out(tmp_path: Path, film: Path, mode: CutMode) -> None:
    with_sound, silent = tmp_path / "a.mp4", tmp_path / "b.mp4"
    true = cut_clip(str(film), span(1, 2), with_sound, mode=mode).span
    cut_clip(str(film), span(1, 2), silent, mode=mode, audio=False)
    assert not probe(str(silent)).has_audio
    with av.open(str(with_sound)) as container:
        heard = [frame for frame in container.decode(audio=0) if frame.time is not None]
    assert heard[0].time == pytest.approx(0, abs=0.03)
    assert heard[-1].time == pytest.approx(2 - true.start_s, abs=0.05)


def test_a_phone_video_stays_upright(tmp_path: Path, upright_phone: Path) -> None:
    cut_clip(str(upright_phone), span(0, 1), tmp_path / "encoded.mp4", mode="encode")
    cut_clip(str(upright_phone), span(0, 1), tmp_path / "copied.mp4", mode="copy")
    encoded, copied = probe(str(tmp_path / "encoded.mp4")), probe(str(tmp_path / "copied.mp4"))
    assert (encoded.width, encoded.height, encoded.rotation) == (90, 160, 0)
    assert (copied.width, copied.height, copied.rotation) == (90, 160, 90)
    first = decoded(tmp_path / "encoded.mp4")[0]
    assert psnr(first, np.ascontiguousarray(np.rot90(decoded(upright_phone)[0], -1))) > 28


def test_odd_sizes_are_made_even(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "odd.mp4", seconds=1, size=(161, 91), pix_fmt="yuv444p")
    cut_clip(str(path), span(0, 1), tmp_path / "clip.mp4", mode="encode")
    assert decoded(tmp_path / "clip.mp4")[0].shape == (90, 160, 3)


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "vfr.mp4", seconds=4, vfr=True)
    true = cut_clip(str(path), span(2.4, 3.6), tmp_path / "clip.mp4", mode="encode").span
    assert (true.start_s, true.end_s) == pytest.approx((2.4, 3.6))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    assert times == pytest.approx([0.12 * i for i in range(10)], abs=0.002)


@pytest.mark.parametrize("codec", ["libsvtav1", "libx265", "libvpx-vp9", "mpeg4"])
def test_any_codec_can_be_encoded_anew(tmp_path: Path, codec: str) -> None:
    path = media.make_video(tmp_path / "film.mkv", seconds=2, codec=codec)
    true = cut_clip(str(path), span(0.52, 1.52), tmp_path / "clip.mp4", mode="encode").span
    assert (true.start_s, true.end_s) == pytest.approx((0.52, 1.52))
    assert len(decoded(tmp_path / "clip.mp4")) == 25


@pytest.mark.parametrize(
    ("codec", "suffix"),
    [("libx264", "mkv"), ("libx264", "mp4"), ("libx264", "ts"), ("libx265", "mkv"), ("libvpx-vp9", "webm"),
     ("libsvtav1", "mp4"), ("mpeg4", "mkv")],
)  # fmt: skip
def test_a_copied_clip_holds_the_very_pictures_of_its_span(tmp_path: Path, codec: str, suffix: str) -> None:
    """All that are shown from its true start to its true end, also where B-frames follow what they depend on."""
    path = transcoded(tmp_path / f"film.{suffix}", media.bikes(), codec, seconds=3)
    source = [picture for _, picture in timed(path)]
    times = [time for time, _ in timed(path)]
    for wanted in ((0.0, 1.0), (1.3, 2.0)):
        true = cut_clip(str(path), span(*wanted), tmp_path / "clip.mp4", mode="copy", audio=False).span
        assert true.start_s <= wanted[0]
        assert wanted[1] - 0.12 < true.end_s < wanted[1] + 0.6  # a frame may be shown for longer than it says
        shown = [i for i, time in enumerate(times) if true.start_s - 1e-3 <= time < true.end_s - 1e-3]
        clip = timed(tmp_path / "clip.mp4")
        assert [time for time, _ in clip] == pytest.approx([times[i] - true.start_s for i in shown], abs=2e-3)
        assert all(np.array_equal(picture, source[i]) for i, (_, picture) in zip(shown, clip, strict=True))


def test_what_an_edit_list_leaves_out_is_not_copied(tmp_path: Path) -> None:
    path = trimmed(tmp_path / "film.mov", counted(tmp_path / "film.mp4", "libx264"), 0.52)
    true = cut_clip(str(path), span(0, 1), tmp_path / "clip.mp4", mode="copy").span
    assert true.start_s == 0
    source, clip = timed(path), timed(tmp_path / "clip.mp4")
    assert len(clip) >= 25
    for (shown, picture), (time, theirs) in zip(clip, source, strict=False):
        assert shown == pytest.approx(time)
        assert np.array_equal(picture, theirs)


def timed(path: Path) -> list[tuple[float, media.Picture]]:
    """All pictures, with their times from the first."""
    with av.open(str(path)) as container:
        found = [(float(frame.time or 0), frame.to_ndarray(format="gray")) for frame in container.decode(video=0)]
    return [(time - found[0][0], np.asarray(picture, np.uint8)) for time, picture in found]


def test_what_cannot_be_copied_is_said_with_the_way_out(tmp_path: Path) -> None:
    old = media.make_video(tmp_path / "film.webm", seconds=1, codec="libvpx")
    untimed = media.make_video(tmp_path / "film.h264", seconds=1)
    for path, says in ((old, "vp8, which does not go into an MP4"), (untimed, "when its frames are shown")):
        with pytest.raises(VideoError, match=f'{says}, so that it cannot be copied; use "exact" or "encode"'):
            cut_clip(str(path), span(0, 0.5), tmp_path / "clip.mp4", mode="copy")


@pytest.mark.parametrize("fps", [10.0, 12.5, 29.97, 50.0])
def test_a_rate_of_its_own(tmp_path: Path, fps: float) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=3, vfr=True)
    true = cut_clip(str(path), span(0.52, 2.52), tmp_path / "clip.mp4", mode="encode", encoding=Encoding(fps=fps)).span
    with av.open(str(path)) as container:
        source = [(frame.time or 0.0, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(tmp_path / "clip.mp4")) as container:
        clip = [(frame.time or 0.0, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [time for time, _ in clip] == pytest.approx([i / fps for i in range(len(clip))], abs=0.001)
    assert len(clip) == math.ceil(round(true.duration_s * fps, 3))
    for time, picture in clip:
        on_display = [shown for begin, shown in source if begin <= true.start_s + time + 1e-3][-1]
        assert psnr(np.asarray(picture, np.uint8), np.asarray(on_display, np.uint8)) > 28


def test_a_size_of_its_own(tmp_path: Path, upright_phone: Path, film: Path) -> None:
    for path, size in ((film, (114, 64)), (upright_phone, (64, 114))):
        cut_clip(str(path), span(0, 1), tmp_path / "clip.mp4", mode="encode", encoding=Encoding(short_side=64))
        info = probe(str(tmp_path / "clip.mp4"))
        assert (info.width, info.height) == size
    cut_clip(str(film), span(0, 1), tmp_path / "clip.mp4", mode="encode", encoding=Encoding(short_side=720))
    assert probe(str(tmp_path / "clip.mp4")).width == 160


def test_a_codec_of_its_own(tmp_path: Path, film: Path) -> None:
    cut_clip(str(film), span(1, 2), tmp_path / "clip.mp4", mode="encode", encoding=Encoding(codec="libx265"))
    assert probe(str(tmp_path / "clip.mp4")).codec == "hevc"
    assert b"hvc1" in (tmp_path / "clip.mp4").read_bytes()
    clip = decoded(tmp_path / "clip.mp4")
    assert len(clip) == 25
    assert psnr(clip[0], decoded(film)[25]) > 28
    assert len(decord.VideoReader(str(tmp_path / "clip.mp4"))) == 25


@pytest.mark.parametrize(("matrix", "full_range"), [(1, False), (1, True), (6, False), (2, False)])
def test_colours_stay_what_they_are(tmp_path: Path, matrix: int, full_range: bool) -> None:
    path = media.make_bars(tmp_path / "bars.mp4", matrix=matrix, full_range=full_range)
    cut_clip(str(path), span(0, 0.2), tmp_path / "clip.mp4", mode="encode", encoding=Encoding(crf=4))
    with av.open(str(path)) as one, av.open(str(tmp_path / "clip.mp4")) as other:
        source, clip = next(one.decode(video=0)), next(other.decode(video=0))
    assert (clip.colorspace, clip.color_range) == (source.colorspace, source.color_range)
    assert psnr(np.asarray(clip.to_ndarray(), np.uint8), np.asarray(source.to_ndarray(), np.uint8)) > 40


@both
def test_a_span_past_the_end_leaves_nothing_behind(tmp_path: Path, film: Path, mode: CutMode) -> None:
    with pytest.raises(VideoError) as caught:
        cut_clip(str(film), span(9, 10), tmp_path / "clips" / "clip.mp4", mode=mode)
    assert caught.value.kind is VideoFault.NO_FRAMES
    assert list((tmp_path / "clips").iterdir()) == []


@both
def test_a_broken_source_leaves_an_old_clip_alone(tmp_path: Path, mode: CutMode) -> None:
    broken, dest = tmp_path / "broken.mp4", tmp_path / "clips" / "clip.mp4"
    broken.write_text("no video")
    dest.parent.mkdir()
    dest.write_bytes(b"a clip")
    with pytest.raises(VideoError):
        cut_clip(str(broken), span(0, 1), dest, mode=mode)
    assert dest.read_bytes() == b"a clip"
    assert list(dest.parent.iterdir()) == [dest]


def test_a_garbage_file_in_the_clip_s_place_is_replaced(tmp_path: Path, film: Path) -> None:
    dest = tmp_path / "clip.mp4"
    dest.write_bytes(b"garbage")
    cut_clip(str(film), span(0, 1), dest, mode="encode")
    assert len(decoded(dest)) == 25


def test_a_place_that_cannot_be_written_is_no_fault_of_the_video(tmp_path: Path, film: Path) -> None:
    (tmp_path / "clips").write_text("a file where a folder should be")
    with pytest.raises(ConfigError, match="Cannot write"):
        cut_clip(str(film), span(0, 1), tmp_path / "clips" / "clip.mp4", mode="copy")


def test_a_file_cut_short_is_cut_as_far_as_it_goes(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=6, audio_seconds=6, faststart=True)
    media.truncate(path, 0.6)
    end = probe(str(path)).duration_sec
    true = cut_clip(str(path), span(3, 6), tmp_path / "clip.mp4", mode="encode").span
    assert (true.start_s, true.end_s) == pytest.approx((3, end), abs=0.05)
