"""Downscaling for scene detection: picks the pixels that PySceneDetect would use before the conversion to BGR.

PySceneDetect converts each whole frame to BGR and then scales it to 256 pixels, bilinearly and without averaging: of a
720p frame it uses one pixel in 25. Here the others are never converted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import cv2
import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from lvqa_ray.video.frames.frame_encoder import PLANAR_420

Accuracy = Literal["fast", "exact"]
FrameSize = Accuracy | tuple[int, int]
"""Width and height in pixels; or the accuracy of downscaling with the aspect ratio kept, see `Downscaler`."""
Picture = npt.NDArray[np.uint8]
"""Height x width x 3, BGR; or x 4 with an unused last channel."""

Indices = npt.NDArray[np.intp]

DETECTION_SIDE = 256
"""Longer side of the frames that detectors receive (px), as in PySceneDetect."""

FAST_SIDE = 128
"""The same for ``fast``: a quarter of the pixels, whose mean change shows cuts just as well."""

WORTH_PICKING = 4.0
"""Below this scale factor converting the whole frame is cheaper, since most of its pixels would be picked."""


class Downscaler:
    """Downscales frames to small BGR images.

    ``exact`` gives the result of PySceneDetect's OpenCV backend: identical pixels if the frame's longer side is an odd
    multiple of 256 (1280, 3840), otherwise within one or two levels of 255, by the rounding of the weights. ``fast``
    takes the nearest pixel and a nearby chroma sample, at half the size. Frames other than 8-bit 4:2:0 are converted
    whole in both.

    Args:
        width: Frame width (px).
        height: Frame height (px).
        accuracy: ``fast`` or ``exact``.
    """

    def __init__(self, width: int, height: int, accuracy: Accuracy) -> None:
        side = DETECTION_SIDE if accuracy == "exact" else FAST_SIDE
        scale = max(1.0, max(width, height) / side)
        self.size = max(1, round(width / scale)), max(1, round(height / scale))
        self._of = width, height
        self._reformatter = VideoReformatter()
        self._pick: Callable[[VideoFrame], Picture] | None = None
        worth_it = scale >= (WORTH_PICKING if accuracy == "exact" else 1.5)
        if worth_it and width % 2 == 0 and height % 2 == 0 and min(self.size) >= 2:
            if accuracy == "exact" and _is_odd_multiple(width, self.size[0]) and _is_odd_multiple(height, self.size[1]):
                self._pick = _Middle(width, height, self.size)
            elif accuracy == "exact":
                self._pick = _Exact(width, height, self.size, self._to_bgr)
            else:
                self._pick = _Nearest(self.size, self._to_bgr)

    def __call__(self, frame: VideoFrame) -> Picture:
        """Downscale a frame; the output size is constant, also for a frame of another size than announced."""
        usable = frame.format.name in PLANAR_420 and frame.planes[0].line_size > 0
        if self._pick and usable and (frame.width, frame.height) == self._of:
            return self._pick(frame)
        bgr = self._to_bgr(frame)
        if (frame.width, frame.height) == self.size:
            return bgr
        return cast("Picture", cv2.resize(bgr, self.size))

    def _to_bgr(self, frame: VideoFrame) -> Picture:
        # No scaling or rounding flags: FFmpeg's direct conversion, as in OpenCV's reader.
        bgr = self._reformatter.reformat(frame, format="bgr24", threads=1)
        return cast("Picture", bgr.to_ndarray())


def shrinker(width: int, height: int, size: FrameSize) -> Callable[[VideoFrame], Picture]:
    """Create a function that downscales frames to BGR: a `Downscaler`, or an area average for a given size."""
    if isinstance(size, str):
        return Downscaler(width, height, size)
    reformatter = VideoReformatter()

    def average(frame: VideoFrame) -> Picture:
        small = reformatter.reformat(frame, *size, format="bgr24", interpolation="AREA", threads=1)
        return cast("Picture", small.to_ndarray())

    return average


class _Nearest:
    """Nearest-neighbour downscaling of each plane, which gives a small 4:2:0 frame."""

    def __init__(self, size: tuple[int, int], to_bgr: Callable[[VideoFrame], Picture]) -> None:
        self._to_bgr = to_bgr
        self._size = size
        # 4:2:0 needs an even size: round up, and crop the result.
        even = size[0] + size[0] % 2, size[1] + size[1] % 2
        self._small = VideoFrame(*even, "yuv420p")
        self._planes = [_plane(self._small, index) for index in range(3)]

    def __call__(self, frame: VideoFrame) -> Picture:
        _same_colours(frame, self._small)
        for index, small in enumerate(self._planes):
            small[:] = cv2.resize(_plane(frame, index), small.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return self._to_bgr(self._small)[: self._size[1], : self._size[0]]


class _Middle:
    """Picks the middle one of an odd number of pixels, the only one that bilinear scaling uses."""

    def __init__(self, width: int, height: int, size: tuple[int, int]) -> None:
        rows, columns = (
            np.arange(count) * (side // count) + side // count // 2
            for side, count in ((height, size[1]), (width, size[0]))
        )
        # A 4:2:0 row with its chroma equals a 4:2:2 row, and FFmpeg converts both with the same code. In 4:2:2 two
        # pixels share a chroma sample, so the second pixel of each pair is left empty.
        self._picked = VideoFrame(2 * len(columns), len(rows), "yuv422p")
        self._pickers = (
            _picker((height, rows), (width, columns)),
            *2 * (_picker((height // 2, rows // 2), (width // 2, columns // 2)),),
        )
        luma, *colours = (_plane(self._picked, index) for index in range(3))
        self._planes = luma[:, ::2], *colours
        self._reformatter = VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Picture:
        _same_colours(frame, self._picked)
        for index, (pick, plane) in enumerate(zip(self._pickers, self._planes, strict=True)):
            plane[:] = pick(_plane(frame, index))
        pairs = self._reformatter.reformat(self._picked, format="bgra", threads=1).to_ndarray()
        # Viewed as 32-bit integers, whole pixels are picked at once.
        return np.ascontiguousarray(pairs.view(np.int32)[:, ::2]).view(np.uint8)


class _Exact:
    """Picks the pixels that bilinear scaling interpolates, in pairs that share a chroma sample."""

    def __init__(self, width: int, height: int, size: tuple[int, int], to_bgr: Callable[[VideoFrame], Picture]) -> None:
        self._to_bgr = to_bgr
        rows, down = _rows(height, size[1])
        columns, across = _pairs(width, size[0])
        # A 4:2:0 row with its chroma equals a 4:2:2 row, and FFmpeg converts both with the same code.
        self._picked = VideoFrame(2 * len(columns), len(rows) + len(rows) % 2, "yuv422p")
        # Two neighbours viewed as one 16-bit integer: half as many to pick.
        self._luma = _picker((height, rows), (width // 2, columns))
        self._chroma = _picker((height // 2, rows // 2), (width // 2, columns))
        self._planes = [_plane(self._picked, index)[: len(rows)] for index in range(3)]
        self._scaled = _grid(down, across)

    def __call__(self, frame: VideoFrame) -> Picture:
        _same_colours(frame, self._picked)
        self._planes[0][:] = self._luma(_plane(frame, 0).view(np.uint16)).view(np.uint8)
        for index in (1, 2):
            self._planes[index][:] = self._chroma(_plane(frame, index))
        return cast("Picture", cv2.remap(self._to_bgr(self._picked), *self._scaled, cv2.INTER_LINEAR))


def _is_odd_multiple(side: int, count: int) -> bool:
    return side % count == 0 and side // count % 2 == 1


def _plane(frame: VideoFrame, index: int) -> npt.NDArray[np.uint8]:
    """Samples of a plane as a view; valid as long as the frame lives."""
    plane = frame.planes[index]
    samples: npt.NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8)
    return samples.reshape(plane.height, plane.line_size)[:, : plane.width]


def _same_colours(frame: VideoFrame, small: VideoFrame) -> None:
    small.colorspace, small.color_range = frame.colorspace, frame.color_range


def _picker(down: tuple[int, Indices], across: tuple[int, Indices]) -> Callable[[Any], Any]:
    """Create a function that picks the given rows and columns of a plane; each is (side length, indices)."""
    if _is_nearest(*down) and _is_nearest(*across):  # resize costs half as much as remap
        size = len(across[1]), len(down[1])
        return partial(cv2.resize, dsize=size, interpolation=cv2.INTER_NEAREST_EXACT)
    grid = _grid(down[1], across[1])
    return lambda plane: cv2.remap(plane, *grid, cv2.INTER_NEAREST)


def _is_nearest(length: int, places: Indices) -> bool:
    """Whether nearest-neighbour scaling would pick these indices."""
    return bool(((2 * np.arange(len(places)) + 1) * length // (2 * len(places)) == places).all())


def _grid(down: npt.NDArray[Any], across: npt.NDArray[Any]) -> tuple[Any, Any]:
    """Pixel positions as the fixed-point maps with which OpenCV's remap is fastest."""
    columns, rows = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
    whole = not (down % 1).any() and not (across % 1).any()
    return cast("tuple[Any, Any]", cv2.convertMaps(columns, rows, cv2.CV_16SC2, nninterpolation=whole))


def _rows(length: int, count: int) -> tuple[Indices, npt.NDArray[np.float64]]:
    """Indices of the samples that scaling a side to ``count`` uses, and the positions to interpolate among them."""
    first, second, part = _neighbours(length, count)
    rows = np.unique(np.concatenate([first, second]))
    return rows, np.searchsorted(rows, first) + part


def _pairs(length: int, count: int) -> tuple[Indices, npt.NDArray[np.float64]]:
    """The same for pairs of samples."""
    first, second, part = _neighbours(length, count)
    pairs = np.unique(np.concatenate([first, second]) // 2)
    return pairs, 2 * np.searchsorted(pairs, first // 2) + first % 2 + part


def _neighbours(length: int, count: int) -> tuple[Indices, Indices, npt.NDArray[np.float64]]:
    """Two neighbours of each sample of a scaled side, and the weight of the second (0 to 1; both equal if it is 0)."""
    centres = np.clip((np.arange(count) + 0.5) * length / count - 0.5, 0, length - 1)
    first = np.floor(centres).astype(np.intp)
    return first, np.where(centres > first, first + 1, first), centres - first
