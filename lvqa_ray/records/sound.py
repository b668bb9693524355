"""A part of a video's sound, on its way to being written down."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """A part of the sound of a video as a file.

    Attributes:
        start_ms: Where it begins, in milliseconds from the first picture.
        end_ms: Where it ends; parts that were not cut in a pause overlap.
        mime: Such as ``audio/ogg``.
        identity: What it is made of: fingerprint, span and form. It stands for the bytes in the cache key.
        data: The file.
    """

    start_ms: int
    end_ms: int
    mime: str
    identity: str
    data: bytes = field(repr=False)
