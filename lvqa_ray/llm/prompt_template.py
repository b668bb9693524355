"""Prompt templates with named placeholders, checked before any request is sent."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter


def placeholders(template: str) -> set[str]:
    """Names in braces in a template; ``{{`` and ``}}`` are literal braces.

    Raises:
        ValueError: A brace is unmatched, or the text in braces is not a plain name.
    """
    names: set[str] = set()
    try:
        for _, name, spec, conversion in Formatter().parse(template):
            if name is None:
                continue
            if not name.isidentifier() or spec or conversion:
                raise ValueError(f"{{{name}}} is not a plain placeholder name")
            names.add(name)
    except ValueError as error:
        raise ValueError(f"{error}; write {{{{ and }}}} for literal braces") from None
    return names


def check(template: str, *, known: Collection[str], required: Collection[str] = ()) -> None:
    """Check a template: all its placeholders have values, and all required ones occur.

    Args:
        template: The prompt template.
        known: Names that will have a value.
        required: Names that must occur.

    Raises:
        ValueError: One sentence that names the placeholder and the correction.
    """
    names = placeholders(template)
    if unknown := sorted(names - set(known)):
        offer = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none"
        raise ValueError(
            f"the prompt holds the placeholder {{{unknown[0]}}}, which has no value; give it one under `values`, "
            f"or use one of: {offer}"
        )
    if missing := sorted(set(required) - names):
        raise ValueError(f"the prompt does not hold {{{missing[0]}}}, so the model would never see it")


def fill(template: str, values: Mapping[str, str]) -> str:
    """Replace the placeholders in one pass: braces inside a value stay as they are."""
    return "".join(
        literal + (values[name] if name is not None else "") for literal, name, _, _ in Formatter().parse(template)
    )
