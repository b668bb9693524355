"""Detection of credentials in settings, where none may be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pydantic import JsonValue

_CREDENTIAL = re.compile(r"api[-_ ]?key|authorization|secret|password|(access|auth|bearer)[-_ ]?token", re.IGNORECASE)


def holds_credential(value: JsonValue) -> bool:
    """Whether any field in a JSON value has the name of a credential."""
    return _CREDENTIAL.search(" ".join(_names(value))) is not None


def _names(value: JsonValue) -> Iterator[str]:
    """Names of all fields in a JSON value, nested ones included."""
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)
