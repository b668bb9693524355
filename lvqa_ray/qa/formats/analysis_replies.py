"""Parsers for replies about a whole video: lists, fields and trees.

They ignore a ``<think>`` part, a code fence, and text before or after the JSON. Invalid JSON is not repaired, as in
`json_format`: a repair is a guess, a retry is not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from lvqa_ray.errors import ParseError, ParseFault
from lvqa_ray.llm.replies.thinking_tags import strip_thinking
from lvqa_ray.records.safe_text import safe_text

MIND_MAP_DEPTH = 4
"""Levels of a mind map, with its root."""
CHILDREN = ("children", "childNodes")
"""Accepted names for the branches of a node."""
_ITEM = re.compile("^(?:[-*]+[ \\t]|[•·]+|#+|\\(?[0-9]{1,3}(?:[.):][ \\t]|\u3001))\\s*")
"""A bullet, the mark of a tag, or a number in a list, before an item."""
_QUOTES = "\"'“”„«»「」『』`"
_BETWEEN_TAGS = re.compile("[,;\u3001\uff0c\uff1b]")


def read_text(reply: str) -> str:
    """Read a reply that is prose.

    Args:
        reply: The reply without its ``<think>`` part.

    Raises:
        ParseError: It is empty.
    """
    if not reply.strip():
        raise ParseError(ParseFault.EMPTY_REPLY, "The reply is empty.")
    return reply.strip()


def read_list(reply: str) -> list[str]:
    """Read a list, one item per line, without bullets, numbers, quotes, duplicates and an introductory line.

    Raises:
        ParseError: The list is empty.
    """
    lines = [line.strip() for line in reply.splitlines()]
    lines = [line for line in lines if line and not line.startswith("```")]
    if len(lines) > 1 and lines[0].endswith((":", "\uff1a")):
        lines = lines[1:]
    items = [_bare(_ITEM.sub("", line, count=1)) for line in lines]
    if not any(items):
        raise ParseError(ParseFault.EMPTY_REPLY, "The reply holds no line of the list that was asked for.")
    return list(dict.fromkeys(filter(None, items)))


def read_tags(reply: str) -> list[str]:
    """Read a list of tags, which may also be one line separated by commas."""
    items = read_list(reply)
    if len(items) == 1:
        items = [tag for part in _BETWEEN_TAGS.split(items[0]) if (tag := _bare(part))] or items
    return items


def read_fields(reply: str) -> dict[str, JsonValue]:
    """Read a JSON object with ``title``, ``tags`` and ``highlights``.

    Raises:
        ParseError: It is no such object; the message names the field.
    """
    value = _json(reply)
    if not isinstance(value, Mapping):
        raise ParseError(ParseFault.BAD_JSON, "The reply is no JSON object.")
    title = value.get("title")
    if not isinstance(title, str) or not title.strip():
        raise ParseError(ParseFault.BAD_JSON, 'The field "title" is not a text.')
    return {"title": title.strip(), "tags": _texts(value, "tags"), "highlights": _texts(value, "highlights")}


def read_tree(reply: str) -> dict[str, JsonValue]:
    """Read a mind map: a JSON object with ``name`` and ``children``.

    Returns:
        Nodes with ``name`` and, if not empty, ``children``; at most four levels with the root. Deeper nodes are folded
        into the name of their ancestor on the last level, in brackets.

    Raises:
        ParseError: It is no such tree; the message names the node.
    """
    value = _json(reply)
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 1:
        value = value[0]
    try:
        tree = _node(value, 1, "the root")
    except RecursionError:
        raise ParseError(ParseFault.BAD_JSON, "The JSON of the reply is nested too deeply.") from None
    if "children" not in tree:
        raise ParseError(ParseFault.BAD_TREE, "The root of the mind map has no children.")
    return tree


def _node(value: object, depth: int, where: str) -> dict[str, JsonValue]:
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str) or not value["name"].strip():
        raise ParseError(ParseFault.BAD_TREE, f'In the mind map, {where} is no object with a text "name".')
    name = " ".join(value["name"].split())
    branches: Any = next((value[key] for key in CHILDREN if value.get(key) is not None), [])
    if not isinstance(branches, list):
        raise ParseError(ParseFault.BAD_TREE, f'In the mind map, "children" of "{name}" is no list.')
    children = [
        _node(branch, depth + 1, f'child {number} of "{name}"') for number, branch in enumerate(branches, start=1)
    ]
    if children and depth >= MIND_MAP_DEPTH:
        return {"name": f"{name} ({'; '.join(str(child['name']) for child in children)})"}
    return {"name": name, "children": children} if children else {"name": name}


def _texts(fields: Mapping[str, Any], field: str) -> list[JsonValue]:
    given = fields.get(field)
    texts = [text.strip() for text in given if isinstance(text, str)] if isinstance(given, list) else []
    if not isinstance(given, list) or len(texts) != len(given) or not any(texts):
        raise ParseError(ParseFault.BAD_JSON, f'The field "{field}" is not a list of texts.')
    return [*dict.fromkeys(filter(None, texts))]


def _json(reply: str) -> object:
    """Parse the first JSON object or list of a reply; text before and after it is ignored.

    Parsing starts at the first bracket only: an object inside a broken one would look complete.
    """
    start = re.search(r"[{\[]", reply)
    if start is None:
        raise ParseError(ParseFault.BAD_JSON, "The reply holds no JSON.")
    try:
        return _safe(json.JSONDecoder().raw_decode(reply, start.start())[0])
    except json.JSONDecodeError as error:
        raise ParseError(
            ParseFault.BAD_JSON, f"The reply holds no JSON that can be read: {error.msg}, line {error.lineno}."
        ) from None
    except RecursionError:
        raise ParseError(ParseFault.BAD_JSON, "The JSON of the reply is nested too deeply.") from None


def _safe(value: object) -> object:
    """Sanitize the texts of a value: JSON escapes may hide characters that were clean in the reply."""
    if isinstance(value, str):
        return strip_thinking(safe_text(value))
    if isinstance(value, Mapping):
        return {safe_text(str(name)): _safe(inner) for name, inner in value.items()}
    return [_safe(inner) for inner in value] if isinstance(value, list) else value


def _bare(item: str) -> str:
    item = item.strip()
    while len(item) > 1 and item[0] in _QUOTES and item[-1] in _QUOTES:
        item = item[1:-1].strip()
    if item.startswith("**") and item.endswith("**") and len(item) > 4:
        item = item.strip("*").strip()
    return item
