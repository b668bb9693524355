"""PySceneDetect's detectors, imported without the `__init__` of its package, which runs ffmpeg.

`import scenedetect` runs ffmpeg to find it, and loads readers (moviepy) that do the same. ffmpeg changes the settings
of the terminal on its input; the kernel stops a background process for that (SIGTTOU), and with it the worker that
waits for ffmpeg. So only the submodules with the detectors are imported here. Other code can still import the package
itself, see `lvqa_ray.lazy_package`.
"""

from __future__ import annotations

from lvqa_ray.lazy_package import register

register("scenedetect")

from scenedetect.common import FrameTimecode, Timecode  # noqa: E402 - after the registration
from scenedetect.detectors import (  # noqa: E402
    AdaptiveDetector,
    ContentDetector,
    HashDetector,
    HistogramDetector,
    ThresholdDetector,
)

__all__ = [
    "AdaptiveDetector",
    "ContentDetector",
    "FrameTimecode",
    "HashDetector",
    "HistogramDetector",
    "ThresholdDetector",
    "Timecode",
]
