"""The shots of a video out of parts that were looked at apart: those that one pass over the whole would have found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lvqa_ray.records import Frame, ScoredPart, Span
from lvqa_ray.video.scenes.clip_builder import ClipBuilder, ClipCandidate, FrameSampling
from lvqa_ray.video.scenes.detection import CutTracker, FrameEvent
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.parallel import OVERLAP
from lvqa_ray.video.spans import ScenePlan

ANY = FrameSampling(count=1, fps=None, short_side=16, quality=1)
"""Stands for no pictures at all."""
KEPT_S = 2.0
"""How long before a shot its first picture may have come up; should it be older, that shot is decoded once more."""


class PartsDisagreeError(Exception):
    """Two parts are not what one pass over both would have seen, or one of them is damaged."""


class JoinedParts:
    """Makes the parts of a video into its shots, each told once it is settled.

    Args:
        detection: How scenes are found.
        plan: How they become clips.
        sampling: Which pictures are taken; ``None`` for none.
    """

    def __init__(self, detection: Detection, plan: ScenePlan, sampling: FrameSampling | None) -> None:
        self._detection = detection
        self._least_s = plan.least_s
        self._sampled = sampling is not None
        self._shots = ClipBuilder(plan, sampling or ANY)
        self._moments: CutTracker | None = None
        self._before: ScoredPart | None = None
        self._pictures: dict[float, bytes] = {}

    def add(self, part: ScoredPart) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
        """Take in the next part; yields the shots that it settles.

        Their pictures are those that one pass would take. They are empty where a shot lacks one of them.

        Raises:
            PartsDisagreeError: It does not follow upon the one before it; nothing of it is told.
        """
        if part.damaged or not _follows(self._before, part):
            raise PartsDisagreeError(f"{part.video.id} is not the same in parts as in one piece")
        if self._moments is None:
            self._moments = CutTracker(self._detection, part.time_base, part.fps, least_s=self._least_s)
        self._pictures |= part.pictures
        first = self._before.tail_scores if self._before else tuple(values[0] for values in part.scores)
        ticks, per_ticks = part.time_base.as_integer_ratio()
        for offset, end_s, *scores in zip(part.offsets, part.ends_s, *part.scores, strict=True):
            # The same arithmetic as that of `Source`: times are compared to the last bit.
            moments = self._moments.add(offset, offset * ticks / per_ticks, end_s, first or scores)
            first = ()
            yield from self._told(moments)
        self._before = replace(part, pictures={})

    def finish(self) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
        """All parts have come: yields what is left."""
        if self._moments:
            yield from self._told(self._moments.finish())
            yield from map(self._shown, self._shots.finish())

    def _told(self, moments: Iterable[FrameEvent]) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
        for moment in moments:
            yield from map(self._shown, self._shots.add(moment))

    def _shown(self, shot: ClipCandidate) -> tuple[Span, tuple[Frame, ...]]:
        if not self._sampled:
            return shot.span, ()
        frames = tuple(replace(frame, jpeg=self._pictures.get(frame.time_s, b"")) for frame in shot.frames())
        since = shot.span.start_s - KEPT_S
        self._pictures = {time_s: jpeg for time_s, jpeg in self._pictures.items() if time_s >= since}
        whole = all(frame.jpeg for frame in frames)
        return shot.span, frames if whole else tuple(replace(frame, jpeg=b"") for frame in frames)


def _follows(before: ScoredPart | None, part: ScoredPart) -> bool:
    if before is None:
        return part.start is None
    shared = min(len(before.tail), len(part.head), OVERLAP)
    return bool(shared) and before.end == part.head[0][0] and before.tail[:shared] == part.head[:shared]
