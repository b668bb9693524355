"""Frames made to order."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import av
import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from lvqa_ray.demo.pictures import Picture, open_picture

Pixels = npt.NDArray[np.uint8]
HEIGHT, WIDTH = 448, 796


def flat(blue: int, green: int, red: int) -> Pixels:
    """A frame of one colour, height x width x 3 BGR."""
    return np.full((HEIGHT, WIDTH, 3), (blue, green, red), np.uint8)


def texture(seed: int = 0, width: int = WIDTH * 2, height: int = HEIGHT * 2) -> Pixels:
    """A large blurry green pattern to move a window over."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 16, width // 16), dtype=np.uint8)
    gray = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.dstack([gray // 6, gray // 2 + 80, gray // 6]).astype(np.uint8)


def written(text: str) -> Pixels:
    """White text across a dark blue frame."""
    image = flat(90, 30, 20)
    cv2.putText(image, text, (60, 240), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (255, 255, 255), 4, cv2.LINE_AA)
    return image


def jpeg(image: Pixels) -> bytes:
    """The frame as a JPEG file."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=90, colorspace="BGR"))


def shown(images: Sequence[Pixels], start_s: float = 0.0) -> list[Picture]:
    """The frames a second apart."""
    return [open_picture(jpeg(image), f"{start_s + i:.2f} s") for i, image in enumerate(images)]


def image_parts(images: Sequence[Pixels]) -> list[dict[str, object]]:
    """The frames as parts of a message."""
    urls = ["data:image/jpeg;base64," + base64.b64encode(jpeg(image)).decode() for image in images]
    return [{"type": "image_url", "image_url": {"url": url}} for url in urls]


def video(images: Sequence[Pixels], fps: int = 4) -> bytes:
    """The frames as an MP4 file."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return out.getvalue()
