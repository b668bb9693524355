"""A clip file as a few pictures."""

from __future__ import annotations

import io

import av

from lvqa_ray.demo.describe import NotAPicture, Picture, open_picture
from lvqa_ray.video.frames.frame_encoder import JpegEncoder
from lvqa_ray.video.reader.container_formats import open_input
from lvqa_ray.video.reader.display import Presentation

FRAMES = 8
SHORT_SIDE = 448  # pixels


def sample(data: bytes, start_s: float = 0.0) -> list[Picture]:
    """Decode a clip and pick frames evenly from it.

    Args:
        data: The file: MP4 or another container that FFmpeg reads.
        start_s: Second of the video at which the clip starts; it is added to the frames' times.

    Returns:
        Up to `FRAMES` pictures in time order.

    Raises:
        NotAPicture: There is no picture to be had from it.
    """
    try:
        with open_input(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise NotAPicture("the clip has no pictures")
            stream = container.streams.video[0]
            length_s = container.duration / av.time_base if container.duration else 0.0
            encoder = JpegEncoder(short_side=SHORT_SIDE, quality=90)
            encoder.presentation = Presentation.of(stream)
            first_s: float | None = None
            pictures: list[Picture] = []
            for frame in container.decode(stream):
                time_s = float(frame.time or 0.0)
                first_s = time_s if first_s is None else first_s
                # The middle of each of the clip's equal parts; without a known length, the first frames.
                if time_s - first_s >= (len(pictures) + 0.5) * length_s / FRAMES - 1e-6:
                    pictures.append(open_picture(encoder.encode(frame), f"{start_s + time_s - first_s:.2f} s"))
                    if len(pictures) == FRAMES:
                        break
    except (av.FFmpegError, OSError, ValueError) as error:
        raise NotAPicture(f"the clip cannot be decoded ({error})") from error
    if not pictures:
        raise NotAPicture("the clip has no pictures")
    return pictures
