"""Output sanitizing: escape sequences and invisible characters from file names, models and servers become visible text.

Control characters in a terminal move the cursor, hide text, set the window's title or the clipboard. Bidi controls
change the order in which a text is shown. All output of a command goes through `visible` or `json_text`.
"""

from __future__ import annotations

import json
import logging
import re

INVISIBLE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and line feed, DEL, C1
    "\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e"  # soft hyphen, Arabic letter mark, fillers, vowel separator
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # zero width space, bidi controls, separators, invisible operators
    "\u3164\ufeff\uffa0\ufff9-\ufffb"  # fillers, byte order mark, interlinear annotation
    "\ud800-\udfff"  # surrogates: bytes of a file name that are not UTF-8
    "\U000e0000-\U000e007f"  # tags, invisible copies of ASCII
    "]"
)
"""Characters to escape. Zero width joiners are not among them: scripts and emoji need them."""


def visible(text: str, *, one_line: bool = False) -> str:
    r"""Replace invisible characters by escapes, such as ``\x1b``.

    Args:
        text: Any text.
        one_line: Escape tabs and line breaks too, as in names.
    """
    shown = INVISIBLE.sub(_escape, text)
    return shown.replace("\n", "\\n").replace("\t", "\\t") if one_line else shown


def json_text(value: object, *, indent: int | None = None) -> str:
    """Format a value as JSON with readable letters of all scripts, and invisible characters as JSON escapes."""
    return INVISIBLE.sub(_json_escape, json.dumps(value, ensure_ascii=False, indent=indent))


class VisibleFormatter(logging.Formatter):
    """Formats log records, with their tracebacks, for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as visible text."""
        return visible(super().format(record))


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as encoded by os.fsdecode
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return {"\r": "\\r", "\x1b": "\\x1b"}.get(found[0], f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
