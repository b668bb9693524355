"""Scene detectors: their protocol, and the fast ones, which are PySceneDetect's fed with scores of frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args, runtime_checkable

import cv2
import numpy as np
import numpy.typing as npt

from lvqa_ray.video.scenes.downscale import Accuracy, FrameSize, Picture

if TYPE_CHECKING:  # loaded where scenes are detected: fixed clips need none of it
    from lvqa_ray.video.scenes.scored_detectors import FrameTimecode, ScoredAdaptive, ScoredContent

Detector = Literal["content", "adaptive", "both"]
IN_DOUBT = 0.85
"""Part of the threshold at which a change over missing frames may be a cut: movement that goes on may hide some."""


class SceneDetector(Protocol):
    """Finds the cuts of one video, whose frames it is fed in display order; each video gets a new one."""

    @property
    def frame_size(self) -> FrameSize:
        """Size of the frames that it is fed: width and height in pixels, or ``exact`` or ``fast``; see `shrinker`."""
        ...

    @property
    def lag_s(self) -> float:
        """How long after a frame it may still call that frame a cut (s); read after each frame, so it may change."""
        ...

    @property
    def may_skip_frames(self) -> bool:
        """Whether frames that no other frame refers to may be missing, which saves half of the decoding."""
        ...

    @property
    def may_run_in_parts(self) -> bool:
        """Whether several workers may look at parts of a long video; only a `ScoringDetector` can."""
        ...

    def feed(self, time_s: float, frame: Picture) -> Iterable[float]:
        """Take the next frame: 8-bit BGR, height x width x 3.

        Args:
            time_s: When the frame appears, in seconds from the first one.
            frame: The frame.

        Returns:
            Cuts that are now certain: times of frames that have been fed, no further back than `lag_s`.
        """
        ...

    def finish(self) -> Iterable[float]:
        """The cuts that only the end of the video makes certain."""
        ...


@runtime_checkable
class ScoringDetector(SceneDetector, Protocol):
    """A detector that needs nothing of a frame but how much it differs from the one before it.

    So frames can be scored by several workers, and the scores fed in order afterwards.
    """

    seen: Any
    """What the next frame will be compared with; may be set back to an earlier value."""

    def score(self, frame: Picture) -> tuple[float, ...]:
        """How much a frame differs from the one before it; 0 for the first."""
        ...

    def feed_scores(self, time_s: float, scores: Sequence[float]) -> Iterable[float]:
        """What `feed` does, with the scores of the frame."""
        ...

    def in_doubt(self, scores: Sequence[float]) -> bool:
        """Whether frames that were skipped before this one have to be looked at after all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """How scenes are found.

    Attributes:
        detector: ``content`` compares neighbouring frames with ``threshold``, ``adaptive`` with their surroundings, and
            ``both`` cuts where either does; any other name is one of `lvqa_ray.video.scenes.named_detectors`.
        accuracy: ``exact`` looks at the very pixels that PySceneDetect's OpenCV backend would, ``fast`` at ones near
            them, and where nothing much changes not at every frame.
        threshold: Least mean change of hue, saturation and brightness (0 to 255) that is a cut, for ``content``.
        adaptive_threshold: Least ratio of a change to those around it that is a cut, for ``adaptive``.
        min_scene_frames: Shortest scene, in frames.
        frame_skip: Frames to leave out after each one that is looked at; faster, and cuts are found less exactly.
        luma_only: Let ``adaptive`` look at brightness alone.
        args: Parameters of a detector of another name.
    """

    detector: str = "content"
    accuracy: Accuracy = "fast"
    threshold: float = 27.0
    adaptive_threshold: float = 3.0
    min_scene_frames: int = 15
    frame_skip: int = 0
    luma_only: bool = True
    args: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_fast(self) -> bool:
        """Whether `FastDetector` is the detector."""
        return self.detector in get_args(Detector)

    @property
    def may_spare(self) -> bool:
        """Whether frames may be missing where little changes: that leaves a threshold as it is, but not a ratio."""
        return self.accuracy == "fast" and self.detector == "content" and not self.frame_skip

    def detectors(self) -> list[ScoredContent | ScoredAdaptive]:
        """New detectors, at the start of a video; each is given the scores of pictures in place of the pictures."""
        from lvqa_ray.video.scenes.scored_detectors import ScoredAdaptive, ScoredContent  # noqa: PLC0415 - see above

        made: list[ScoredContent | ScoredAdaptive] = []
        if self.detector in ("content", "both"):
            made.append(ScoredContent(threshold=self.threshold, min_scene_len=self.min_scene_frames))
        if self.detector in ("adaptive", "both"):
            adaptive = ScoredAdaptive(
                adaptive_threshold=self.adaptive_threshold,
                min_scene_len=self.min_scene_frames,
                luma_only=self.luma_only,
            )
            made.append(adaptive)
        return made


class FastDetector:
    """PySceneDetect's content and adaptive detectors at a tenth of their cost: a `ScoringDetector`.

    Args:
        detection: Which of them, and their thresholds.
        time_base: Seconds of one unit of the video's times.
        fps: Frames a second, on average.
    """

    may_run_in_parts = True

    def __init__(self, detection: Detection, time_base: Fraction, fps: Fraction) -> None:
        self.frame_size: FrameSize = detection.accuracy
        self.may_skip_frames = detection.may_spare
        self.score = Scorer(detection)
        self._doubtful = IN_DOUBT * detection.threshold
        self._ticks, self._per_ticks = time_base.as_integer_ratio()
        self._finder = CutFinder(detection, time_base, fps)
        self._time_s: float | None = None
        self._lag_s = self._finder.lag / float(fps)

    @property
    def lag_s(self) -> float:
        """See `SceneDetector`: a number of frames, which take more or less time."""
        return self._lag_s if self._time_s is None else self._time_s - self._finder.settled_s

    @property
    def seen(self) -> Any:  # noqa: ANN401 - arrays of OpenCV's
        """See `ScoringDetector`."""
        return self.score.seen

    @seen.setter
    def seen(self, seen: Any) -> None:  # noqa: ANN401
        self.score.seen = seen

    def feed(self, time_s: float, frame: Picture) -> list[float]:
        """See `SceneDetector`."""
        return self.feed_scores(time_s, self.score(frame))

    def feed_scores(self, time_s: float, scores: Sequence[float]) -> list[float]:
        """See `ScoringDetector`."""
        self._time_s = time_s
        offset = round(time_s * self._per_ticks / self._ticks)
        return [float(cut.seconds) for cut in self._finder.look(offset, time_s, scores)]

    def in_doubt(self, scores: Sequence[float]) -> bool:
        """See `ScoringDetector`."""
        return max(scores) >= self._doubtful

    def finish(self) -> list[float]:
        """See `SceneDetector`."""
        return [float(cut.seconds) for cut in self._finder.finish()]


class FrameLag:
    """Up to when cuts are certain, of a detector that tells of them some frames late.

    Args:
        lag: How many frames late.
        fps: Frames a second, on average.
    """

    def __init__(self, lag: int, fps: Fraction) -> None:
        self.lag = lag
        self._fps = float(fps)
        self._recent: deque[tuple[int, float]] = deque()  # number and time (s) of the frames that a cut may yet be at
        self.settled_s = float("-inf")
        """All cuts up to this time have been told (s)."""

    def add(self, time_s: float) -> int:
        """Go on to the next frame; returns its number, as PySceneDetect numbers frames."""
        number = round(time_s * self._fps)
        self._recent.append((number, time_s))
        # Some detectors count the frames that they see, others go by frame numbers, which come from times.
        while len(self._recent) > self.lag and number - self._recent[0][0] >= self.lag:
            self.settled_s = self._recent.popleft()[1]
        return number


class CutFinder:
    """Finds cuts frame by frame.

    Scores are all that it needs of pictures, so that these may be looked at elsewhere, and by many at once.

    A detector may tell of a cut some frames after it: the adaptive one looks ahead, and the content one waits for
    flashes to pass. How many frames is its public ``event_buffer_length``; what lies further back is settled.

    Args:
        detection: How cuts are found.
        time_base: Seconds of one unit of the video's times.
        rate: Frames a second, on average.
    """

    def __init__(self, detection: Detection, time_base: Fraction, rate: Fraction) -> None:
        self._detectors = detection.detectors()
        self._time_base, self._rate = time_base, rate
        self._frames = FrameLag(max(each.event_buffer_length for each in self._detectors), rate)
        self._last: int | None = None

    @property
    def lag(self) -> int:
        """How many frames after it a cut is told of at the latest."""
        return self._frames.lag

    @property
    def settled_s(self) -> float:
        """All cuts up to this time have been told (s)."""
        return self._frames.settled_s

    def look(self, offset: int, time_s: float, scores: Sequence[float]) -> list[FrameTimecode]:
        """Go on to the next frame, of which `Scorer` has made these scores.

        Args:
            offset: When it appears, in units of the time base from the first picture.
            time_s: The same in seconds.
            scores: One for each detector.

        Returns:
            The positions, among those seen so far, that turn out to be cuts.
        """
        self._last = offset
        number = self._frames.add(time_s)
        by_detector = zip(self._detectors, scores, strict=True)
        asked = [(each, score) for each, score in by_detector if each.wants(number, score)]
        position = self._position(offset) if asked else None  # which costs more than all else here
        return [cut for each, score in asked for cut in each.process_frame(position, score)]

    def finish(self) -> list[FrameTimecode]:
        """The cuts that only the end of the video makes certain."""
        if self._last is None:
            return []
        last = self._position(self._last)
        return [cut for each in self._detectors for cut in each.post_process(last)]

    def _position(self, offset: int) -> FrameTimecode:
        from lvqa_ray.video.scenes.scored_detectors import FrameTimecode, Timecode  # noqa: PLC0415 - see above

        return FrameTimecode(Timecode(pts=max(0, offset), time_base=self._time_base), self._rate)


class Scorer:
    """How much each picture differs from the one before it, as each of the detectors weighs that.

    These are PySceneDetect's numbers at a tenth of their cost: one L1 norm in 8 bits in place of three mean distances
    in 32. A test holds them to the stock ones on the installed release.

    Args:
        detection: How cuts are found.
    """

    def __init__(self, detection: Detection) -> None:
        from lvqa_ray.video.scenes.scored_detectors import ContentDetector  # noqa: PLC0415 - see above

        self._luma_only = [each._weights == ContentDetector.LUMA_ONLY_WEIGHTS for each in detection.detectors()]
        self.seen: Any = None
        """The last picture, as the next one will be compared with it; may be set back to an earlier one."""

    def __call__(self, picture: Picture) -> tuple[float, ...]:
        """Scores of the next picture, one for each detector; 0 for the first."""
        hsv: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
        value: Any = cv2.extractChannel(hsv, 2) if any(self._luma_only) else None
        before, self.seen = self.seen, (hsv, value)
        if before is None:
            return (0.0,) * len(self._luma_only)
        return tuple(_distance(before[luma], self.seen[luma]) for luma in self._luma_only)


def _distance(before: npt.NDArray[np.uint8], seen: npt.NDArray[np.uint8]) -> float:
    return float(cv2.norm(before, seen, cv2.NORM_L1)) / int(seen.size)
