"""Transcript of a piece of audio. The module imports no client, so readers of transcripts stay light."""

from __future__ import annotations

import json
from typing import NamedTuple

from lvqa_ray.records.safe_text import safe_text


class Segment(NamedTuple):
    """Text spoken between two times (seconds from the start of the audio)."""

    start_s: float
    end_s: float
    text: str


class Transcript(NamedTuple):
    """Segments of a piece of audio in time order, and the language if the endpoint names it."""

    segments: tuple[Segment, ...]
    language: str = ""

    @property
    def text(self) -> str:
        """JSON form, stored as the text of a reply; never empty."""
        return json.dumps({"segments": self.segments, "language": self.language}, ensure_ascii=False)

    @classmethod
    def of(cls, text: str) -> Transcript:
        """Parse the JSON form.

        Raises:
            ValueError: It is no transcript.
        """
        try:
            data = json.loads(text)
            segments = (Segment(*segment) for segment in data["segments"])
            return cls(tuple(one._replace(text=safe_text(one.text)) for one in segments), safe_text(data["language"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no transcript: {error}") from None
