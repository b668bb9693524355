"""Scenes: where the picture cuts, as PySceneDetect sees it, fed with small frames from PyAV.

PyAV decodes what OpenCV's reader silently does not (AV1), and knows when each frame is shown, which a frame number
divided by a rate does not where the rate varies.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Literal, cast

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode, SceneDetector, SceneManager, VideoStream
from scenedetect.common import Timecode
from scenedetect.video_stream import SeekError

from lvqa_ray.records import Span
from lvqa_ray.video.source import Source, no_frames, open_source

Detector = Literal["content", "adaptive", "both"]
DETECTION_SIDE = 256
"""Longest side of the frames that detectors see: the size to which PySceneDetect would scale them down itself."""


def detect_scenes(
    path: str,
    *,
    detector: Detector,
    threshold: float = 27.0,
    adaptive_threshold: float = 3.0,
    min_scene_frames: int = 15,
    frame_skip: int = 0,
    luma_only: bool = True,
    threads: int = 1,
) -> list[Span]:
    """Find the scenes of a video.

    Args:
        path: A local file.
        detector: ``content`` compares neighbouring frames with ``threshold``, ``adaptive`` with their surroundings, and
            ``both`` cuts where either does.
        threshold: Least mean change of hue, saturation and brightness (0 to 255) that is a cut, for ``content``.
        adaptive_threshold: Least ratio of a change to those around it that is a cut, for ``adaptive``.
        min_scene_frames: Shortest scene, in frames.
        frame_skip: Frames to leave out after each one that is looked at; faster, and cuts are found less exactly.
        luma_only: Let ``adaptive`` look at brightness alone.
        threads: Decoder threads.

    Returns:
        Scenes in time order without gaps, from 0 to the end of the last frame that could be decoded. A video without
        cuts is one scene.

    Raises:
        VideoError: The video cannot be opened, or not one frame can be decoded.
    """
    manager = SceneManager()
    for each in _detectors(detector, threshold, adaptive_threshold, min_scene_frames, luma_only=luma_only):
        manager.add_detector(each)
    with open_source(path, threads=threads) as source:
        video = _PyavStream(source)
        manager.detect_scenes(video, frame_skip=frame_skip)
        if not video.frame_number:
            raise no_frames(path)
        starts = [start.seconds for start, _ in manager.get_scene_list(start_in_scene=True)]
        return _spans(starts, video.end_s)


def _detectors(
    detector: Detector, threshold: float, adaptive_threshold: float, min_scene_frames: int, *, luma_only: bool
) -> Iterator[SceneDetector]:
    if detector in ("content", "both"):
        yield ContentDetector(threshold=threshold, min_scene_len=min_scene_frames)
    if detector in ("adaptive", "both"):
        yield AdaptiveDetector(
            adaptive_threshold=adaptive_threshold, min_scene_len=min_scene_frames, luma_only=luma_only
        )


def _spans(starts: list[float], end_s: float) -> list[Span]:
    edges = [0.0, *starts[1:], end_s]
    return [Span(start_s=start, end_s=end) for start, end in pairwise(edges) if end > start]


class _PyavStream(VideoStream):  # type: ignore[misc]  # PySceneDetect ships no types
    """Feeds PySceneDetect with the frames of a source, scaled down before their colours are converted."""

    BACKEND_NAME = "lvqa-ray"

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self._frames = source.frames()
        self._frame: VideoFrame | None = None
        self._count = 0
        self._reformatter = VideoReformatter()
        width, height = source.stream.codec_context.width, source.stream.codec_context.height
        scale = min(1.0, DETECTION_SIDE / max(width, height))
        self._size = max(1, round(width * scale)), max(1, round(height * scale))

    @property
    def end_s(self) -> float:
        """Seconds at which the last frame read has been shown."""
        return self._source.end_of(self._frame) if self._frame else 0.0

    def read(self, decode: bool = True) -> npt.NDArray[np.uint8] | bool:
        frame = next(self._frames, None)
        if frame is None:
            return False
        self._frame = frame
        self._count += 1
        return self._small(frame) if decode else True

    def _small(self, frame: VideoFrame) -> npt.NDArray[np.uint8]:
        # Picking pixels is cheapest, and comes closest to OpenCV's resizing, which does not average when it shrinks.
        bgr = self._reformatter.reformat(
            frame,
            width=self._size[0],
            height=self._size[1],
            format="bgr24",
            interpolation=Interpolation.POINT,
            threads=1,
        )
        return cast("npt.NDArray[np.uint8]", bgr.to_ndarray())

    @property
    def path(self) -> str:
        return self._source.path

    @property
    def name(self) -> str:
        return Path(self._source.path).stem

    @property
    def is_seekable(self) -> bool:
        return False

    @property
    def frame_rate(self) -> Fraction:
        return self._source.fps or Fraction(25)

    @property
    def duration(self) -> FrameTimecode | None:
        return None

    @property
    def frame_size(self) -> tuple[int, int]:
        return self._size

    @property
    def aspect_ratio(self) -> float:
        return 1.0

    @property
    def position(self) -> FrameTimecode:
        pts = self._source.offset_of(self._frame) if self._frame else 0
        return FrameTimecode(Timecode(pts=max(0, pts), time_base=self._source.time_base), self.frame_rate)

    @property
    def position_ms(self) -> float:
        return float(self.position.seconds) * 1000

    @property
    def frame_number(self) -> int:
        return self._count

    def reset(self) -> None:
        raise SeekError

    def seek(self, target: object) -> None:
        raise SeekError(target)
