"""What a run is told: `job`, its `sections` beside the stages, and how it is `written` by hand."""

from lvqa_ray.config.job import Job
from lvqa_ray.config.sections import Checks, Endpoints, Engine, Storage
from lvqa_ray.config.serve_section import Serve

__all__ = ["Checks", "Endpoints", "Engine", "Job", "Serve", "Storage"]
