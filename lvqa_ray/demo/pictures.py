"""Image measurements for captions: lighting, colours, movement, shot changes and text.

The thresholds were tuned on frames about one second apart, scaled to `SIZE`.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from lvqa_ray.demo import text_recognition
from lvqa_ray.demo.captions import CaptionFacts, Look, Shot
from lvqa_ray.demo.text_recognition import Pixels
from lvqa_ray.errors import VideoError
from lvqa_ray.video.frames.frame_sampling import sample_frames
from lvqa_ray.video.reader.media_info import probe

SIZE = (160, 90)  # width, height in pixels: enough for all measurements, whatever the aspect ratio
CLIP_FRAMES = 8
CLIP_SHORT_SIDE = 448  # pixels

# Upper bounds of the hue ranges, in OpenCV's units of 2 degrees.
_HUES = ((8, "red"), (20, "orange"), (34, "yellow"), (78, "green"), (98, "teal"), (130, "blue"), (150, "purple"))
_HUES_END = ((172, "pink"), (180, "red"))


class BadBody(ValueError):
    """Invalid request: a one-sentence message, an error code, and the HTTP status."""

    def __init__(self, message: str, *, code: str = "invalid_request", status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A frame: its moment, ``12.50 s`` or ``frame 3``, and its pixels (height x width x 3, BGR)."""

    moment: str
    pixels: Pixels


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Measurements of a frame at `SIZE`: luma (0 to 255), share of each colour, and HSV histogram (sum 1)."""

    luma: npt.NDArray[np.float32]
    colours: dict[str, float]
    histogram: npt.NDArray[np.float32]


def open_picture(data: bytes, moment: str) -> Picture:
    """Decode an image file: JPEG or another format that OpenCV reads.

    Raises:
        BadBody: The bytes are not an image, or a damaged one.
    """
    try:
        if data[:2] == b"\xff\xd8":  # OpenCV would fill a truncated JPEG with grey
            return Picture(moment, simplejpeg.decode_jpeg(data, colorspace="BGR", fastdct=True, fastupsample=True))
    except ValueError as error:
        raise BadBody(f"The JPEG of {moment} is damaged.", code="invalid_image") from error
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise BadBody(f"The bytes of {moment} are no picture that can be read.", code="invalid_image")
    return Picture(moment, np.asarray(pixels, np.uint8))


def open_clip(data: bytes, start_s: float = 0.0) -> list[Picture]:
    """Decode `CLIP_FRAMES` evenly spaced frames of a clip file that starts at `start_s` of the video.

    Raises:
        BadBody: The clip cannot be decoded.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            length_s = probe(file.name).duration_sec
            times = [(n + 0.5) * length_s / CLIP_FRAMES for n in range(CLIP_FRAMES)]
            frames = sample_frames(file.name, times, short_side=CLIP_SHORT_SIDE, quality=90)
        except VideoError as error:
            raise BadBody(f"The clip cannot be decoded ({error.kind}).", code="invalid_image") from error
    return [open_picture(frame.jpeg, f"{start_s + frame.time_s:.2f} s") for frame in frames]


def describe(pictures: Sequence[Picture]) -> CaptionFacts:
    """Measure the frames of one clip: at least one frame, in time order."""
    measured = [_measure(picture.pixels) for picture in pictures]
    moments = [picture.moment for picture in pictures]
    pairs = list(itertools.pairwise(measured))
    starts = [0, *(i for i, (before, after) in enumerate(pairs, 1) if _shot_changes(before, after)), len(measured)]
    shots = [
        Shot(moments[a], moments[b - 1], _look(measured[a:b]), _movement(pairs[a : b - 1]))
        for a, b in itertools.pairwise(starts)
    ]
    place, lines = text_recognition.read([picture.pixels for picture in pictures])
    return CaptionFacts(tuple(shots), moments[place] if lines else "", lines)


def _measure(bgr: Pixels) -> Measures:
    small = cv2.resize(bgr, SIZE, interpolation=cv2.INTER_AREA)
    hsv = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2HSV), np.uint8)
    histogram = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 6], [0, 180, 0, 256, 0, 256]).ravel()
    luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)
    return Measures(luma, _colours(hsv), np.asarray(histogram / histogram.sum(), np.float32))


def _colours(hsv: Pixels) -> dict[str, float]:
    hue, saturation, value = (hsv[..., channel].astype(np.int16) for channel in range(3))
    black = value < 45
    pale = ~black & ((saturation < 28) | ((saturation < 45) & (value < 90)))
    vivid = ~black & ~pale
    brown = vivid & (hue >= 4) & (hue < 25) & (value < 165)
    # A light, desaturated red is pink.
    rosy = vivid & ((hue < 8) | (hue >= 150)) & (value > 190) & (saturation < 120)
    masks = {"black": black, "white": pale & (value > 205), "grey": pale & (value <= 205), "brown": brown, "pink": rosy}
    low = 0
    for high, name in (*_HUES, *_HUES_END):
        within = vivid & ~brown & ~rosy & (hue >= low) & (hue < high)
        masks[name] = masks.get(name, False) | within
        low = high
    return {name: float(mask.mean()) for name, mask in masks.items()}


def _look(frames: Sequence[Measures]) -> Look:
    """Average look of the frames."""
    mean = float(np.mean([frame.luma.mean() for frame in frames]))
    lighting = "dark" if mean < 50 else "dim" if mean < 95 else "evenly lit" if mean < 150 else "bright"
    shares = {name: float(np.mean([frame.colours[name] for frame in frames])) for name in frames[0].colours}
    named: list[str] = []
    covered = 0.0
    for name, share in sorted(shares.items(), key=lambda item: -item[1])[:3]:
        if covered >= 0.5 or share < 0.05:
            break
        named.append(name)
        covered += share
    return Look(lighting, tuple(named) if covered >= 0.5 else ())


def _shot_changes(before: Measures, after: Measures) -> bool:
    """Shot change detection: whether two consecutive frames differ too much in colours and layout."""
    # Hellinger distance of the histograms: 0 for the same, 1 for nothing in common.
    colours = float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(before.histogram * after.histogram).sum()))))
    # Pearson correlation of blurred luma: 1 for the same layout.
    one, two = (cv2.resize(frame.luma, (40, 22), interpolation=cv2.INTER_AREA) for frame in (before, after))
    flat = (one.std() < 1) + (two.std() < 1)
    layout = float(np.corrcoef(one.ravel(), two.ravel())[0, 1]) if not flat else 1.0 if flat == 2 else 0.0
    # A fade or a pan keeps one of the two. All flat frames have the same layout.
    return colours > 0.9 or (colours > 0.62 and layout < 0.7) or (colours > 0.33 and layout < 0.35)


def _movement(pairs: Sequence[tuple[Measures, Measures]]) -> str:
    """Amount of movement in a shot, in words; empty for a single frame."""
    if not pairs:
        return ""
    change = float(np.mean([np.abs(after.luma - before.luma).mean() for before, after in pairs]))
    return (
        "hardly anything moves" if change < 2 else "there is some movement" if change < 16 else "there is much movement"
    )
