"""Scene detectors: the protocol, and the fast detectors, which are PySceneDetect's fed with frame scores."""

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

if TYPE_CHECKING:  # PySceneDetect is loaded only when scenes are detected
    from lvqa_ray.video.scenes.scored_detectors import FrameTimecode, ScoredAdaptive, ScoredContent

Detector = Literal["content", "adaptive", "both"]
IN_DOUBT = 0.85
"""If the change across skipped frames reaches this fraction of the threshold, the skipped frames are scored too."""


class SceneDetector(Protocol):
    """Finds the cuts of one video, whose frames it receives in display order. Each video needs a new detector."""

    @property
    def frame_size(self) -> FrameSize:
        """Size of its input frames: width and height in pixels, or ``exact`` or ``fast``; see `shrinker`."""
        ...

    @property
    def lag_s(self) -> float:
        """Maximum delay with which it reports a cut (s); read after each frame, so it may change."""
        ...

    @property
    def may_skip_frames(self) -> bool:
        """Whether non-reference frames may be missing, which saves half of the decoding."""
        ...

    @property
    def may_run_in_parts(self) -> bool:
        """Whether several workers may process parts of a long video; only a `ScoringDetector` can."""
        ...

    def feed(self, time_s: float, frame: Picture) -> Iterable[float]:
        """Process the next frame.

        Args:
            time_s: When the frame appears, in seconds from the first one.
            frame: 8-bit BGR, height x width x 3.

        Returns:
            Cuts that are now certain: times of frames that it received, no further back than `lag_s`.
        """
        ...

    def finish(self) -> Iterable[float]:
        """End of the video; returns the remaining cuts."""
        ...


@runtime_checkable
class ScoringDetector(SceneDetector, Protocol):
    """Detector that needs only a frame's difference from the one before it.

    So several workers can score frames in parallel, and the scores are fed in order afterwards.
    """

    seen: Any
    """State of the last frame, for the next comparison; may be reset to an earlier value."""

    def score(self, frame: Picture) -> tuple[float, ...]:
        """Difference of a frame from the one before it; 0 for the first."""
        ...

    def feed_scores(self, time_s: float, scores: Sequence[float]) -> Iterable[float]:
        """Like `feed`, with the scores of the frame."""
        ...

    def in_doubt(self, scores: Sequence[float]) -> bool:
        """Whether the frames that were skipped before this one must be scored after all."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Scene detection settings.

    Attributes:
        detector: ``content`` compares the change between frames with ``threshold``, ``adaptive`` with the changes
            around it, and ``both`` cuts where either does; for other names see
            `lvqa_ray.video.scenes.named_detectors`.
        accuracy: ``exact`` uses the same pixels as PySceneDetect's OpenCV backend; ``fast`` uses nearby ones, and skips
            frames where little changes.
        threshold: Minimum mean change of hue, saturation and brightness (0 to 255) of a cut, for ``content``.
        adaptive_threshold: Minimum ratio of a cut's change to those around it, for ``adaptive``.
        min_scene_frames: Minimum scene length in frames.
        frame_skip: Frames to skip after each processed one; faster and less exact.
        luma_only: Let ``adaptive`` use brightness only.
        args: Parameters of a detector with another name.
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
        """Whether the detector is a `FastDetector`."""
        return self.detector in get_args(Detector)

    @property
    def may_spare(self) -> bool:
        """Whether frames may be skipped where little changes; a fixed threshold tolerates that, a ratio does not."""
        return self.accuracy == "fast" and self.detector == "content" and not self.frame_skip

    def detectors(self) -> list[ScoredContent | ScoredAdaptive]:
        """Fresh detectors for one video; they are fed scores, not frames."""
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
    """PySceneDetect's content and adaptive detectors at a tenth of their cost; arguments as for `start_detector`."""

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
        """See `SceneDetector`: a fixed number of frames; in seconds it depends on their times."""
        return self._lag_s if self._time_s is None else self._time_s - self._finder.settled_s

    @property
    def seen(self) -> Any:  # noqa: ANN401 - OpenCV arrays
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
    """Tracks the time up to which cuts are certain, for a detector that reports them up to ``lag`` frames late."""

    def __init__(self, lag: int, fps: Fraction) -> None:
        self.lag = lag
        self._fps = float(fps)
        self._recent: deque[tuple[int, float]] = deque()  # number and time (s) of undecided frames
        self.settled_s = float("-inf")
        """All cuts up to this time have been reported (s)."""

    def add(self, time_s: float) -> int:
        """Add the next frame; returns its number, as PySceneDetect numbers frames."""
        number = round(time_s * self._fps)
        self._recent.append((number, time_s))
        # Some detectors count the frames that they receive, others use frame numbers, which are derived from times.
        while len(self._recent) > self.lag and number - self._recent[0][0] >= self.lag:
            self.settled_s = self._recent.popleft()[1]
        return number


class CutFinder:
    """Finds cuts frame by frame, from scores alone, so that frames can be scored elsewhere and in parallel.

    A detector may report a cut some frames late: the adaptive one looks ahead, and the content one filters flashes. The
    maximum is its public ``event_buffer_length``.
    """

    def __init__(self, detection: Detection, time_base: Fraction, rate: Fraction) -> None:
        self._detectors = detection.detectors()
        self._time_base, self._rate = time_base, rate
        self._frames = FrameLag(max(each.event_buffer_length for each in self._detectors), rate)
        self._last: int | None = None

    @property
    def lag(self) -> int:
        """Maximum delay with which a cut is reported, in frames."""
        return self._frames.lag

    @property
    def settled_s(self) -> float:
        """All cuts up to this time have been reported (s)."""
        return self._frames.settled_s

    def look(self, offset: int, time_s: float, scores: Sequence[float]) -> list[FrameTimecode]:
        """Process the scores of the next frame.

        Args:
            offset: When it appears, in units of the time base from the first frame.
            time_s: The same in seconds.
            scores: One score of `Scorer` for each detector.

        Returns:
            Cuts that became certain with this frame.
        """
        self._last = offset
        number = self._frames.add(time_s)
        by_detector = zip(self._detectors, scores, strict=True)
        asked = [(each, score) for each, score in by_detector if each.wants(number, score)]
        position = self._position(offset) if asked else None  # the most expensive step here
        return [cut for each, score in asked for cut in each.process_frame(position, score)]

    def finish(self) -> list[FrameTimecode]:
        """End of the video; returns the remaining cuts."""
        if self._last is None:
            return []
        last = self._position(self._last)
        return [cut for each in self._detectors for cut in each.post_process(last)]

    def _position(self, offset: int) -> FrameTimecode:
        from lvqa_ray.video.scenes.scored_detectors import FrameTimecode, Timecode  # noqa: PLC0415 - see above

        return FrameTimecode(Timecode(pts=max(0, offset), time_base=self._time_base), self._rate)


class Scorer:
    """Scores the difference of each frame from the one before it, with the weights of each detector.

    The scores are PySceneDetect's at a tenth of the cost: one 8-bit L1 norm in place of three 32-bit mean distances. A
    test compares them with the installed release.
    """

    def __init__(self, detection: Detection) -> None:
        from lvqa_ray.video.scenes.scored_detectors import ContentDetector  # noqa: PLC0415 - see above

        self._luma_only = [each._weights == ContentDetector.LUMA_ONLY_WEIGHTS for each in detection.detectors()]
        self.seen: Any = None
        """State of the last frame, for the next comparison; may be reset to an earlier one."""

    def __call__(self, picture: Picture) -> tuple[float, ...]:
        """Scores of the next frame, one for each detector; 0 for the first frame."""
        hsv: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2HSV)
        value: Any = cv2.extractChannel(hsv, 2) if any(self._luma_only) else None
        before, self.seen = self.seen, (hsv, value)
        if before is None:
            return (0.0,) * len(self._luma_only)
        return tuple(_distance(before[luma], self.seen[luma]) for luma in self._luma_only)


def _distance(before: npt.NDArray[np.uint8], seen: npt.NDArray[np.uint8]) -> float:
    return float(cv2.norm(before, seen, cv2.NORM_L1)) / int(seen.size)
