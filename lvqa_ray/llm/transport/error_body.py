"""Parser of error replies: codes and sentences in the body, at any depth of gateway wrapping."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

_CODES = frozenset(
    {"code", "type", "status", "reason", "reasons", "error_type", "errortype", "error_code", "errorcode", "__type"}
    | {"blockreason", "block_reason", "finishreason", "finish_reason"}
)
"""Fields with machine-readable names, in lower case."""
_WORDS = (
    "message",
    "detail",
    "error",
    "msg",
    "error_message",
    "errormessage",
    "status_msg",
    "description",
    "title",
    "raw",
)
"""Fields with sentences, in lower case."""
_ECHOES = frozenset({"input", "ctx", "messages", "request", "headers", "body", "url"})
"""Fields in which a server echoes the request."""
ERROR_DEPTH = 8
ERROR_WORDS_CHARS = 8000


def decoded(text: str) -> object:
    """The body as JSON, also if it is an event of a stream; else as text."""
    body = text.strip()
    if body.startswith("data:"):
        body = body.removeprefix("data:").split("\n")[0]
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return text


def names_in(body: object) -> frozenset[str]:
    """Machine-readable names in a body, in lower case: codes, types, statuses, parameters, reasons.

    A numeric code counts unless it is an HTTP status; MiniMax's codes get the prefix ``minimax_``.
    """
    return frozenset(_names(body, 0))


def words_in(body: object) -> str:
    """The sentences in a body, one per line."""
    return "\n".join(_words(body, 0))[:ERROR_WORDS_CHARS]


def quote_of(body: object) -> str:
    """The endpoint's own words about an error: the gateway's, then those of the provider behind it."""
    if isinstance(body, str):
        return "" if body.lstrip().startswith("<") else body  # no quotes from a web page
    error = error_object(body)
    found = (
        error[name] for name in ("message", "detail", "error", "msg", "status_msg") if isinstance(error.get(name), str)
    )
    words = str(next(found, ""))
    metadata = error.get("metadata")
    if isinstance(metadata, Mapping) and isinstance(metadata.get("raw"), str):  # OpenRouter
        words = f"{words}: {quote_of(decoded(metadata['raw']))}"
    return words


def error_object(body: object) -> Mapping[str, object]:
    """The object that describes the error."""
    if isinstance(body, list) and body:  # Gemini wraps its error in a list
        body = body[0]
    if isinstance(body, Mapping):
        if isinstance(body.get("error"), Mapping):
            body = body["error"]
        elif isinstance(body.get("errors"), list) and body["errors"]:  # Cloudflare
            body = body["errors"][0]
        elif isinstance(body.get("base_resp"), Mapping):  # MiniMax
            body = body["base_resp"]
    return body if isinstance(body, Mapping) else {}


def _names(value: object, depth: int) -> Iterator[str]:
    for field, inner in _fields(value, depth):
        if field == "flagged_input":
            yield "flagged_input"  # OpenRouter's moderation names no code
        elif field == "base_resp" and isinstance(inner, Mapping) and inner.get("status_code"):
            yield f"minimax_{inner['status_code']}"
        elif field == "param" and isinstance(inner, str):
            yield inner.lower()
        elif field in _CODES:
            yield from _codes(inner)


def _codes(value: object) -> Iterator[str]:
    for code in value if isinstance(value, list) else [value]:
        if isinstance(code, str):
            yield code.lower()
        elif isinstance(code, int) and not isinstance(code, bool) and not 100 <= code < 600:
            yield str(code)


def _words(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str) and depth == 0 and not value.lstrip().startswith("<"):
        yield value
    for field, inner in _fields(value, depth):
        if field in _WORDS and isinstance(inner, str):
            yield inner
        elif field in _CODES and isinstance(inner, str) and " " in inner:
            yield inner  # xAI's code is a sentence


def _fields(value: object, depth: int) -> Iterator[tuple[str, object]]:
    """All fields of a JSON value, also those of JSON inside strings."""
    if depth > ERROR_DEPTH:
        return
    if isinstance(value, str) and value.lstrip()[:1] in {"{", "["}:
        value = decoded(value)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            field = str(name).lower()
            yield field, inner
            if field not in _ECHOES:
                yield from _fields(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value[:20]:
            yield from _fields(inner, depth + 1)
