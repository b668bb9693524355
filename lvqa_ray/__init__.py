"""Long videos in, checked reasoning QA training data out.

::

    from lvqa_ray import Job, run

    summary = run(Job.load("job.yaml"))

Every stage is a dataclass that can be used alone, on plain rows and without Ray, such as
`lvqa_ray.stages.split.SplitVideo`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lvqa_ray.config import Endpoints, Job
    from lvqa_ray.engine.run import RunSummary, run
    from lvqa_ray.llm.endpoint import Endpoint

__all__ = ["Endpoint", "Endpoints", "Job", "RunSummary", "run"]

_HOMES = {
    "Endpoint": "lvqa_ray.llm.endpoint",
    "Endpoints": "lvqa_ray.config",
    "Job": "lvqa_ray.config",
    "RunSummary": "lvqa_ray.engine.run",
    "run": "lvqa_ray.engine.run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - each name is typed for checkers above
    """Import a public name when it is first used: Ray and the codecs take seconds to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
