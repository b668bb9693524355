"""PySceneDetect's detectors, imported without its package's own `__init__`, which runs programs.

`import scenedetect` looks for ffmpeg by running it, and loads readers (moviepy) that do the same. ffmpeg changes the
settings of the terminal that it finds on its input; the kernel stops a background process for that (SIGTTOU), and with
it the worker that waits for ffmpeg. Importing this package must run no program, so that only the submodules with the
detectors are imported here. The package itself stays importable for everybody else: see `lvqa_ray.lazy_package`.
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
