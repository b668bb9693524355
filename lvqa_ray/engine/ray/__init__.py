"""The run on Ray Data: graph, actors, tasks, data sink. The only package that imports Ray."""

from typing import Any

Handle = Any
"""A handle of an actor. Ray's own type for it (`ray.actor.ActorHandle`) says of every method that there is none."""
