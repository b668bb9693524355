"""Frames that a check shows to a model: their spans, and their parts of a prompt."""

from __future__ import annotations

from collections.abc import Iterable

from lvqa_ray.llm.messages import Media, Part, Text
from lvqa_ray.records import CaptionedVideo, Frame, ReasoningStep, Span

Picture = tuple[str, Frame]
"""The cache identity of a frame, and the frame."""
SHOWN_MOMENT_S = 1.0
"""Shortest span that is shown (s)."""
STEPS_SHOWN = 3
"""Assumed spans that a question cites, for estimates."""


def shown_span(step: ReasoningStep, video: CaptionedVideo) -> Span:
    """Span to show for a step: its span within the video, widened to `SHOWN_MOMENT_S` if it is shorter."""
    end_s = video.info.duration_sec
    start, end = min(step.span.start_s, end_s), min(step.span.end_s, end_s)
    if end - start < SHOWN_MOMENT_S:
        start, end = max(0.0, (start + end - SHOWN_MOMENT_S) / 2), min(end_s, (start + end + SHOWN_MOMENT_S) / 2)
    return Span(start_s=round(start, 3), end_s=round(end, 3))


def timed_frames(pictures: Iterable[Picture]) -> list[Part]:
    """Parts of a prompt: for each frame its time, then the JPEG."""
    parts: list[Part] = []
    for identity, frame in pictures:
        parts.append(Text(text=f"Frame at {frame.time_s:.2f} s:"))
        parts.append(Media(identity=identity, mime="image/jpeg", data=frame.jpeg))
    return parts
