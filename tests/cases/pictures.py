"""Cases of frames sent to models: mirrored, non-square pixels, HDR, encrypted, mostly lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import simplejpeg

from lvqa_ray.errors import VideoError
from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import cut_clip
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.frames.jpeg import Pixels
from lvqa_ray.video.reader.media_info import probe
from tests import media
from tests.cases import Row, case, folder
from tests.video import odd

WAYS = ("sampled", "encode", "copy", "exact")


def _seen(path: Path, work: Path, way: str) -> Pixels:
    if way != "sampled":
        cut_clip(str(path), Span(start_s=0, end_s=1), work / f"{way}.mp4", mode=way)  # type: ignore[arg-type]
        path = work / f"{way}.mp4"
    (frame,) = sample_frames(str(path), [0.0], short_side=120, quality=95)
    pixels: Pixels = simplejpeg.decode_jpeg(frame.jpeg)
    return pixels


@case("14", "mirrored display matrices")
def mirrored(work: Path) -> Iterator[Row]:
    """Display matrices of phones and editors."""
    for name, expected in odd.CORNERS.items():
        for way in WAYS:
            yield f"{name}, {way}", expected, odd.corners(_seen(folder("14") / f"{name}.mp4", work, way))


@case("16", "pixels that are not square")
def not_square(work: Path) -> Iterator[Row]:
    """A DVD or DV recording with 16:9 display aspect ratio."""
    path = folder("16") / "sar.mpg"
    info = probe(str(path))
    yield "sar.mpg, probed", (1024, 576), (info.width, info.height)
    for way in WAYS:
        yield f"sar.mpg, {way}", (120, 213), _seen(path, work, way).shape[:2]


@case("17", "HDR")
def hdr(work: Path) -> Iterator[Row]:
    """White, grey, red, green and blue in PQ and HLG look as in SDR."""
    for name in ("hdr_pq", "hdr_hlg", "hdr_as_sdr"):
        for way in WAYS:
            pixels = _seen(folder("17") / f"{name}.mp4", work, way)
            middle = pixels[60, [round(213 * (index + 0.5) / 5) for index in range(5)]].astype(int)
            off = int(np.abs(middle - np.array(odd.PATCHES)).max())
            yield f"{name}, {way}: within 6 levels", True, True if off <= 6 else middle.tolist()


@case("20", "encrypted")
def encrypted(work: Path) -> Iterator[Row]:
    """Encrypted videos (Common Encryption and others), without a key."""
    films = {"cenc.mp4": folder("20") / "cenc.mp4"} | odd.encrypted_films(work)
    clear = media.make_video(work / "clear.mp4", seconds=1)
    for name, path in (films | {"clear.mp4": clear}).items():
        expected = "a video" if name == "clear.mp4" else "encrypted"
        try:
            probe(str(path))
        except VideoError as error:
            yield name, expected, error.kind.value
        else:
            yield name, expected, "a video"
