"""The configuration as a page of Markdown, made of the models' own descriptions and defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from lvqa_ray.config import Job

HEAD = """\
# Configuration

Every setting of a job file, made from the program by `lvqa schema --markdown`. Each can be given on the command line as
`--set section.key=value`. `lvqa schema` prints the JSON schema, which editors use to complete and to check a job file.
"""
LONGEST = 60
"""A default that is longer than this is told in words."""


def reference() -> str:
    """All settings, section by section."""
    schema = Job.model_json_schema()
    at = {"base_url": "http://localhost/v1", "model": "m"}
    plain = Job.of({"videos": ["x"], "output": "x", "endpoints": {"vlm": at, "llm": at}}).model_dump(mode="json")
    return HEAD + "".join(_section("", schema, schema["$defs"], plain))


def _section(path: str, schema: Mapping[str, Any], defs: Mapping[str, Any], plain: Mapping[str, Any]) -> Iterator[str]:
    rows, inner = [], []
    for name, field in schema["properties"].items():
        target = _object(field, defs)
        where = f"{path}.{name}".lstrip(".")
        if target is None:
            rows.append(f"| `{where}` | {_type(field, defs)} | {_default(name, schema, plain)} | {_said(field)} |\n")
        else:
            inner.append((where, field, target))
    if path:
        yield f"\n## {path}\n\n{_said(schema) or ''}\n".replace("\n\n\n", "\n\n")
    if rows:
        yield "\n| setting | type | default | what it does |\n|---|---|---|---|\n"
        yield from rows
    for where, field, target in inner:
        said = {**target, "description": field.get("description", target.get("description"))}
        if where == "endpoints.llm":
            yield f"\n## {where}\n\n{_said(said)} Its settings are those of `endpoints.vlm`.\n"
            continue
        yield from _section(where, said, defs, plain.get(where.rpartition(".")[2], {}))


def _object(field: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The settings that a field holds, if it holds some."""
    for part in (field, *field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())):
        if "$ref" in part:
            part = defs[part["$ref"].rpartition("/")[2]]  # noqa: PLW2901 - what it stands for
        if "properties" in part:  # checks of installed packages have no definition of their own
            return part  # type: ignore[no-any-return]  # a part of a JSON schema
    return None


def _type(field: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _type(defs[field["$ref"].rpartition("/")[2]], defs)
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if "oneOf" in field:
        return "an endpoint, or a list of them"
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type(part, defs) for part in field["anyOf"]))
    kinds = {
        "string": "text",
        "integer": "whole number",
        "boolean": "true or false",
        "array": "list",
        "object": "mapping",
    }
    return kinds.get(str(field.get("type", "any")), str(field.get("type", "any")))


def _default(name: str, schema: Mapping[str, Any], plain: Mapping[str, Any]) -> str:
    if name in schema.get("required", ()):
        return "needed"
    text = json.dumps(plain.get(name, schema["properties"][name].get("default")), ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST else "a long text; see `lvqa schema`"


def _said(field: Mapping[str, Any]) -> str:
    return " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
