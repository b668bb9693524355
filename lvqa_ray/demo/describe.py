"""Frames in, measured facts out: shots, their looks and movement, and the text that can be read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import simplejpeg

from lvqa_ray.demo import measure, reading
from lvqa_ray.demo.facts import ClipFacts, Motion, Shot
from lvqa_ray.demo.measure import Pixels, Small


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A frame of a request.

    Attributes:
        moment: ``12.50 s``, or ``frame 3`` where no time was given.
        data: The picture file, JPEG or another format that OpenCV reads.
        height: Pixels.
        width: Pixels.
    """

    moment: str
    data: bytes
    height: int
    width: int


class NotAPicture(ValueError):
    """The bytes hold no picture that can be read."""


def open_picture(data: bytes, moment: str) -> Picture:
    """A frame from its file, without decoding more than a JPEG's header.

    Raises:
        NotAPicture: The bytes hold none.
    """
    if data[:2] == b"\xff\xd8":
        try:
            height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        except ValueError as error:
            raise NotAPicture("the picture is a damaged JPEG") from error
    else:
        height, width = _decode_other(data).shape[:2]
    return Picture(moment, data, int(height), int(width))


def describe(pictures: Sequence[Picture]) -> ClipFacts:
    """Measure the frames of one clip.

    Args:
        pictures: At least one frame, in time order.

    Raises:
        NotAPicture: A frame cannot be decoded.
    """
    decoded = [_decode(picture, reading.SCAN_HEIGHT) for picture in pictures]
    smalls = [measure.shrink(pixels) for pixels in decoded]
    moments = [picture.moment for picture in pictures]
    starts = [0, *(i for i in range(1, len(smalls)) if measure.shot_changes(smalls[i - 1], smalls[i])), len(smalls)]
    shots = tuple(_shot(moments[a:b], smalls[a:b]) for a, b in itertools.pairwise(starts))
    wordy = reading.wordiest(decoded)
    found = reading.read([(moments[i], _decode(pictures[i], pictures[i].height)) for i in wordy]) if wordy else ()
    return ClipFacts(shots, tuple(sorted(found, key=lambda item: moments.index(item.at))))


def _shot(moments: Sequence[str], smalls: Sequence[Small]) -> Shot:
    return Shot(
        start=moments[0],
        end=moments[-1],
        look=measure.look(smalls),
        detail=measure.detail(smalls),
        motion=_longest_motion(moments, smalls),
    )


def _longest_motion(moments: Sequence[str], smalls: Sequence[Small]) -> Motion | None:
    kinds = [measure.motion(before, after) for before, after in itertools.pairwise(smalls)]
    best: Motion | None = None
    longest = 0
    for kind, run in itertools.groupby(enumerate(kinds), key=lambda item: item[1]):
        places = [place for place, _ in run]
        if len(places) > longest:
            longest = len(places)
            best = Motion(moments[places[0]], moments[places[-1] + 1], kind)
    return best


def _decode(picture: Picture, height: int) -> Pixels:
    """The picture as height x width x 3 BGR, a JPEG at the smallest of its cheap sizes that has the height."""
    if picture.data[:2] != b"\xff\xd8":
        return _decode_other(picture.data)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            picture.data, colorspace="BGR", fastdct=True, fastupsample=True, min_height=min(height, picture.height)
        )
    except ValueError as error:
        raise NotAPicture(f"the JPEG of {picture.moment} is damaged") from error
    return pixels


def _decode_other(data: bytes) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if pixels is None:
        raise NotAPicture("the bytes are no picture that can be read")
    return np.asarray(pixels, np.uint8)
