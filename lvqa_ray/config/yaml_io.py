"""YAML input of a job: parsing, command-line overrides, and one-sentence error messages."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import ValidationError

from lvqa_ray.config.endpoint_roles import TAGS
from lvqa_ray.errors import ConfigError


def mapping(text: str, where: str) -> dict[str, Any]:
    """Parse a YAML mapping.

    Args:
        text: The text.
        where: Name of the source in messages.

    Raises:
        ConfigError: The text is no YAML, or no mapping.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}{line} is not valid YAML: {error.problem or error.context}.") from None
    except (yaml.YAMLError, ValueError) as error:  # an invalid character or date
        raise ConfigError(f"{where} is not valid YAML: {' '.join(str(error).split())}.") from None
    if not isinstance(given, dict):
        raise ConfigError(f"{where} is not a job: it must be a YAML mapping with videos, output and endpoints.")
    return given


def override(given: dict[str, Any], written: str) -> None:
    """Apply ``section.key=value``, the value in YAML.

    Raises:
        ConfigError: It does not have that form.
    """
    path, equals, text = written.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {written} is not of the form section.key=value, such as split.max_seconds=20.")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {path}: the value {text} is not valid YAML; quote it.") from None
    section = given
    for key in keys[:-1]:
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {path}: {key} is a value, not a section.")
        section = inner
    section[keys[-1]] = value


def sentence(error: ValidationError, where: str) -> str:
    """The first three errors of pydantic as one sentence, without values of unknown fields."""
    parts = []
    for detail in error.errors(include_url=False)[:3]:
        place = ".".join(str(part) for part in detail["loc"] if part not in TAGS) or "the job"
        match detail["type"]:
            case "extra_forbidden" | "unexpected_keyword_argument":
                parts.append(f"{place} is not a known setting")
            case "missing" | "missing_argument":
                parts.append(f"{place} is missing")
            case "value_error":
                parts.append(f"{place}: {detail['msg'].removeprefix('Value error, ')}")
            case _:
                shown = f" (it is {detail['input']!r})" if isinstance(detail["input"], int | float | bool) else ""
                parts.append(f"{place}: {detail['msg'][0].lower()}{detail['msg'][1:]}{shown}")
    more = f"; and {error.error_count() - 3} more" if error.error_count() > 3 else ""
    return f"{where}: {'; '.join(parts)}{more}. `lvqa schema` lists every setting."
