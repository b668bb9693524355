from __future__ import annotations

import pickle
import shutil
import struct
import time
from hashlib import shake_256
from pathlib import Path

import pytest

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import VideoInfo
from lvqa_ray.video.reader.media_info import probe
from tests import media


def fault(path: Path) -> VideoFault:
    with pytest.raises(VideoError) as caught:
        probe(str(path))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert pickle.loads(pickle.dumps(caught.value)).kind is caught.value.kind  # noqa: S301 - our own bytes
    kind: VideoFault = caught.value.kind
    return kind


def test_what_a_plain_video_is(film: Path) -> None:
    info = probe(str(film))
    assert info == VideoInfo(
        num_frames=100, height=90, width=160, fps=25.0, duration_sec=4.0, codec="h264", has_audio=True
    )
    assert info.aspect_ratio == 160 / 90
    assert info.resolution == 14_400


@pytest.mark.parametrize(
    ("path", "frames", "duration"),
    [(media.bikes(), 250, 10.0), (media.bunny(), 132, 5.28), (media.carphone(), 120, 4.004)],
)
def test_real_clips(path: Path, frames: int, duration: float) -> None:
    info = probe(str(path))
    assert info.num_frames == frames
    assert info.duration_sec == pytest.approx(duration)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_sound_that_goes_on_longer_does_not_count(tmp_path: Path, suffix: str) -> None:
    info = probe(str(media.make_video(tmp_path / f"film.{suffix}", seconds=2, audio_seconds=5)))
    assert info.duration_sec == pytest.approx(2.0)
    assert info.num_frames == 50
    assert info.partial == ""


@pytest.mark.parametrize(("rotation", "size"), [(0, (160, 90)), (90, (90, 160)), (180, (160, 90)), (270, (90, 160))])
def test_a_phone_video_is_measured_as_it_is_shown(tmp_path: Path, rotation: int, size: tuple[int, int]) -> None:
    info = probe(str(media.make_video(tmp_path / "phone.mp4", seconds=0.4, rotation=rotation)))
    assert (info.width, info.height, info.rotation) == (*size, rotation)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_single_frame_is_a_video(tmp_path: Path, suffix: str) -> None:
    info = probe(str(media.make_video(tmp_path / f"one.{suffix}", seconds=0.04)))
    assert info.num_frames == 1
    assert info.duration_sec == pytest.approx(0.04)


def test_a_variable_rate(tmp_path: Path) -> None:
    info = probe(str(media.make_video(tmp_path / "vfr.mp4", seconds=6, vfr=True)))
    assert info.num_frames == 100
    assert info.duration_sec == pytest.approx(6.0, abs=0.13)


def test_odd_sizes_are_fine(tmp_path: Path) -> None:
    info = probe(str(media.make_video(tmp_path / "odd.mp4", size=(161, 91), pix_fmt="yuv444p")))
    assert (info.width, info.height) == (161, 91)


@pytest.mark.parametrize("codec", ["libsvtav1", "libx265", "libvpx-vp9", "mpeg4"])
def test_codecs_go_by_their_own_name(tmp_path: Path, codec: str) -> None:
    info = probe(str(media.make_video(tmp_path / "film.mp4", seconds=0.4, codec=codec)))
    assert info.codec == {"libsvtav1": "av1", "libx265": "hevc", "libvpx-vp9": "vp9", "mpeg4": "mpeg4"}[codec]


def test_a_raw_stream_without_times_is_counted(tmp_path: Path) -> None:
    info = probe(str(media.make_video(tmp_path / "film.h264")))
    assert info.num_frames == 50
    assert info.duration_sec == pytest.approx(2.0)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    assert fault(tmp_path / "nowhere.mp4") is VideoFault.MISSING_FILE
    assert fault(tmp_path) is VideoFault.UNREADABLE


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", VideoFault.EMPTY_FILE),
        (b"This is a shopping list.\n" * 99, VideoFault.NOT_A_VIDEO),
        # Fixed bytes: FFmpeg takes about 1 in 300 random files for H.263.
        (shake_256(b"noise").digest(50_000), VideoFault.NOT_A_VIDEO),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfilm.ts\n#EXT-X-ENDLIST\n", VideoFault.NOT_A_VIDEO),
        (b"1\n00:00:00,000 --> 00:00:01,000\nhello\n\n", VideoFault.NOT_A_VIDEO),
    ],
    ids=["empty", "text", "noise", "playlist", "subtitles"],
)
def test_what_is_no_video(tmp_path: Path, content: bytes, kind: VideoFault) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)
    assert fault(path) is kind


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    assert fault(media.make_sound(tmp_path / "song.mp4")) is VideoFault.NO_VIDEO_STREAM
    assert fault(media.make_sound(tmp_path / "song.mkv", cover=True)) is VideoFault.NO_VIDEO_STREAM


def test_a_file_cut_short_before_its_index(tmp_path: Path, film: Path) -> None:
    path = media.truncate(Path(shutil.copy(film, tmp_path)), 0.6)
    assert fault(path) is VideoFault.UNREADABLE
    with pytest.raises(VideoError, match=r"index \(moov\)"):
        probe(str(path))


@pytest.mark.parametrize(("suffix", "audio"), [("mp4", 0), ("mp4", 6), ("mkv", 0)])
def test_a_file_cut_short_after_its_index_is_used_in_part(tmp_path: Path, suffix: str, audio: float) -> None:
    path = media.make_video(tmp_path / f"film.{suffix}", seconds=6, audio_seconds=audio, faststart=suffix == "mp4")
    info = probe(str(media.truncate(path, 0.6)))
    assert "promises 6.0 s" in info.partial
    assert 2 < info.duration_sec < 5
    assert info.num_frames == round(info.duration_sec * 25)


def test_no_picture_that_can_be_decoded(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", faststart=True)
    path.write_bytes(path.read_bytes()[: path.read_bytes().index(b"mdat") + 5])
    assert fault(path) is VideoFault.NO_FRAMES


def test_absurd_sizes_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    wide = media.make_video(tmp_path / "wide.mp4", seconds=0.08, codec="mjpeg", pix_fmt="yuvj420p", size=(20_000, 16))
    assert fault(wide) is VideoFault.BAD_DIMENSIONS


def test_a_picture_of_no_size(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "flat.avi", seconds=0.2, codec="rawvideo", pix_fmt="bgr24", size=(64, 32))
    data = path.read_bytes()
    for height in (32, -32):
        data = data.replace(struct.pack("<ii", 64, height), struct.pack("<ii", 0, 0))
    path.write_bytes(data)
    assert fault(path) is VideoFault.BAD_DIMENSIONS


def test_a_rate_of_zero_in_the_header(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.mp4", seconds=1, b_frames=0)
    data = bytearray(path.read_bytes())
    table = data.index(b"stts") + 8  # one entry: 25 frames of 512 ticks
    assert struct.unpack(">III", data[table : table + 12]) == (1, 25, 512)
    data[table + 8 : table + 12] = bytes(4)
    path.write_bytes(data)
    assert probe(str(path)).fps > 0  # the track still says how long it is
    for box, offset in ((b"mdhd", 20), (b"mvhd", 20), (b"tkhd", 24)):
        duration = data.index(box) + offset
        data[duration : duration + 4] = bytes(4)
    path.write_bytes(data)
    assert fault(path) is VideoFault.NO_DURATION


def test_a_rate_of_zero_that_the_stream_itself_mends(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.avi", seconds=1, codec="mpeg4")
    data = bytearray(path.read_bytes())
    rate = data.index(b"strh") + 32
    assert struct.unpack("<I", data[rate : rate + 4]) == (25,)
    data[rate : rate + 4] = bytes(4)
    path.write_bytes(data)
    assert probe(str(path)).fps == 25


def test_probing_does_not_read_the_file_through(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "long.mp4", seconds=240, fps=10, size=(64, 36))
    began = time.process_time()
    assert probe(str(path)).num_frames == 2400
    assert time.process_time() - began < 0.5
