"""Prompts with named placeholders, checked before anything is paid for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter


def placeholders(template: str) -> set[str]:
    """Names that stand in braces in a template; ``{{`` and ``}}`` are literal braces.

    Raises:
        ValueError: A brace has no partner, or what stands in braces is not a plain name.
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
    """Refuse a template that could not be filled, or that leaves out what it is for.

    Args:
        template: The prompt template.
        known: Names that will have a value.
        required: Names that must stand in the template.

    Raises:
        ValueError: One sentence that names the placeholder and the mend.
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
    """The template with its placeholders replaced, in one pass: braces inside a value stay as they are."""
    return "".join(
        literal + (values[name] if name is not None else "") for literal, name, _, _ in Formatter().parse(template)
    )
