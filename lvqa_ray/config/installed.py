"""Plugin checks: installed packages register them as entry points of the group ``lvqa_ray.checks``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import is_dataclass
from typing import Any, cast

from pydantic import create_model

from lvqa_ray.plugins import PluginError, installed, load
from lvqa_ray.stage import CallCheck, Check, PolicyMixin

DECLARED = ("role", "version", "usual_reply_tokens")
"""Class attributes that a check with model calls must define."""


def installed_checks(given: Mapping[str, Any], built_in: Collection[str]) -> dict[str, PolicyMixin]:
    """Create plugin checks from their settings.

    Args:
        given: Settings by name of the check; ``None`` for the defaults.
        built_in: Names of the built-in checks, for the message about an unknown name.

    Raises:
        PluginError: There is no such check, or its package is unusable; one sentence.
        pydantic.ValidationError: Settings are invalid.
    """
    if unknown := sorted(set(given) - set(installed("checks"))):
        there_is = f"built in are {', '.join(built_in)}; installed packages register "
        raise PluginError(f"there is no check {unknown[0]}: {there_is}{', '.join(installed('checks')) or 'none'}")
    fields: dict[str, Any] = {name: (check_class(name), ...) for name in given}
    made = create_model("Checks", **fields).model_validate(
        {name: {} if settings is None else settings for name, settings in given.items()}
    )
    return {name: getattr(made, name) for name in given}


def check_class(name: str) -> type[PolicyMixin]:
    """The class of a plugin check.

    Raises:
        PluginError: It cannot be imported, or is not a check.
    """
    check: Any = load("checks", name)
    if not (isinstance(check, type) and is_dataclass(check) and issubclass(check, Check | CallCheck)):
        raise PluginError(f"the check {name} is not a dataclass that derives from Check or CallCheck")
    if (called := getattr(check, "name", None)) != name:
        raise PluginError(f"the check {name} must have the name under which it is registered, but its name is {called}")
    lacking = [each for each in DECLARED if issubclass(check, CallCheck) and not hasattr(check, each)]
    if lacking:
        raise PluginError(f"the check {name} calls a model but does not declare {', '.join(lacking)}")
    return cast("type[PolicyMixin]", check)
