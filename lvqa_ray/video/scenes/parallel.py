"""A long video in parts, each from a key frame to another, which are looked at by many at once.

What a detector wants of a picture is how much it differs from the one before it. So the scores of parts that overlap by
a frame are, end to end, those of the whole, and the cuts that a detector finds in them are the same. That holds if a
decoder that begins at a key frame makes the same pictures as one that comes from before it: some files only claim that.
So a part goes on for a few frames into the next one, and these have to be alike in both.
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
from lvqa_ray.video.scenes.detection import CutTracker
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.scenes.downscale import Picture
from lvqa_ray.video.scenes.frame_scores import FrameScorer
from lvqa_ray.video.spans import ScenePlan

LONGEST_LOOK = 1000
"""Packets that are read at most to find a key frame."""
OVERLAP = 8
"""Frames that both neighbours look at. A file whose key frames are none differs in the first few after one."""


def find_parts(row: ProbedVideo, length_s: float) -> list[VideoPart]:
    """Divide a video at key frames.

    Args:
        row: The video, a local file.
        length_s: About how long a part is to be.

    Returns:
        Two parts at least, in order and without gaps; none where the video is too short for two, lacks key frames, or
        cannot be sought in.

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
    """When the first key frame appears that is read after seeking there."""
    source.seek(time_s)
    packets = islice(source.packets(), LONGEST_LOOK)
    return next((source.offset_of(each) for each in packets if each.is_keyframe and each.pts is not None), None)


def score_part(part: VideoPart, *, detection: Detection, plan: ScenePlan, sampling: FrameSampling | None) -> ScoredPart:
    """Look at all frames of a part, and take the pictures that will be wanted if its first frame begins a scene.

    Args:
        part: The part; its video is a local file.
        detection: How scenes are found; it passes over no frames.
        plan: How they become clips.
        sampling: Which pictures are taken; ``None`` for none.

    Raises:
        VideoError: The video cannot be opened.
    """
    offsets, ends_s = array("q"), array("d")
    scores = tuple(array("d") for _ in detection.detectors())
    head: list[tuple[int, bytes]] = []
    tail: list[tuple[int, bytes]] = []
    tail_scores: tuple[float, ...] = ()
    with open_video(part.video.uri) as source, watch_losses() as losses:
        start_s = float((part.start or 0) * source.time_base)
        taken = _Pictures(source, detection, plan, sampling, start_s) if sampling else None
        looker = FrameScorer(source, detection, sparing=sampling is None or sampling.is_sparse(plan, source))
        for frame, picture, seen in looker.looks(None if part.start is None else start_s):
            offset = source.offset_of(frame)
            if part.end is not None and offset >= part.end:
                tail_scores = tail_scores or seen
                tail.append((offset, _digest(picture)))
                if len(tail) == OVERLAP:
                    break
                continue
            if len(head) < OVERLAP:
                head.append((offset, _digest(picture)))
            offsets.append(offset)
            ends_s.append(source.end_of(frame))
            for values, score in zip(scores, seen, strict=True):
                values.append(score)
            if taken:
                taken.add(frame, seen)
        if part.end is None and offsets:
            ends_s[-1] = source.final_end_of(frame)
        return ScoredPart(
            **{each.name: getattr(part, each.name) for each in fields(VideoPart)},
            time_base=source.time_base,
            fps=source.fps,
            offsets=offsets,
            ends_s=ends_s,
            scores=scores,
            head=tuple(head),
            tail=tuple(tail),
            tail_scores=tail_scores,
            damaged=losses.within(Span(start_s=start_s, end_s=math.inf)) > 0 or not _rising(offsets),
            pictures=taken.jpegs if taken else {},
        )


class _Pictures:
    """Those of the shots that a part seems to hold."""

    def __init__(
        self, source: VideoReader, detection: Detection, plan: ScenePlan, sampling: FrameSampling, start_s: float
    ) -> None:
        self.jpegs: dict[float, bytes] = {}
        self._source = source
        self._moments = CutTracker(
            detection, source.time_base, source.fps, least_s=plan.least_s, start_s=-math.inf if start_s > 0 else 0.0
        )
        self._shots = ClipBuilder(plan, sampling, start_s, presentation=source.presentation)

    def add(self, frame: VideoFrame, scores: Sequence[float]) -> None:
        source = self._source
        place = source.offset_of(frame), source.time_of(frame), source.end_of(frame)
        for moment in self._moments.add(*place, scores, frame):
            for shot in self._shots.add(moment):
                self.jpegs |= {taken.time_s: taken.jpeg for taken in shot.frames()}


def _digest(picture: Picture) -> bytes:
    return hashlib.blake2b(picture.tobytes(), digest_size=8).digest()


def _rising(offsets: Sequence[int]) -> bool:
    return bool(offsets) and all(before < after for before, after in pairwise(offsets))
