"""Joining of separately scored parts of a video: gives the same clips as one pass over the whole video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from lvqa_ray.records import Frame, ScoredPart, Span
from lvqa_ray.video.scenes.clip_builder import ClipBuilder, ClipCandidate, FrameSampling
from lvqa_ray.video.scenes.detection import USUAL_FPS, CutTracker, FrameEvent
from lvqa_ray.video.scenes.detectors import Detection, ScoringDetector
from lvqa_ray.video.scenes.named_detectors import start_scoring
from lvqa_ray.video.scenes.parallel import OVERLAP
from lvqa_ray.video.spans import ScenePlan

NO_PICTURES = FrameSampling(count=1, fps=None, short_side=16, quality=1)
"""Placeholder if no frames are sampled."""
KEPT_S = 2.0
"""A clip's first frame may have appeared this long before the clip; a clip with an older one is decoded again."""


class PartsDisagreeError(Exception):
    """Two parts differ from one pass over both, or one of them is damaged."""


class JoinedParts:
    """Joins the parts of a video, and emits each clip as soon as it is final; arguments as for `score_part`."""

    def __init__(self, detection: Detection, plan: ScenePlan, sampling: FrameSampling | None) -> None:
        self._detection = detection
        self._least_s = plan.least_s
        self._sampled = sampling is not None
        self._builder = ClipBuilder(plan, sampling or NO_PICTURES)
        self._tracker: CutTracker | None = None
        self._detector: ScoringDetector | None = None
        self._before: ScoredPart | None = None
        self._pictures: dict[float, bytes] = {}

    def add(self, part: ScoredPart) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
        """Add the next part; yields the clips that are now final, with their frames.

        The frames are those that one pass would sample. All JPEGs of a clip are empty if one of them is missing.

        Raises:
            PartsDisagreeError: The part does not continue the one before it; none of its clips are emitted.
        """
        if part.damaged or not _follows(self._before, part):
            raise PartsDisagreeError(f"{part.video.id} is not the same in parts as in one piece")
        if self._tracker is None or self._detector is None:
            fps = part.fps or USUAL_FPS
            self._detector = start_scoring(self._detection, part.time_base, fps)
            self._tracker = CutTracker(self._detector, fps, least_s=self._least_s)
        self._pictures |= part.pictures
        first = self._before.tail_scores if self._before else tuple(values[0] for values in part.scores)
        ticks, per_ticks = part.time_base.as_integer_ratio()
        for offset, end_s, *scores in zip(part.offsets, part.ends_s, *part.scores, strict=True):
            time_s = offset * ticks / per_ticks  # as `VideoReader` computes it, bit by bit
            cuts = self._detector.feed_scores(time_s, first or scores)
            first = ()
            yield from self._clips(self._tracker.add(time_s, end_s, cuts))
        self._before = replace(part, pictures={})

    def finish(self) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
        """End of the video: yields the remaining clips."""
        if self._tracker:
            yield from self._clips(self._tracker.finish())
            yield from map(self._with_frames, self._builder.finish())

    def _clips(self, events: Iterable[FrameEvent]) -> Iterator[tuple[Span, tuple[Frame, ...]]]:
        for event in events:
            yield from map(self._with_frames, self._builder.add(event))

    def _with_frames(self, clip: ClipCandidate) -> tuple[Span, tuple[Frame, ...]]:
        if not self._sampled:
            return clip.span, ()
        frames = tuple(replace(frame, jpeg=self._pictures.get(frame.time_s, b"")) for frame in clip.frames())
        since = clip.span.start_s - KEPT_S
        self._pictures = {time_s: jpeg for time_s, jpeg in self._pictures.items() if time_s >= since}
        whole = all(frame.jpeg for frame in frames)
        return clip.span, frames if whole else tuple(replace(frame, jpeg=b"") for frame in frames)


def _follows(before: ScoredPart | None, part: ScoredPart) -> bool:
    if before is None:
        return part.start is None
    shared = min(len(before.tail), len(part.head), OVERLAP)
    return bool(shared) and before.end == part.head[0][0] and before.tail[:shared] == part.head[:shared]
