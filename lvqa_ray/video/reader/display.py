"""Display properties of frames: rotation, mirroring, pixel aspect ratio and transfer function."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from av.sidedata.sidedata import SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lvqa_ray.video.frames.jpeg import Pixels

MAX_PIXEL_ASPECT = 4
"""A pixel aspect ratio above 4:1 or below 1:4 is an error in the file; such pixels are taken for square."""

UNSPECIFIED = 2
"""FFmpeg's number for an unspecified colour property."""

PQ, HLG = 16, 18
"""FFmpeg's numbers of the transfer functions of HDR video: SMPTE ST 2084, ARIB STD-B67."""


class Orientation(NamedTuple):
    """One of the eight orientations of an image: transposed first, then flipped.

    Attributes:
        transposed: Rows become columns.
        flipped: Then mirrored horizontally.
        upended: Then mirrored vertically.
    """

    transposed: bool = False
    flipped: bool = False
    upended: bool = False

    @property
    def rotation(self) -> int:
        """Clockwise rotation in degrees; a mirrored image is mirrored horizontally before it."""
        if self.transposed:
            return 90 if self.flipped else 270
        return 180 if self.upended else 0

    @property
    def mirrored(self) -> bool:
        """Whether the image is mirrored."""
        return self.transposed ^ self.flipped ^ self.upended

    @property
    def filters(self) -> tuple[str, ...]:
        """FFmpeg filters that apply the orientation."""
        if self.transposed:
            name = {(False, False): "cclock_flip", (True, False): "clock", (False, True): "cclock"}
            return (f"transpose={name.get((self.flipped, self.upended), 'clock_flip')}",)
        return ("hflip",) * self.flipped + ("vflip",) * self.upended

    def applied(self, pixels: Pixels) -> Pixels:
        """Apply the orientation to pixels."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        across, down = -1 if self.flipped else 1, -1 if self.upended else 1
        return np.ascontiguousarray(pixels[::down, ::across]) if any(self) else pixels


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """Orientation of a frame by its display matrix, rounded to the nearest of the eight."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData) or len(data := bytes(matrix)) < struct.calcsize("=9i"):
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack_from("=9i", data)
    if a * d == b * c:  # singular
        return UPRIGHT
    if abs(a * d) >= abs(b * c):
        return Orientation(flipped=a < 0, upended=d < 0)
    return Orientation(transposed=True, flipped=c < 0, upended=b < 0)


@dataclass(frozen=True, slots=True)
class Presentation:
    """Display properties that a stream states for all its frames.

    Attributes:
        pixel_aspect: Width of a stored pixel divided by its height.
        transfer: FFmpeg's number of the transfer function, for frames that state none.
        turned: Whether the decoder has already rotated the frames by 90 or 270 degrees.
    """

    pixel_aspect: Fraction = Fraction(1)
    transfer: int = UNSPECIFIED
    turned: bool = False

    @classmethod
    def of(cls, stream: VideoStream) -> Presentation:
        """Read the properties of a newly opened stream. As in FFmpeg's player, the container overrides the codec."""
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        return cls(_plausible(aspect), stream.codec_context.color_trc)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Size of a frame with square pixels; keeps the stored height."""
        if self.turned:
            return width, max(1, round(height * self.pixel_aspect))
        return max(1, round(width * self.pixel_aspect)), height

    def hdr_transfer(self, frame: VideoFrame) -> int:
        """`PQ` or `HLG` for an HDR frame; 0 for all others."""
        transfer = frame.color_trc if frame.color_trc != UNSPECIFIED else self.transfer
        return transfer if transfer in (PQ, HLG) else 0


PLAIN = Presentation()


def shown_size(frame: VideoFrame, presentation: Presentation) -> tuple[int, int]:
    """Displayed width and height of a frame, with square pixels."""
    width, height = presentation.size(frame.width, frame.height)
    return (height, width) if orientation_of(frame).transposed else (width, height)


def _plausible(aspect: Fraction | None) -> Fraction:
    if not aspect or not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        return Fraction(1)
    return Fraction(aspect)
