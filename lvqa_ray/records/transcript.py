"""What is said in a piece of sound, as a value. It stands alone, so that who reads it loads no client."""

from __future__ import annotations

import json
from typing import NamedTuple

from lvqa_ray.records.safe_text import safe_text


class Segment(NamedTuple):
    """What is said between two times (seconds from the start of the sound)."""

    start_s: float
    end_s: float
    text: str


class Transcript(NamedTuple):
    """What is said in a piece of sound, in time order, and in which language, as far as the endpoint says."""

    segments: tuple[Segment, ...]
    language: str = ""

    @property
    def text(self) -> str:
        """As the text of a reply, which is never empty."""
        return json.dumps({"segments": self.segments, "language": self.language}, ensure_ascii=False)

    @classmethod
    def of(cls, text: str) -> Transcript:
        """What `text` was made of.

        Raises:
            ValueError: It is no transcript.
        """
        try:
            said = json.loads(text)
            segments = (Segment(*segment) for segment in said["segments"])
            return cls(tuple(one._replace(text=safe_text(one.text)) for one in segments), safe_text(said["language"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no transcript: {error}") from None
