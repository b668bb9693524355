"""Plug-ins: checks, export formats and scene detectors that installed packages register as Python entry points.

A package lists them in its ``pyproject.toml``, for example in ``[project.entry-points."lvqa_ray.checks"]``. A plug-in
is imported only when a job or a command names it, so installed packages do not affect other jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from lvqa_ray.errors import ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Group = Literal["checks", "export_formats", "scene_detectors"]


class PluginError(ConfigError, ValueError):
    """A plug-in is not installed or cannot be used; the message is one sentence."""


def installed(group: Group) -> dict[str, EntryPoint]:
    """Entry points of a group by name, in alphabetical order.

    Raises:
        PluginError: Two packages register the same name.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - it loads the parser of e-mails

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"lvqa_ray.{group}"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(f"{package(other)} and {package(point)} both register {point.name} in lvqa_ray.{group}")
    return dict(sorted(found.items()))


def is_any_installed() -> bool:
    """Whether an installed package registers a plug-in, whose code a job may then run in this process."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - it loads the parser of e-mails

    return any(entry_points(group=f"lvqa_ray.{group}") for group in get_args(Group))


def load(group: Group, name: str) -> Any:  # noqa: ANN401 - whatever the package registers
    """Import a plug-in by its name.

    Raises:
        PluginError: There is no such plug-in, or it cannot be imported.
    """
    points = installed(group)
    if name not in points:
        raise PluginError(f"there is no {name}; installed packages register {', '.join(points) or 'none'}")
    point = points[name]
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        why = " ".join(str(error).split()) or "no reason given"
        raise PluginError(
            f"{name} of the package {package(point)} cannot be imported ({point.value}): {type(error).__name__}: {why}"
        ) from error


def package(point: EntryPoint) -> str:
    """Name of the distribution that registers an entry point."""
    return point.dist.name if point.dist else "unknown"
