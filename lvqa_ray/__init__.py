"""Question-answer dataset generation from long videos: checked questions with time-stamped reasoning.

::

    from lvqa_ray import Job, run

    summary = run(Job.load("job.yaml"))

Every stage, such as `lvqa_ray.stages.split.SplitVideo`, is a dataclass that works alone, on plain rows and without Ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvqa_ray.config import Endpoints, Job
    from lvqa_ray.engine.run import RunSummary, run
    from lvqa_ray.llm.endpoint import Endpoint

__all__ = ["Endpoint", "Endpoints", "Job", "RunSummary", "run"]

_MODULES = {
    "Endpoint": "lvqa_ray.llm.endpoint",
    "Endpoints": "lvqa_ray.config",
    "Job": "lvqa_ray.config",
    "RunSummary": "lvqa_ray.engine.run",
    "run": "lvqa_ray.engine.run",
}


def __getattr__(name: str) -> object:
    """Lazy import of the public names: Ray and the codecs take seconds to load."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
