"""Only formats of one file are opened, whatever a file is named, by every way to a decoder."""

from __future__ import annotations

import io
from contextlib import ExitStack, suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

import lvqa_ray
from lvqa_ray.demo.clip import sample
from lvqa_ray.demo.describe import NotAPicture
from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.audio.subtitles import Sidecar, read_sidecar
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.container import files_opened_by
from lvqa_ray.video.reader.container_formats import has_signature
from lvqa_ray.video.reader.media_info import probe
from tests import media
from tests.opened import watched
from tests.playlists import lists, private_film

BOTH = "both.ts"
"""A list and at the same time a film of its own, which may be read as such."""


def test_no_list_of_files_opens_one(tmp_path: Path) -> None:
    private = private_film(tmp_path)
    assert probe(str(private)).duration_sec > 0, "it could be read"
    made = dict(lists(private))
    for name, data in made.items():
        (tmp_path / name).write_bytes(data)
    with watched(private) as opened:
        for name, data in made.items():
            path = str(tmp_path / name)
            if name != BOTH:
                for elsewhere in (False, True):
                    with ExitStack() as stack:
                        if elsewhere:
                            stack.enter_context(files_opened_by(io.FileIO))
                        refused = stack.enter_context(pytest.raises(VideoError))
                        probe(path)
                    assert refused.value.kind is VideoFault.NOT_A_VIDEO
            else:
                probe(path)
            with pytest.raises(VideoError):
                sample_frames(path, [0.0], short_side=64, quality=80, reader="decord")
            with suppress(NotAPicture):
                sample(data)
            with pytest.raises(VideoError):
                read_sidecar(Sidecar((tmp_path / name).rename(tmp_path / "film.srt")))
    assert not opened


def test_a_list_is_named_as_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("\n<?xml version='1.0'?>\n<!-- x -->\n<MPD></MPD>")
    with pytest.raises(VideoError, match=r"film\.mp4 is a DASH manifest and not a video; what it names is never"):
        probe(str(path))


@pytest.mark.parametrize(
    "name",
    ["concat:private.ts", "file:private.ts", "crypto:private.ts", "subfile,,start,0,end,0,,:private.ts", "%03d.mp4"],
)
@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_no_file_name_is_taken_for_an_address(
    tmp_path: Path, name: str, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = private_film(tmp_path)
    media.make_video(tmp_path / "film.mp4").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with watched(private) as opened:
        assert probe(name).width == 160
        assert sample_frames(name, [0.0], short_side=64, quality=80, reader=reader)  # type: ignore[arg-type]
    assert not opened


CODECS = {
    "libx264": "mp4 m4v mkv ts h264",
    "mjpeg": "mov mjpeg",
    "mpeg4": "3gp avi",
    "libvpx-vp9": "webm",
    "mpeg2video": "m2ts mpg vob mxf m2v gxf wtv",
    "flv1": "flv swf",
    "wmv2": "wmv",
    "msmpeg4v3": "asf",
    "libtheora": "ogv",
    "gif": "gif",
    "apng": "apng",
    "ffv1": "nut",
    "rv20": "rm",
    "libx265": "hevc",
    "libvpx": "ivf",
    "wrapped_avframe": "y4m",
    "libsvtav1": "obu",
    "dvvideo": "dv",
}
FORMATS = {suffix: codec for codec, suffixes in CODECS.items() for suffix in suffixes.split()}
SIZES = {"dv": (720, 576), "gxf": (720, 576), "rm": (176, 144)}
PIXELS = {"gif": "rgb8", "apng": "rgb24", "mjpeg": "yuvj420p"}


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_formats_of_films_are_opened_by_content(tmp_path: Path, suffix: str) -> None:
    codec = FORMATS[suffix]
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    path = tmp_path / f"film.{suffix}"
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height = SIZES.get(suffix, (160, 96))
        video.pix_fmt = PIXELS.get(codec, "yuv420p")
        for index in range(10):
            pixels = np.full((video.height, video.width, 3), 20 * index, np.uint8)
            frame = VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts = index
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    if codec == "libsvtav1":
        media.lower_priority()
    named = path.rename(tmp_path / "film.mp4") if suffix != "mjpeg" else path
    assert probe(str(named)).height == SIZES.get(suffix, (160, 96))[1]
    with files_opened_by(io.FileIO):
        assert probe(str(named)).height
    assert has_signature(str(named)) or suffix in {
        "apng",
        "nut",
        "h264",
        "hevc",
        "ivf",
        "y4m",
        "mjpeg",
        "obu",
        "swf",
        "dv",
        "gxf",
        "wtv",
    }


@pytest.mark.parametrize("suffix", ["png", "jpg", "txt", "bmp"])
def test_pictures_and_texts_are_no_films(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film.{suffix}"
    if suffix == "txt":
        path.write_text("\x1b[31mA shopping list.\n" * 99)
    else:
        codec = {"jpg": "mjpeg"}.get(suffix, suffix)
        made = av.CodecContext.create(codec, "w")
        assert isinstance(made, VideoCodecContext)
        made.width, made.height, made.pix_fmt = 64, 64, {"jpg": "yuvj420p", "bmp": "bgr24"}.get(suffix, "rgb24")
        made.time_base = Fraction(1)
        (packet,) = made.encode(VideoFrame(64, 64, made.pix_fmt or "")) or made.encode(None)
        path.write_bytes(bytes(packet))
    with pytest.raises(VideoError) as refused:
        probe(str(path))
    assert refused.value.kind is VideoFault.NOT_A_VIDEO


def test_one_function_opens_containers_for_reading() -> None:
    """Any other call of the library would have to repeat what keeps lists of files from being opened."""
    package = Path(lvqa_ray.__file__).parent
    calls = {
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "av.open(" in line and '"w"' not in line
    }
    assert {call.partition(":")[0] for call in calls} == {"video/reader/container_formats.py"}


def test_a_pattern_of_picture_names_opens_none_of_them(tmp_path: Path) -> None:
    private = private_film(tmp_path).rename(tmp_path / "001.jpg")
    (tmp_path / "%03d.jpg").write_bytes(b"\xff\xd8\xff")
    with watched(private) as opened, pytest.raises(VideoError):
        probe(str(tmp_path / "%03d.jpg"))
    assert not opened
