"""Parser of request bodies: JSON, and the forms that the vendor's SDK and curl send."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any
from urllib.parse import parse_qsl

from lvqa_ray.serve.invalid import invalid

OPTIONS = ("generateOptions", "excludeGenerateOptions")
LISTS = (*OPTIONS, "videoUrls")
"""Fields with a list of texts; options have no commas, addresses may."""
_ITEM = re.compile(r"(?P<name>\w+)(?:\[\d*\]|\.\d+)")
"""Name of one item of a list: ``name[]``, ``name[0]`` or ``name.1``."""


def fields_of(body: bytes, content_type: str) -> dict[str, Any]:
    """Parse a body into its fields, without the empty ones: an empty text or list means that it is not given.

    A body that starts like a JSON object is JSON whatever the type says, since ``curl -d`` calls everything a form.

    Raises:
        RefusedError: The body is neither JSON nor a form, or a list in it is no JSON list.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if body.lstrip()[:1] == b"{" or (kind not in _FORMS):
            given = json.loads(body or b"{}")
        else:
            given = _collected(_FORMS[kind](body, content_type))
    except (ValueError, RecursionError, LookupError):
        raise invalid("The body is neither JSON nor a form.") from None
    if not isinstance(given, Mapping):
        raise invalid("The body is no JSON object.")
    fields = {name: _list(value, name) if name in LISTS else value for name, value in given.items()}
    return {name: value for name, value in fields.items() if not _is_empty(value)}


def _urlencoded(body: bytes, _: str) -> Sequence[tuple[str, str]]:
    return parse_qsl(body.decode(), keep_blank_values=True)


def _multipart(body: bytes, content_type: str) -> Sequence[tuple[str, str]]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    if not message.is_multipart():
        raise ValueError
    names = ((part, part.get_param("name", header="content-disposition")) for part in message.iter_parts())
    return [(str(name), bytes(part.get_payload(decode=True) or b"").decode()) for part, name in names]


_FORMS = {"application/x-www-form-urlencoded": _urlencoded, "multipart/form-data": _multipart}


def _collected(pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The fields of a form; the values of a list in order, the last value of any other field."""
    fields: dict[str, Any] = {}
    for written, value in pairs:
        item = _ITEM.fullmatch(written)
        name = item["name"] if item and item["name"] in LISTS else written
        if name in LISTS:
            fields.setdefault(name, []).append(value)
        else:
            fields[name] = value
    return fields


def _list(value: object, field: str) -> object:
    """A list of texts, from its JSON text, from options separated by commas, or from either as an item of a list."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [name for item in value for name in _names(item, field)]
    return value


def _names(text: str, field: str) -> list[str]:
    if text.lstrip().startswith("["):
        try:
            return [str(name) for name in json.loads(text)]
        except (ValueError, RecursionError):
            raise invalid(f'{field}: its text begins with "[", but is no JSON list.') from None
    parts = text.split(",") if field in OPTIONS else [text]
    return [name.strip() for name in parts if name.strip()]


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})
