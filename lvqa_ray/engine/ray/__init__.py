"""The run on Ray Data: graph, actors, tasks, data sink. The only package that imports Ray."""

from typing import Any

Handle = Any
"""Handle of an actor. For type checkers, Ray's own type (`ray.actor.ActorHandle`) has no methods."""
