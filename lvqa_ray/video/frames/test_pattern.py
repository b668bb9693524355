"""Test pattern: a grey image or a one-second clip of it, for checking whether an endpoint accepts images or video."""

from __future__ import annotations

import io

import av
import numpy as np

from lvqa_ray.video.frames.jpeg import Pixels, encoded


def _grey(short_side: int) -> Pixels:
    """Grey pixels, 16:9, with even sides for every encoder."""
    height, width = short_side // 2 * 2, short_side * 16 // 9 // 2 * 2
    return np.full((max(2, height), max(2, width), 3), 128, np.uint8)


def test_jpeg(short_side: int, quality: int) -> bytes:
    """Grey JPEG with the given shorter side (px) and quality."""
    return encoded(_grey(short_side), quality)


def test_mp4(short_side: int) -> bytes:
    """One second of grey H.264 at 4 frames per second, as an MP4."""
    pixels, file = _grey(short_side), io.BytesIO()
    with av.open(file, mode="w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = pixels.shape[1], pixels.shape[0], "yuv420p"
        for _ in range(4):
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    return file.getvalue()
