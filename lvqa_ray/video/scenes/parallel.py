"""Parallel scene detection: a long video is divided at key frames, and workers score the parts separately.

A `ScoringDetector` needs only each frame's difference from the one before it. So the scores of parts that overlap by a
frame add up to those of the whole video, and the cuts are the same. That requires that a decoder gives the same frames
whether it starts at a key frame or before it, which some files violate. Therefore each part continues for a few frames
into the next one, and these must be identical in both.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence
from dataclasses import fields
from itertools import islice, pairwise

from av.video.frame import VideoFrame

from lvqa_ray.records import ProbedVideo, ScoredPart, Span, VideoPart
from lvqa_ray.video.reader.decode_losses import watch_losses
from lvqa_ray.video.reader.video_reader import VideoReader, open_video
from lvqa_ray.video.scenes.clip_builder import ClipBuilder, FrameSampling
from lvqa_ray.video.scenes.detection import USUAL_FPS, CutTracker
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.downscale import Picture
from lvqa_ray.video.scenes.frame_scores import FrameScorer
from lvqa_ray.video.scenes.named_detectors import start_scoring
from lvqa_ray.video.spans import ScenePlan

KEY_FRAME_MOST_PACKETS = 1000
"""Maximum packets to read in search of a key frame."""
OVERLAP = 8
"""Frames that both neighbours score; after a false key frame the first few differ."""


def find_parts(row: ProbedVideo, length_s: float) -> list[VideoPart]:
    """Divide a video at key frames.

    Args:
        row: The video, a local file.
        length_s: Approximate length of a part.

    Returns:
        At least two parts, in order and without gaps; none if the video is too short for two, lacks key frames, or does
        not support seeking.

    Raises:
        VideoError: The video cannot be opened.
    """
    borders: list[int] = []
    with open_video(row.video.uri) as source:
        least = 0.5 * length_s / source.time_base
        most = row.info.duration_sec / source.time_base - least
        for number in range(1, math.ceil(row.info.duration_sec / length_s)):
            offset = _key_at(source, number * length_s)
            if offset is not None and (borders[-1] if borders else 0) + least <= offset <= most:
                borders.append(offset)
    if not borders:
        return []
    known = {each.name: getattr(row, each.name) for each in fields(ProbedVideo)}
    edges = enumerate(pairwise([None, *borders, None]))
    return [VideoPart(**known, number=number, start=start, end=end) for number, (start, end) in edges]


def _key_at(source: VideoReader, time_s: float) -> int | None:
    """Time of the first key frame after a seek, in units of the time base."""
    source.seek(time_s)
    packets = islice(source.packets(), KEY_FRAME_MOST_PACKETS)
    return next((source.offset_of(each) for each in packets if each.is_keyframe and each.pts is not None), None)


def score_part(part: VideoPart, *, detection: Detection, plan: ScenePlan, sampling: FrameSampling | None) -> ScoredPart:
    """Score all frames of a part, and sample the frames that clips need if a scene begins with the part.

    Args:
        part: The part; its video is a local file.
        detection: Settings of a `ScoringDetector`, without `frame_skip`.
        plan: Rules for dividing scenes into clips.
        sampling: Which frames to sample; ``None`` for none.

    Raises:
        VideoError: The video cannot be opened.
    """
    offsets, ends_s = array("q"), array("d")
    scores: list[array[float]] = []
    head: list[tuple[int, bytes]] = []
    tail: list[tuple[int, bytes]] = []
    tail_scores: tuple[float, ...] = ()
    with open_video(part.video.uri) as source, watch_losses() as losses:
        start_s = float((part.start or 0) * source.time_base)
        sampled = _SampledFrames(source, detection, plan, sampling, start_s) if sampling else None
        detector = start_scoring(detection, source.time_base, source.fps or USUAL_FPS)
        scorer = FrameScorer(source, detector, sparing=sampling is None or sampling.is_sparse(plan, source))
        for frame, picture, frame_scores in scorer.looks(None if part.start is None else start_s):
            offset = source.offset_of(frame)
            if part.end is not None and offset >= part.end:
                tail_scores = tail_scores or frame_scores
                tail.append((offset, _digest(picture)))
                if len(tail) == OVERLAP:
                    break
                continue
            if len(head) < OVERLAP:
                head.append((offset, _digest(picture)))
            offsets.append(offset)
            ends_s.append(source.end_of(frame))
            scores = scores or [array("d") for _ in frame_scores]
            for values, score in zip(scores, frame_scores, strict=True):
                values.append(score)
            if sampled:
                sampled.add(frame, frame_scores)
        if part.end is None and offsets:
            ends_s[-1] = source.final_end_of(frame)
        return ScoredPart(
            **{each.name: getattr(part, each.name) for each in fields(VideoPart)},
            time_base=source.time_base,
            fps=source.fps,
            offsets=offsets,
            ends_s=ends_s,
            scores=tuple(scores),
            head=tuple(head),
            tail=tuple(tail),
            tail_scores=tail_scores,
            damaged=losses.within(Span(start_s=start_s, end_s=math.inf)) > 0 or not _rising(offsets),
            pictures=sampled.jpegs if sampled else {},
        )


class _SampledFrames:
    """Sampled frames of the clips that a part would have on its own."""

    def __init__(
        self, source: VideoReader, detection: Detection, plan: ScenePlan, sampling: FrameSampling, start_s: float
    ) -> None:
        self.jpegs: dict[float, bytes] = {}
        self._source = source
        fps = source.fps or USUAL_FPS
        self._detector = start_scoring(detection, source.time_base, fps)
        self._tracker = CutTracker(self._detector, fps, least_s=plan.least_s, start_s=-math.inf if start_s > 0 else 0.0)
        self._builder = ClipBuilder(plan, sampling, start_s, presentation=source.presentation)

    def add(self, frame: VideoFrame, scores: Sequence[float]) -> None:
        source = self._source
        time_s = source.time_of(frame)
        cuts = self._detector.feed_scores(time_s, scores)
        for event in self._tracker.add(time_s, source.end_of(frame), cuts, frame):
            for clip in self._builder.add(event):
                self.jpegs |= {each.time_s: each.jpeg for each in clip.frames()}


def _digest(picture: Picture) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=8).digest()


def _rising(offsets: Sequence[int]) -> bool:
    return bool(offsets) and all(before < after for before, after in pairwise(offsets))
