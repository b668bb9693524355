"""Videos of any length for benchmarks: loops of a real one, and noise."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame


def loop(film: Path, path: Path, seconds: float) -> None:
    """Repeat a video's packets until the given duration, without re-encoding."""
    with av.open(str(path), "w") as output:
        copied = None
        offset = 0
        while True:
            with av.open(str(film)) as source:
                stream = source.streams.video[0]
                copied = copied or output.add_stream_from_template(stream)
                base = Fraction(stream.time_base or 1)
                end = offset
                for packet in source.demux(stream):
                    if packet.dts is None or packet.pts is None:
                        continue
                    if (packet.dts + offset) * base >= seconds:
                        return
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.stream = copied
                    output.mux(packet)
                offset = end


def make_noise(path: Path, *, seconds: float, fps: int = 25, size: tuple[int, int] = (1280, 720)) -> None:
    """Write scenes of 1 to 9 s that are hard to encode and decode: moving coarse noise under fine noise."""
    random = np.random.default_rng(1)
    lengths = iter(random.integers(fps, 9 * fps, 1000))
    left = 0
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        grain = random.integers(-12, 13, (2 * size[1], 2 * size[0], 1), np.int16)
        for index in range(round(seconds * fps)):
            if left == 0:
                left = int(next(lengths))
                blocks = random.integers(30, 220, (12, 30, 3), np.int16)
                scene = blocks.repeat(80, axis=0).repeat(80, axis=1)
            left -= 1
            x, y = random.integers(0, size[0]), random.integers(0, size[1])
            shift = index % 200 * 2
            picture = scene[100 : 100 + size[1], shift : shift + size[0]] + grain[y : y + size[1], x : x + size[0]]
            frame = VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
