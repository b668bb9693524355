"""Films of x264's own options, of uneven times and of joined parts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.packet import Packet
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from tests import media


def x264_video(
    path: Path,
    params: str,
    *,
    frames: int,
    rate: Fraction = Fraction(25),
    pix_fmt: str = "yuv420p",
    colour_range: int = 1,
    aspect: tuple[int, int] = (1, 1),
    flags: str = "",
    idr: Sequence[int] = (),
) -> Path:
    """A moving picture, encoded with x264's own options."""
    options = {"x264-params": params, "preset": "veryfast", "forced-idr": "1", **({"flags": flags} if flags else {})}
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=rate, options=options)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.thread_count = 160, 96, pix_fmt, 1
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = colour_range
        context.sample_aspect_ratio = Fraction(*aspect)
        for index in range(frames):
            picture = media.scene_picture(index // 40, index % 40 / 40, width=160, height=96)
            frame = VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, 1 / rate
            frame.pict_type = PictureType.I if index in idr else PictureType.NONE
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


OPTIONS = {
    "libx264": {"preset": "veryfast", "bf": "3"},
    "libx265": {"preset": "ultrafast", "x265-params": "bframes=3:pools=1:log-level=error"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
    "mpeg4": {"bf": "2", "b": "1M"},
}
"""By encoder: quick ones, that order frames otherwise than they are shown."""


def transcoded(path: Path, source: Path, codec: str, *, seconds: float = 8.0) -> Path:
    """The beginning of a film of 25 frames a second, smaller; after 1.6 s two frames of three are left out."""
    with av.open(str(source)) as film, av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25, options=OPTIONS[codec])
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.thread_count, video.gop_size = 320, 136, "yuv420p", 1, 48
        for index, shown in enumerate(film.decode(video=0)):
            if index >= 25 * seconds:
                break
            if index <= 40 or not index % 3:
                frame = shown.reformat(320, 136, "yuv420p")
                frame.pts, frame.time_base, frame.pict_type = index, Fraction(1, 25), PictureType.NONE
                output.mux(video.encode(frame))
        output.mux(video.encode(None))
    if codec == "libsvtav1":
        media.lower_priority()
    return path


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """Films of 2 s each, packet by packet one after the other."""
    with av.open(str(path), "w", format="mpegts") as output:
        stream: VideoStream | None = None
        for number, part in enumerate(parts):
            with av.open(str(part)) as container:
                source = container.streams.video[0]
                stream = stream or output.add_stream_from_template(source)
                for packet in container.demux(source):
                    if packet.pts is not None and packet.dts is not None:
                        packet.pts += number * 180_000
                        packet.dts += number * 180_000
                        packet.stream = stream
                        output.mux(packet)
    return path


def counted(path: Path, codec: str, *, frames: int = 50, b_frames: int = 2) -> Path:
    """A moving picture at 25 frames a second, with a key frame every 20, by FFmpeg's encoders or x264."""
    options = {"libx264": {"preset": "veryfast", "x264-params": f"bframes={b_frames}:b-adapt=0:scenecut=0"}}
    with av.open(str(path), "w") as output:
        video = output.add_stream(codec, rate=25, options=options.get(codec, {"b": "2M"}))
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt, video.thread_count, video.gop_size = 160, 96, "yuv420p", 1, 20
        video.codec_context.max_b_frames = b_frames
        for index in range(frames):
            frame = VideoFrame.from_ndarray(media.scene_picture(0, index / frames, width=160, height=96))
            frame.pts, frame.time_base = index, Fraction(1, 25)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def as_avi(path: Path, source: Path, *, packed: bool = False) -> Path:
    """A film in an AVI, a packet a slot; MPEG-4 packed as DivX does, a B-frame behind the frame that it needs."""
    vop, empty = b"\x00\x00\x01\xb6", b"\x00\x00\x01\xb6\x51\x5f"
    with av.open(str(source)) as film, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(film.streams.video[0])
        stream.time_base = Fraction(1, 25)
        packets = [packet for packet in film.demux(video=0) if packet.size]
        data = [bytes(packet) for packet in packets]
        if packed:
            data[0] = data[0].replace(vop, b"\x00\x00\x01\xb2DivX503b1393p" + vop)
            for place, each in enumerate(data):
                if each[each.find(vop) + 4] >> 6 == 2:
                    data[place - 1 : place + 1] = [data[place - 1] + each[each.find(vop) :], empty]
        for slot, (packet, each) in enumerate(zip(packets, data, strict=True)):
            made = Packet(each)
            made.stream, made.time_base, made.pts, made.dts = stream, Fraction(1, 25), slot, slot
            made.is_keyframe = packet.is_keyframe
            output.mux(made)
    return path


def trimmed(path: Path, source: Path, by_s: float) -> Path:
    """A film that begins later, by an edit list: its first packets are there and not shown, as phones trim."""
    with av.open(str(source)) as film, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                shift = round(by_s / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
                output.mux(packet)
    return path
