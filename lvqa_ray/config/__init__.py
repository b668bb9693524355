"""Configuration: the `job` model, its `sections` besides the stages, `endpoint_roles`, and YAML input (`yaml_io`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lvqa_ray.config.endpoint_roles import Endpoints
    from lvqa_ray.config.job import Job, in_order
    from lvqa_ray.config.places import output_path, storage_options
    from lvqa_ray.config.sections import Checks, Engine, Storage
    from lvqa_ray.config.serve_section import Serve

__all__ = ["Checks", "Endpoints", "Engine", "Job", "Serve", "Storage", "in_order", "output_path", "storage_options"]

_MODULES = {
    "Job": "job",
    "in_order": "job",
    "Serve": "serve_section",
    "storage_options": "places",
    "output_path": "places",
    "Endpoints": "endpoint_roles",
} | dict.fromkeys(("Checks", "Engine", "Storage"), "sections")


def __getattr__(name: str) -> object:
    """Lazy import of the public names: a job imports every stage, and with them the video libraries."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
