"""Part of the audio of a video, to be transcribed."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Sound:
    """Part of the audio of a video, as a file.

    Attributes:
        start_ms: Start, in milliseconds from the first frame.
        end_ms: End; parts that were not split in a pause overlap.
        mime: MIME type, such as ``audio/ogg``.
        identity: Content-addressed key: fingerprint, span and format. It replaces the bytes in the cache key.
        data: The file.
    """

    start_ms: int
    end_ms: int
    mime: str
    identity: str
    data: bytes = field(repr=False)
