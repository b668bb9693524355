"""Text recognition (OCR): a cheap estimate selects the frame with the most text, and OCR runs on that frame only.

OCR costs far more than all other measurements, so it is limited: one frame per request, `MAX_WIDTH` pixels wide, no
more lines than are quoted, one at a time in the whole process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from lvqa_ray.video.onnx import disable_telemetry

SCAN_HEIGHT = 224  # pixels: text of 1/20 of the frame's height is still 10 pixels tall
MAX_WIDTH = 640
MAX_LINES = 4
MAX_TRIED = 12
"""Maximum regions of text whose characters are recognised; a page of credits has a hundred, each about 30 CPU ms."""
MIN_SCORE = 0.9

Pixels = npt.NDArray[np.uint8]
Engine = Callable[..., Any]
"""The OCR engine, which ships no types."""

_one_at_a_time = threading.Lock()


def read(pictures: Sequence[Pixels]) -> tuple[int, tuple[str, ...]]:
    """Return the index of the frame with the most text, and its first lines from top to bottom.

    There are no lines if no text is recognised with confidence, or the OCR package is not installed.
    """
    counts = [_line_count(_shrunk(picture, SCAN_HEIGHT / picture.shape[0])) for picture in pictures]
    place = max(range(len(counts)), key=lambda place: (counts[place], place))  # prefer later frames: a title fades in
    if not counts[place]:
        return place, ()
    with _one_at_a_time:
        engine = _engine()
        return place, () if engine is None else _first_lines(
            engine, _shrunk(pictures[place], MAX_WIDTH / pictures[place].shape[1])
        )


def _first_lines(engine: Engine, picture: Pixels) -> tuple[str, ...]:
    """Find the regions of text, and recognise them one by one from the top until there are `MAX_LINES` sure lines."""
    found = engine(picture, use_det=True, use_rec=False)
    lines: dict[str, None] = {}
    for box in [] if found.boxes is None else found.boxes[:MAX_TRIED]:
        x, y, width, height = cv2.boundingRect(np.asarray(box, np.float32))
        line = engine(picture[max(0, y) : y + height, max(0, x) : x + width], use_det=False, use_rec=True)
        for text, score in zip(line.txts or (), line.scores or (), strict=True):
            quoted = clean(text)
            if score >= MIN_SCORE and sum(map(str.isalnum, quoted)) >= 3:
                lines[quoted] = None
        if len(lines) == MAX_LINES:
            break
    return tuple(lines)


def clean(text: str) -> str:
    """Clean up a line for quoting in a caption: one line, no double quotation marks, at most 60 characters."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(printable.translate(str.maketrans('“”"', "'''")).split())[:60].strip()


def _line_count(picture: Pixels) -> int:
    """Count the regions that look like a line of text: thin strokes, close together, in a long and low row.

    Tuned on a video full of leaves and grass. Letters taller than 1/10 of the frame are not found.
    """
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
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


def _shrunk(pixels: Pixels, scale: float) -> Pixels:
    """Scale the frame down; a scale above 1 leaves its size."""
    size = [max(1, round(side * min(1, scale))) for side in pixels.shape[1::-1]]
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


@cache
def _engine() -> Engine | None:
    """Load the OCR engine, ``None`` if its package is not installed. Its models come with the package."""
    disable_telemetry()
    try:
        from rapidocr import RapidOCR  # noqa: PLC0415 - a second to import, and most requests do not need it
    except ImportError:
        return None
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    limits = {"Det.limit_type": "max", "Det.limit_side_len": MAX_WIDTH}
    return RapidOCR(params={"Global.log_level": "error", "Global.use_cls": False, **threads, **limits})
