"""Replies about a whole video, read into lists, fields and trees.

What stands around them is taken off: a draft, a code fence, words before or after the JSON. JSON that is broken is not
repaired, as in `parse_json`: asking again is no guess.
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

DEEPEST = 4
"""Levels of a mind map, with its root."""
CHILDREN = ("children", "childNodes")
"""What the branches of a node may be called."""
_ITEM = re.compile("^(?:[-*]+[ \\t]|[•·]+|#+|\\(?[0-9]{1,3}(?:[.):][ \\t]|\u3001))\\s*")
"""A bullet, the mark of a tag, or a number in a list, before an item."""
_QUOTES = "\"'“”„«»「」『』`"
_BETWEEN_TAGS = re.compile("[,;\u3001\uff0c\uff1b]")


def read_text(reply: str) -> str:
    """A reply that is prose.

    Args:
        reply: Without its draft.

    Raises:
        ParseError: It is empty.
    """
    if not reply.strip():
        raise ParseError(ParseFault.EMPTY_REPLY, "The reply is empty.")
    return reply.strip()


def read_list(reply: str) -> list[str]:
    """A reply of one item a line, without bullets, numbers and quotes, each item once; a line that announces them goes.

    Raises:
        ParseError: There is none.
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
    """The same of tags, which may also stand in one line with commas between them."""
    items = read_list(reply)
    if len(items) == 1:
        items = [tag for part in _BETWEEN_TAGS.split(items[0]) if (tag := _bare(part))] or items
    return items


def read_fields(reply: str) -> dict[str, JsonValue]:
    """A reply with ``title``, ``tags`` and ``highlights``, as a JSON object.

    Raises:
        ParseError: It is no such object; names the field.
    """
    said = _json(reply)
    if not isinstance(said, Mapping):
        raise ParseError(ParseFault.BAD_JSON, "The reply is no JSON object.")
    title = said.get("title")
    if not isinstance(title, str) or not title.strip():
        raise ParseError(ParseFault.BAD_JSON, 'The field "title" is not a text.')
    return {"title": title.strip(), "tags": _texts(said, "tags"), "highlights": _texts(said, "highlights")}


def read_tree(reply: str) -> dict[str, JsonValue]:
    """A reply with a mind map: a JSON object with ``name`` and ``children``, at most four deep, with its root.

    Returns:
        Nodes of ``name`` and, where it has branches, ``children``.

    Raises:
        ParseError: It is none; names the node.
    """
    said = _json(reply)
    if isinstance(said, Sequence) and not isinstance(said, str) and len(said) == 1:
        said = said[0]
    tree = _node(said, 1, "the root")
    if "children" not in tree:
        raise ParseError(ParseFault.BAD_TREE, "The root of the mind map has no children.")
    return tree


def _node(said: Any, depth: int, where: str) -> dict[str, JsonValue]:  # noqa: ANN401 - whatever the JSON holds
    if isinstance(said, str):
        said = {"name": said}
    if not isinstance(said, Mapping) or not isinstance(said.get("name"), str) or not said["name"].strip():
        raise ParseError(ParseFault.BAD_TREE, f'In the mind map, {where} is no object with a text "name".')
    if depth > DEEPEST:
        raise ParseError(ParseFault.BAD_TREE, f"The mind map is more than {DEEPEST} levels deep at {where}.")
    name = " ".join(said["name"].split())
    branches: Any = next((said[key] for key in CHILDREN if said.get(key) is not None), [])
    if not isinstance(branches, list):
        raise ParseError(ParseFault.BAD_TREE, f'In the mind map, "children" of "{name}" is no list.')
    children: list[JsonValue] = [
        _node(branch, depth + 1, f'child {number} of "{name}"') for number, branch in enumerate(branches, start=1)
    ]
    return {"name": name, "children": children} if children else {"name": name}


def _texts(said: Mapping[str, Any], field: str) -> list[JsonValue]:
    given = said.get(field)
    texts = [text.strip() for text in given if isinstance(text, str)] if isinstance(given, list) else []
    if not isinstance(given, list) or len(texts) != len(given) or not any(texts):
        raise ParseError(ParseFault.BAD_JSON, f'The field "{field}" is not a list of texts.')
    return [*dict.fromkeys(filter(None, texts))]


def _json(reply: str) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """The JSON object or list that a reply holds; what stands before and after it does not count.

    Only what opens first is taken: an object within a broken one would be a part that looks whole.
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


def _safe(said: Any) -> Any:  # noqa: ANN401 - whatever the JSON holds
    """The value with clean texts: JSON escapes what the reply does not show."""
    if isinstance(said, str):
        return strip_thinking(safe_text(said))
    if isinstance(said, Mapping):
        return {safe_text(str(name)): _safe(inner) for name, inner in said.items()}
    return [_safe(inner) for inner in said] if isinstance(said, list) else said


def _bare(item: str) -> str:
    item = item.strip()
    while len(item) > 1 and item[0] in _QUOTES and item[-1] in _QUOTES:
        item = item[1:-1].strip()
    if item.startswith("**") and item.endswith("**") and len(item) > 4:
        item = item.strip("*").strip()
    return item
