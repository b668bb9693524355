"""Actors of a run: how they end where Ray goes on without the run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import ray

from lvqa_ray.engine.ray import Handle


def end_actors(handles: Iterable[Handle]) -> None:
    """Kill actors that hold nothing that is not stored; one that is gone already is no error."""
    for handle in handles:
        with suppress(ray.exceptions.RayError, RuntimeError, ValueError):
            ray.kill(handle)
