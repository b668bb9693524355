"""Text in pictures: a cheap guess whether there is any, then character recognition within a fixed cost.

Recognition costs far more than all other measures, so it is rationed: the frame of a request that looks most as if it
held lines of text, and a second one only if the first did; `MAX_WIDTH` pixels wide, the `MAX_LINES` tallest lines of
each, one picture at a time in the whole process, and nothing more once `BUDGET_S` has gone by.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import cache
from typing import Protocol, cast

import cv2
import numpy as np
import numpy.typing as npt

from lvqa_ray.demo.facts import Reading
from lvqa_ray.demo.measure import Pixels
from lvqa_ray.video.onnx import disable_telemetry

SCAN_HEIGHT = 200  # pixels: text of a twentieth of the picture's height is still 10 pixels tall
MAX_FRAMES = 2
MAX_WIDTH = 640
MAX_LINES = 4
BUDGET_S = 3.0  # four times what two full pages take on one core
MAX_WAIT_S = 20.0
MIN_SCORE = 0.9

_one_at_a_time = threading.Lock()


class _Found(Protocol):
    boxes: Sequence[npt.NDArray[np.float32]] | None
    txts: Sequence[str] | None
    scores: Sequence[float] | None


class _Recognizer(Protocol):
    def __call__(self, pixels: Pixels, *, use_det: bool, use_cls: bool, use_rec: bool) -> _Found: ...


def wordiest(pictures: Sequence[Pixels]) -> list[int]:
    """Places of the frames most likely to hold text, likeliest first, at most `MAX_FRAMES`.

    Args:
        pictures: Height x width x 3, BGR, about `SCAN_HEIGHT` tall.
    """
    counts = [_line_count(picture) for picture in pictures]
    likely = sorted((i for i, count in enumerate(counts) if count >= 1), key=lambda i: -counts[i])
    return likely[:MAX_FRAMES]


def _line_count(bgr: Pixels) -> int:
    """How many parts of the picture look like a line of text: thin strokes, close together, in a long and low row.

    Set on a film full of leaves and grass. Letters taller than a tenth of the picture are not found.
    """
    gray = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    lines = 0
    for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        strokes = (cv2.morphologyEx(gray, operation, np.ones((9, 9), np.uint8)) > 60).astype(np.uint8)
        joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, 11), np.uint8))
        count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=4)
        for label in range(1, count):
            x, y, width, height, area = (int(value) for value in stats[label])
            if width < max(30, 5 * height) or not 5 <= height <= 40 or area < 0.6 * width * height:
                continue
            box = np.s_[y : y + height, x : x + width]
            lines += int(((strokes[box] > 0) & (labels[box] == label)).mean() >= 0.15)
    return lines


def read(pictures: Sequence[tuple[str, Pixels]]) -> tuple[Reading, ...]:
    """Read the text of a few pictures.

    Args:
        pictures: Moment and pixels (height x width x 3, BGR) of each, likeliest first; the first one without text ends
            the search.

    Returns:
        One reading for each picture with text that was recognised with confidence; nothing without the recogniser's
        package, and less than there is when the time budget runs out.
    """
    if not _one_at_a_time.acquire(timeout=MAX_WAIT_S):
        return ()
    try:
        engine = _engine()
        if engine is None:
            return ()
        deadline = time.monotonic() + BUDGET_S  # loading the models, once in a process, is not counted
        readings: list[Reading] = []
        for moment, pixels in pictures:
            lines = _lines(engine, pixels, deadline)
            if not lines:
                break
            if all(lines != earlier.lines for earlier in readings):
                readings.append(Reading(moment, lines))
        return tuple(readings)
    finally:
        _one_at_a_time.release()


def _lines(engine: _Recognizer, pixels: Pixels, deadline: float) -> tuple[str, ...]:
    """Confidently read lines of a picture from top to bottom."""
    if time.monotonic() > deadline:
        return ()
    height, width = pixels.shape[:2]
    if width > MAX_WIDTH:
        size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    boxes = engine(pixels, use_det=True, use_cls=False, use_rec=False).boxes
    if boxes is None:
        return ()
    corners = [(box[:, 0].min(), box[:, 1].min(), box[:, 0].max(), box[:, 1].max()) for box in np.asarray(boxes)]
    tallest = sorted(corners, key=lambda box: box[1] - box[3])[:MAX_LINES]
    lines: list[str] = []
    for left, top, right, bottom in sorted(tallest, key=lambda box: (box[1], box[0])):
        if time.monotonic() > deadline:
            break
        crop = pixels[max(0, int(top) - 2) : int(bottom) + 3, max(0, int(left) - 2) : int(right) + 3]
        found = engine(crop, use_det=False, use_cls=False, use_rec=True)
        for text, score in zip(found.txts or (), found.scores or (), strict=True):
            line = clean(text)
            if score >= MIN_SCORE and sum(map(str.isalnum, line)) >= 3 and line not in lines:
                lines.append(line)
    return tuple(lines)


def clean(text: str) -> str:
    """A line of text as it can be quoted in a caption: one line, no quotation marks of ours, at most 60 characters."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.translate(str.maketrans('“”"', "'''")).split())[:60].strip()


@cache
def _engine() -> _Recognizer | None:
    """The recogniser, or nothing where its package is not installed. Its models come with the package."""
    disable_telemetry()
    try:
        from rapidocr import RapidOCR  # noqa: PLC0415 - a second of loading that most requests never need
    except ImportError:
        return None
    engine = RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.use_cls": False,
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Det.limit_type": "max",
            "Det.limit_side_len": MAX_WIDTH,
        }
    )
    engine(np.zeros((48, 320, 3), np.uint8), use_det=True, use_cls=False, use_rec=False)  # or the first call would load
    engine(np.zeros((48, 320, 3), np.uint8), use_det=False, use_cls=False, use_rec=True)
    return cast("_Recognizer", engine)
