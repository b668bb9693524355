"""Registry of scene detectors: the fast ones, PySceneDetect's, and those that installed packages register.

``pyscenedetect:HistogramDetector`` is PySceneDetect's own class, fed with the frames that its OpenCV backend would
give it. Any other name is an entry point of the group ``lvqa_ray.scene_detectors``: a callable that takes ``fps`` and
the parameters of the job as keywords, and returns a `SceneDetector`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, get_args

from lvqa_ray.plugins import PluginError, installed, load
from lvqa_ray.video.scenes.detectors import Detection, Detector, FastDetector, SceneDetector, ScoringDetector

STOCK = "pyscenedetect:"
STOCK_DETECTORS = ("AdaptiveDetector", "ContentDetector", "HashDetector", "HistogramDetector", "ThresholdDetector")


def start_detector(detection: Detection, time_base: Fraction, fps: Fraction) -> SceneDetector:
    """Create a detector for one video.

    Args:
        detection: Name and settings of the detector.
        time_base: Seconds per unit of the video's timestamps.
        fps: Average frame rate.

    Raises:
        PluginError: There is no detector of this name, or it does not accept the parameters.
    """
    if detection.is_fast:
        return FastDetector(detection, time_base, fps)
    if detection.detector.startswith(STOCK):
        from lvqa_ray.video.scenes.stock_detectors import StockDetector  # noqa: PLC0415 - loads PySceneDetect

        return StockDetector(_stock(detection), time_base, fps)
    made = _made(detection.detector, load("scene_detectors", detection.detector), detection.args, fps=float(fps))
    lacking = [name for name in MEMBERS if not hasattr(made, name)]
    if not lacking and made.may_run_in_parts and not isinstance(made, ScoringDetector):
        lacking = ["score, feed_scores and in_doubt, which may_run_in_parts needs"]
    if lacking:
        raise PluginError(f"the detector {detection.detector} lacks {', '.join(lacking)}")
    return made  # type: ignore[no-any-return]  # untyped, but checked for the members of the protocol


def start_scoring(detection: Detection, time_base: Fraction, fps: Fraction) -> ScoringDetector:
    """Create a detector that can process a video in parts; arguments and errors as for `start_detector`."""
    detector = start_detector(detection, time_base, fps)
    if not isinstance(detector, ScoringDetector):
        raise PluginError(f"{detection.detector} cannot process a video in parts")
    return detector


def check_detector(detection: Detection) -> None:
    """Check that a detector can be started.

    Raises:
        PluginError: Its name or its parameters are wrong; the message is one sentence.
    """
    if detection.is_fast:
        if detection.args:
            raise PluginError(f"the detector {detection.detector} takes no detector_args: its settings are in split")
        return
    known = [*get_args(Detector), *(f"{STOCK}{name}" for name in STOCK_DETECTORS), *installed("scene_detectors")]
    if detection.detector not in known:
        raise PluginError(f"there is no detector {detection.detector}; there is {', '.join(known)}")
    start_detector(detection, Fraction(1, 1000), Fraction(25))


def may_run_in_parts(detection: Detection) -> bool:
    """Whether several workers may process parts of a long video."""
    return detection.is_fast or start_detector(detection, Fraction(1, 1000), Fraction(25)).may_run_in_parts


def _stock(detection: Detection) -> Any:  # noqa: ANN401 - PySceneDetect ships no types
    from lvqa_ray.video.scenes.stock_detectors import stock_class  # noqa: PLC0415 - as above

    args = {"min_scene_len": detection.min_scene_frames, **detection.args}
    return _made(detection.detector, stock_class(detection.detector.removeprefix(STOCK)), args)


MEMBERS = ("frame_size", "lag_s", "may_skip_frames", "may_run_in_parts", "feed", "finish")


def _made(name: str, make: Any, args: Mapping[str, Any], **more: object) -> Any:  # noqa: ANN401 - as above
    try:
        known = inspect.signature(make).parameters
        takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
        if not takes_any and (unknown := [each for each in args if each not in known]):
            takes = ", ".join(each for each in known if each not in more)
            raise PluginError(f"the detector {name} takes no {', '.join(unknown)}; it takes {takes or 'nothing'}")
        return make(**args, **more)
    except PluginError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())
        raise PluginError(
            f"the detector {name} cannot be started with {dict(args)}: {type(error).__name__}: {why}"
        ) from error
