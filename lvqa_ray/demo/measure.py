"""Plain measurements on small pictures: light, colours, detail, movement and change of shot.

Every threshold was set on sampled film about a second apart, at the size of `SIZE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from lvqa_ray.demo.facts import Look

SIZE = (160, 90)  # width, height in pixels: enough for every measure here, whatever the frame's own shape

Pixels = npt.NDArray[np.uint8]

# Upper ends of the hue ranges, in OpenCV's half degrees.
_HUES = ((8, "red"), (20, "orange"), (34, "yellow"), (78, "green"), (98, "teal"), (130, "blue"), (150, "purple"))
_HUES_END = ((172, "pink"), (180, "red"))


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """A frame shrunk for measuring.

    Attributes:
        luma: Height x width, float32, 0 to 255.
        colours: Share of the picture by colour name; sums to 1.
        histogram: Joint histogram of hue, saturation and value, flat, sums to 1.
        detail: Mean absolute Laplacian of the luma.
    """

    luma: npt.NDArray[np.float32]
    colours: dict[str, float]
    histogram: npt.NDArray[np.float32]
    detail: float


def shrink(bgr: Pixels) -> Small:
    """Shrink a picture (height x width x 3, BGR) and take all measures of a single frame."""
    small: Pixels = np.asarray(cv2.resize(bgr, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
    gray = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    hsv: Pixels = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2HSV), np.uint8)
    histogram = cv2.calcHist([hsv], [0, 1, 2], None, [12, 4, 6], [0, 180, 0, 256, 0, 256]).ravel()
    return Small(
        luma=gray.astype(np.float32),
        colours=_colours(hsv),
        histogram=histogram / histogram.sum(),
        detail=float(np.abs(cv2.Laplacian(gray, cv2.CV_16S)).mean()),
    )


def _colours(hsv: Pixels) -> dict[str, float]:
    hue, saturation, value = (hsv[..., channel].astype(np.int16) for channel in range(3))
    black = value < 45
    pale = (saturation < 28) | ((saturation < 45) & (value < 90))
    masks = {
        "black": black,
        "white": ~black & pale & (value > 205),
        "grey": ~black & pale & (value <= 205),
    }
    vivid = ~black & ~pale
    brown = vivid & (hue >= 4) & (hue < 25) & (value < 165)
    # A light, washed-out red is called pink.
    rosy = vivid & ((hue < 8) | (hue >= 150)) & (value > 190) & (saturation < 120)
    masks |= {"brown": brown, "pink": rosy}
    rest = vivid & ~brown & ~rosy
    low = 0
    for high, name in (*_HUES, *_HUES_END):
        within = rest & (hue >= low) & (hue < high)
        masks[name] = masks[name] | within if name in masks else within
        low = high
    return {name: float(mask.mean()) for name, mask in masks.items()}


def look(frames: Sequence[Small]) -> Look:
    """How the frames look taken together."""
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


def detail(frames: Sequence[Small]) -> str:
    """``plain``, ``finely detailed``, or empty for what is neither."""
    mean = float(np.mean([frame.detail for frame in frames]))
    return "plain" if mean < 6 else "finely detailed" if mean > 25 else ""


def shot_changes(before: Small, after: Small) -> bool:
    """Whether two frames in a row are too unlike in colours and layout to be of one shot."""
    colours = _distance(before, after)
    structure = _correlation(before.luma, after.luma)
    # A fade or a turn of the camera keeps one of the two; a flat picture has a layout that is like any other flat one.
    return colours > 0.9 or (colours > 0.62 and structure < 0.7) or (colours > 0.33 and structure < 0.35)


def _distance(before: Small, after: Small) -> float:
    """Hellinger distance of the histograms: 0 for the same, 1 for nothing in common."""
    return float(np.sqrt(max(0.0, 1.0 - float(np.sqrt(before.histogram * after.histogram).sum()))))


def _correlation(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> float:
    """Pearson correlation of blurred luma: 1 for the same layout."""
    blurred = [cv2.resize(luma, (40, 22), interpolation=cv2.INTER_AREA) for luma in (before, after)]
    one, two = (luma - luma.mean() for luma in blurred)
    if one.std() < 1 or two.std() < 1:
        return 1.0 if one.std() < 1 and two.std() < 1 else 0.0
    return float((one * two).mean() / (one.std() * two.std()))


def motion(before: Small, after: Small) -> str:
    """What moves between two frames of one shot: one of `facts.MOTIONS`."""
    change = np.abs(after.luma - before.luma)
    strength = float(change.mean())
    if strength < 2.0:
        return "hardly anything moves"
    thirds = [float(part.sum()) for part in np.array_split(change, 3, axis=1)]
    largest = int(np.argmax(thirds))
    # When the view turns, every part of the picture changes; a thing that moves leaves the rest as it was.
    pan = _pan(before.luma, after.luma, strength) if min(thirds) > 0.1 * sum(thirds) else ""
    if pan:
        return pan
    if thirds[largest] > 0.55 * sum(thirds):
        how = "strongly" if strength > 8 else "slightly"
        return f"something moves {how} {('on the left', 'in the centre', 'on the right')[largest]}"
    return f"there is {'strong' if strength > 16 else 'slight'} movement all over the picture"


def _pan(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], strength: float) -> str:
    """Where the view goes, if shifting one frame as a whole explains most of the change; else empty."""
    height, width = before.shape
    (right, down), response = cv2.phaseCorrelate(before, after, cv2.createHanningWindow((width, height), cv2.CV_32F))
    if response < 0.05 or max(abs(right) / width, abs(down) / height) < 0.012:
        return ""
    move = np.array([[1, 0, right], [0, 1, down]], dtype=np.float32)
    shifted = cv2.warpAffine(before, move, (width, height))
    margin_x, margin_y = int(abs(right)) + 1, int(abs(down)) + 1
    if 2 * margin_x >= width or 2 * margin_y >= height:
        return ""
    inside = np.s_[margin_y : height - margin_y, margin_x : width - margin_x]
    if float(np.abs(after - shifted)[inside].mean()) > 0.6 * strength:
        return ""
    # What is seen moves against the view.
    if abs(right) / width >= abs(down) / height:
        return "the view pans left" if right > 0 else "the view pans right"
    return "the view pans up" if down > 0 else "the view pans down"
