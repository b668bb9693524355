"""How a stored picture is to be shown: turned, mirrored, with pixels that are not square, and with which brightness."""

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
"""A pixel that is more than so many times as wide as high, or as high as wide, is a mistake in the file: square."""

UNSPECIFIED = 2
"""FFmpeg's number for a colour property that a file does not state."""

PQ, HLG = 16, 18
"""FFmpeg's numbers of the transfer functions of HDR video: SMPTE ST 2084, ARIB STD-B67."""


class Orientation(NamedTuple):
    """One of the eight ways to lay down a picture: first transposed, then flipped.

    Attributes:
        transposed: Whether rows become columns.
        flipped: Whether it is then mirrored from left to right.
        upended: Whether it is then mirrored from top to bottom.
    """

    transposed: bool = False
    flipped: bool = False
    upended: bool = False

    @property
    def rotation(self) -> int:
        """Clockwise degrees by which it is turned; a mirrored one is mirrored from left to right before that."""
        if self.transposed:
            return 90 if self.flipped else 270
        return 180 if self.upended else 0

    @property
    def mirrored(self) -> bool:
        """Whether text in the stored picture is shown reversed."""
        return self.transposed ^ self.flipped ^ self.upended

    @property
    def filters(self) -> tuple[str, ...]:
        """FFmpeg's filters that show a stored picture as it is meant."""
        if self.transposed:
            name = {(False, False): "cclock_flip", (True, False): "clock", (False, True): "cclock"}
            return (f"transpose={name.get((self.flipped, self.upended), 'clock_flip')}",)
        return ("hflip",) * self.flipped + ("vflip",) * self.upended

    def applied(self, pixels: Pixels) -> Pixels:
        """Pixels as they are meant to be shown."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        across, down = -1 if self.flipped else 1, -1 if self.upended else 1
        return np.ascontiguousarray(pixels[::down, ::across]) if any(self) else pixels


UPRIGHT = Orientation()


def orientation_of(frame: VideoFrame) -> Orientation:
    """How a frame is to be laid down, by its display matrix; one of any other angle is taken for the nearest."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(matrix, SideData) or len(data := bytes(matrix)) < struct.calcsize("=9i"):
        return UPRIGHT
    a, b, _, c, d, *_ = struct.unpack_from("=9i", data)
    if a * d == b * c:  # it would make a line of the picture
        return UPRIGHT
    if abs(a * d) >= abs(b * c):
        return Orientation(flipped=a < 0, upended=d < 0)
    return Orientation(transposed=True, flipped=c < 0, upended=b < 0)


@dataclass(frozen=True, slots=True)
class Presentation:
    """What a stream says of all its frames that these do not say themselves.

    Attributes:
        pixel_aspect: Width of a pixel divided by its height, as stored.
        transfer: FFmpeg's number of the transfer function, for frames that state none.
        turned: Whether frames come turned by a quarter already, so that rows are columns of the stored picture.
    """

    pixel_aspect: Fraction = Fraction(1)
    transfer: int = UNSPECIFIED
    turned: bool = False

    @classmethod
    def of(cls, stream: VideoStream) -> Presentation:
        """That of a stream that was just opened. As in FFmpeg's player, the container overrules the codec."""
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        return cls(_plausible(aspect), stream.codec_context.color_trc)

    def size(self, width: int, height: int) -> tuple[int, int]:
        """The size of a frame with square pixels: the stored height stays."""
        if self.turned:
            return width, max(1, round(height * self.pixel_aspect))
        return max(1, round(width * self.pixel_aspect)), height

    def hdr_transfer(self, frame: VideoFrame) -> int:
        """`PQ` or `HLG` for a frame of HDR video; 0 for all others."""
        transfer = frame.color_trc if frame.color_trc != UNSPECIFIED else self.transfer
        return transfer if transfer in (PQ, HLG) else 0


PLAIN = Presentation()


def shown_size(frame: VideoFrame, presentation: Presentation) -> tuple[int, int]:
    """Width and height of a frame as it is shown, with square pixels."""
    width, height = presentation.size(frame.width, frame.height)
    return (height, width) if orientation_of(frame).transposed else (width, height)


def _plausible(aspect: Fraction | None) -> Fraction:
    if not aspect or not Fraction(1, MAX_PIXEL_ASPECT) <= aspect <= MAX_PIXEL_ASPECT:
        return Fraction(1)
    return Fraction(aspect)
