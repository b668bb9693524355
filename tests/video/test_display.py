"""Pictures are shown as players show them: turned, mirrored, with square pixels, and HDR as SDR."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import simplejpeg
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import CutMode, cut_clip
from lvqa_ray.video.cutting.reencode import Encoding
from lvqa_ray.video.frames.contact_sheet import contact_sheet
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.frames.hdr import tone_mapped
from lvqa_ray.video.frames.jpeg import Pixels
from lvqa_ray.video.reader.display import Orientation
from lvqa_ray.video.reader.media_info import probe
from lvqa_ray.video.scenes.clip_builder import FrameSampling
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.spans import ScenePlan
from tests import cases
from tests.video.detected import scenes_with_frames
from tests.video.odd import CORNERS, PATCHES, corners

TURNED = {90: "blue red white green", 180: "white blue green red", 270: "green white red blue"}
SECOND = Span(start_s=0, end_s=1)


def ways(path: Path, folder: Path) -> dict[str, Pixels]:
    """The first picture of a video, as every part of the package shows it."""
    shown = str(path)
    sampled = {"sampled": sample_frames(shown, [0.0], short_side=120, quality=95)[0].jpeg}
    for mode in ("encode", "copy", "exact"):
        cut_clip(shown, SECOND, folder / f"{mode}.mp4", mode=mode)
        sampled[mode] = sample_frames(str(folder / f"{mode}.mp4"), [0.0], short_side=120, quality=95)[0].jpeg
    settings = FrameSampling(count=1, fps=None, short_side=120, quality=95)
    ((_, frames), *_) = scenes_with_frames(shown, detection=Detection(), plan=ScenePlan(max_s=9), sampling=settings)
    sampled["scenes"] = frames[0].jpeg
    seen = contact_sheet(shown, [SECOND], short_side=120, quality=95)
    assert seen is not None
    sampled["strip"] = seen.jpeg
    return {way: simplejpeg.decode_jpeg(jpeg) for way, jpeg in sampled.items()}


def turned(path: Path, degrees: float, to: Path, *, hflip: bool = False) -> Path:
    """A video with another display matrix."""
    with av.open(str(path)) as source, av.open(str(to), "w") as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        assert isinstance(stream, VideoStream)
        stream.set_display_rotation(degrees, hflip=hflip)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return to


@pytest.mark.parametrize("name", CORNERS)
def test_mirrored_display_matrices(tmp_path: Path, name: str) -> None:
    path = cases.folder("14") / f"{name}.mp4"
    info = probe(str(path))
    for way, pixels in ways(path, tmp_path).items():
        assert (way, corners(pixels)) == (way, CORNERS[name])
        assert pixels.shape[:2] == (info.height, info.width)
    if Orientation(*{"m_hflip": (False, True)}.get(name, (False, False))).mirrored:
        with pytest.raises(VideoError, match="mirrored"):
            sample_frames(str(path), [0.0], short_side=120, quality=95, reader="decord")


@pytest.mark.parametrize(("degrees", "clockwise"), [(-90, 90), (180, 180), (90, 270), (-83, 90), (-10, 0), (100, 270)])
@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_angles_go_to_the_nearest_of_four(tmp_path: Path, degrees: float, clockwise: int, suffix: str) -> None:
    path = turned(cases.folder("14") / "corners.mp4", degrees, tmp_path / f"film.{suffix}")
    if suffix == "mkv" and degrees % 90:
        clockwise = probe(str(path)).rotation  # Matroska holds these otherwise
    assert probe(str(path)).rotation == clockwise
    expected = TURNED.get(clockwise, CORNERS["corners"])
    assert {way: corners(pixels) for way, pixels in ways(path, tmp_path).items()} == dict.fromkeys(
        ("sampled", "encode", "copy", "exact", "scenes", "strip"), expected
    )


def test_a_matrix_that_makes_a_line_is_none(tmp_path: Path) -> None:
    data = bytearray((cases.folder("14") / "m_vflip.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 0, 0, 0, 0, 0, 0, 0, 0)
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    assert probe(str(path)).rotation == 0
    assert corners(ways(path, tmp_path)["sampled"]) == CORNERS["corners"]


def wide(path: Path, aspect: tuple[int, int], codec: str = "libx264", rotation: int = 0) -> Path:
    """A green circle as an encoder of pixels that are not square stores it: as an ellipse."""
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 144, 96, "yuv420p"
        video.codec_context.sample_aspect_ratio = Fraction(*aspect)
        if rotation:
            video.set_display_rotation(-rotation)
        for index in range(25):
            frame = VideoFrame.from_ndarray(np.full((96, 144, 3), (0, 9 * index, 0), np.uint8), format="rgb24")
            frame.pts = index
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


@pytest.mark.parametrize(
    ("aspect", "size"),
    [((4, 3), (192, 96)), ((1, 2), (72, 96)), ((1, 1), (144, 96)), ((64, 45), (205, 96)), ((10_000, 1), (144, 96))],
)
@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_pixels_that_are_not_square(
    tmp_path: Path, aspect: tuple[int, int], size: tuple[int, int], reader: str
) -> None:
    path = wide(tmp_path / "film.mp4", aspect)
    assert (probe(str(path)).width, probe(str(path)).height) == size
    frame = sample_frames(str(path), [0.0], short_side=500, quality=80, reader=reader)[0]  # type: ignore[arg-type]
    assert simplejpeg.decode_jpeg_header(frame.jpeg)[:2] == size[::-1]


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_wide_pixels_that_are_turned_are_high(tmp_path: Path, reader: str) -> None:
    path = wide(tmp_path / "film.mp4", (4, 3), rotation=90)
    assert (probe(str(path)).width, probe(str(path)).height) == (96, 192)
    frame = sample_frames(str(path), [0.0], short_side=500, quality=80, reader=reader)[0]  # type: ignore[arg-type]
    assert simplejpeg.decode_jpeg_header(frame.jpeg)[:2] == (192, 96)


@pytest.mark.parametrize("width", [48, 96, 144, 160])
def test_padding_of_decords_rows_is_removed(tmp_path: Path, width: int) -> None:
    """With AVX-512, decord2 3.4 pads rows to 64 pixels, and takes that for a fourth channel at some widths."""
    path = str(tmp_path / "film.mp4")
    with av.open(path, "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "1"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = width, 64, "yuv420p"
        ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], (64, width, 3))
        output.mux(video.encode(VideoFrame.from_ndarray(np.ascontiguousarray(ramp), format="rgb24")))
        output.mux(video.encode(None))
    (frame,) = sample_frames(path, [0.0], short_side=500, quality=95, reader="decord")
    pixels = simplejpeg.decode_jpeg(frame.jpeg).astype(int)
    assert pixels.shape == ramp.shape
    assert abs(pixels - ramp).max() < 16


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
@pytest.mark.parametrize("mode", ["encode", "copy", "exact"])
@pytest.mark.parametrize("rotation", [0, 90])
def test_clips_keep_the_shape_of_pixels(tmp_path: Path, codec: str, mode: CutMode, rotation: int) -> None:
    """Also where it is stated by the container alone, as for VP9."""
    path = wide(tmp_path / "film.mp4", (4, 3), codec, rotation)
    cut_clip(str(path), Span(start_s=0, end_s=0.8), tmp_path / "clip.mp4", mode=mode)
    info = probe(str(tmp_path / "clip.mp4"))
    assert info.width / info.height == pytest.approx(0.5 if rotation else 2)


@pytest.mark.parametrize("name", ["hdr_pq", "hdr_hlg", "hdr_as_sdr"])
def test_hdr_looks_like_sdr(tmp_path: Path, name: str) -> None:
    path = cases.folder("17") / f"{name}.mp4"
    for way, pixels in ways(path, tmp_path).items():
        height, width, _ = pixels.shape
        seen = [pixels[height // 2, round(width * (index + 0.5) / 5)].astype(int) for index in range(5)]
        off = [int(abs(each - patch).max()) for each, patch in zip(seen, PATCHES, strict=True)]
        assert (way, max(off) <= 6) == (way, True), (way, seen)
    with av.open(str(tmp_path / "encode.mp4")) as clip:
        frame = next(clip.decode(video=0))
        assert (frame.format.name, frame.colorspace, frame.color_trc, frame.color_primaries) == ("yuv420p", 1, 1, 1)
    if name != "hdr_as_sdr":
        with av.open(str(tmp_path / "copy.mp4")) as clip:
            assert next(clip.decode(video=0)).color_trc in (16, 18), "copied packets stay HDR, and say so"
        with pytest.raises(VideoError, match="HDR"):
            sample_frames(str(path), [0.0], short_side=120, quality=95, reader="decord")


def deep(path: Path, transfer: int, *, matrix: int = 9, range_: int = 1, tagged: bool = True) -> Path:
    """Grey steps of 10 bits."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264" if tagged else "ffv1", rate=25, options={"crf": "1"} if tagged else {})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p10le"
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = (
            matrix,
            9,
            transfer,
            range_,
        )
        steps = np.repeat(np.linspace(0, 65535, 5).astype(np.uint16), 32)
        rgb = VideoFrame.from_ndarray(np.broadcast_to(steps[None, :, None], (96, 160, 3)).copy(), format="rgb48le")
        frame = rgb.reformat(format="yuv420p10le", dst_colorspace=matrix, dst_color_range=range_)
        for index in range(3):
            frame.pts = index
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def greys(path: Path) -> list[int]:
    pixels = simplejpeg.decode_jpeg(sample_frames(str(path), [0.0], short_side=96, quality=100)[0].jpeg)
    assert int(np.ptp(pixels.astype(int), axis=2).max()) <= 3, "grey stays grey"
    return [int(pixels[48, 16 + 32 * index, 1]) for index in range(5)]


def test_ten_bits_are_not_hdr(tmp_path: Path) -> None:
    for transfer in (1, 14, 2):
        assert greys(deep(tmp_path / "film.mp4", transfer)) == pytest.approx([0, 64, 128, 191, 255], abs=2)


@pytest.mark.parametrize("range_", [1, 2])
@pytest.mark.parametrize("tagged", [True, False])
def test_ranges_and_tags_of_the_container_alone(tmp_path: Path, range_: int, tagged: bool) -> None:
    """FFV1 names no transfer function: its container does."""
    codes = np.linspace(0, 65535, 5).astype(np.uint16)[None, :, None].repeat(3, axis=2)
    for transfer in (16, 18):
        path = deep(tmp_path / "film.mkv", transfer, range_=range_, tagged=tagged)
        expected = tone_mapped(codes, transfer, 9)[0, :, 1].tolist()
        assert greys(path) == pytest.approx(expected, abs=4)
        assert expected[0] == 0
        assert expected[-1] >= 250


def test_a_small_hdr_clip(tmp_path: Path) -> None:
    path = cases.folder("17") / "hdr_pq.mp4"
    cut_clip(str(path), SECOND, tmp_path / "clip.mp4", mode="encode", encoding=Encoding(short_side=90))
    assert (probe(str(tmp_path / "clip.mp4")).width, probe(str(tmp_path / "clip.mp4")).height) == (160, 90)


@pytest.mark.parametrize("names", [("pq", "sdr"), ("sdr", "pq"), ("sdr", "wide"), ("sd", "sdr"), ("sdr", "sd")])
def test_a_clip_of_joined_recordings_looks_like_each_of_them(tmp_path: Path, names: tuple[str, str]) -> None:
    kinds = {"sdr": (1, 1, (160, 90)), "pq": (9, 16, (160, 90)), "wide": (1, 1, (320, 90)), "sd": (6, 6, (160, 90))}
    parts = [plain(tmp_path / f"{name}.ts", *kinds[name]) for name in names]
    path = tmp_path / "film.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    cut_clip(str(path), Span(start_s=1, end_s=3), tmp_path / "clip.mp4", mode="encode")
    middles = []
    for film, times in ((path, [1.5, 2.5]), (tmp_path / "clip.mp4", [0.5, 1.5])):
        pixels = [
            simplejpeg.decode_jpeg(frame.jpeg) for frame in sample_frames(str(film), times, short_side=90, quality=95)
        ]
        middles.append([each[each.shape[0] // 2, each.shape[1] // 2].astype(int) for each in pixels])
    assert np.abs(np.array(middles[0]) - np.array(middles[1])).max() <= 8
    assert ("wide" in names) == (pixels[1][5].max() < 30)


def plain(path: Path, matrix: int, transfer: int, size: tuple[int, int]) -> Path:
    """Two seconds of one colour with the tags of a colour matrix and a transfer function."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.thread_count = *size, "yuv420p", 1
        context = video.codec_context
        context.colorspace = context.color_primaries = matrix
        context.color_trc, context.color_range = transfer, 1
        for index in range(50):
            picture = np.full((size[1], size[0], 3), (200, 60, 40), np.uint8)
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p", dst_colorspace=matrix)
            frame.colorspace, frame.color_primaries = matrix, matrix
            frame.color_trc, frame.color_range = transfer, 1
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path
