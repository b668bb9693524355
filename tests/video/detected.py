"""All scenes or clips of a video at once, where the pipeline takes them one by one."""

from __future__ import annotations

from lvqa_ray.records import Frame, Span
from lvqa_ray.video.scenes.clip_builder import FrameSampling, iter_clips
from lvqa_ray.video.scenes.detection import iter_scenes
from lvqa_ray.video.scenes.detectors import Detection
from lvqa_ray.video.spans import ScenePlan


def detect_scenes(path: str, detection: Detection) -> list[Span]:
    """All scenes of a video."""
    return list(iter_scenes(path, detection))


def scenes_with_frames(
    path: str, *, detection: Detection, plan: ScenePlan, sampling: FrameSampling
) -> list[tuple[Span, tuple[Frame, ...]]]:
    """The spans and the encoded pictures of all clips of a video."""
    shots = iter_clips(path, detection=detection, plan=plan, sampling=sampling)
    return [(shot.span, shot.frames()) for shot in shots]
