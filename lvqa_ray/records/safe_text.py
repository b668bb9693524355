"""Text sanitizer: removes characters that a terminal, an editor or a trainer would interpret instead of showing."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    "(?:\x1b[\\]P_^X]|[\x9d\x90\x9f\x9e\x98])[^\x07\x1b\x9c\n]{0,2000}(?:\x07|\x1b\\\\|\x9c)"  # OSC, DCS, APC, PM, SOS
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    "|\x1b[ -/]*[0-~]"  # other escape sequences
)
"""Escape sequences of terminals as ECMA-48 defines them, in their 7-bit and 8-bit forms."""
_UNSAFE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"  # control characters but tab, line feed, carriage return, NEL
    "\u202a-\u202e\u2066-\u2069"  # bidirectional embeddings, overrides and isolates (Trojan Source, CVE-2021-42574)
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\u180e\u034f"  # zero-width and invisible format characters
    "\u115f\u1160\u3164\uffa0"  # Hangul fillers, which are invisible letters
    "\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff]"  # interlinear annotation, noncharacters
)
_TAGGED_FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,12}\U000e007f")
_TAGS = re.compile("[\U000e0000-\U000e007f]+")
"""Tag characters: they spell a flag behind a black flag (Unicode TS 51), and otherwise hide text."""
_SELECTORS = re.compile("([\ufe00-\ufe0f\U000e0100-\U000e01ef])[\ufe00-\ufe0f\U000e0100-\U000e01ef]+")
"""A variation selector follows one character; runs of them hide data."""
_LONE_JOINER = re.compile("(?:^|(?<=[\x00-\x7f]))[\u200c\u200d]|[\u200c\u200d](?=[\x00-\x7f]|$)")
"""Joiners stand between letters of Indic and Arabic scripts and between emoji, never beside ASCII."""
_MARKS = re.compile("([\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]{8})"
                    "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")  # fmt: skip
"""More than eight combining marks on one letter cover the lines around it."""
_SUSPECT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u034f\u0300-\u036f\u0483-\u0489\u115f\u1160\u180e\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u20d0-\u20ff\u3164\ufdd0-\ufdef\ufe00-\ufe2f\ufeff\uffa0\ufff9-\ufffb"
    "\ufffe\uffff\U000e0000-\U000e01ef\ud800-\udfff]"
)
SUSPECT = _SUSPECT.pattern.replace("\ud800-\udfff", "")
"""Matches every text that `safe_text` may change, for Arrow columns, which hold no surrogates."""


def safe_text(text: str) -> str:
    r"""Remove control characters, terminal escape sequences and invisible or reordering format characters.

    Kept: line feeds and tabs, letters of every script, marks of right-to-left text (U+200E, U+200F, U+061C), joiners
    between letters and between emoji, and emoji flags. Other line ends (``\r\n``, ``\r``, NEL)
    become ``\n``. A lone surrogate becomes U+FFFD.
    """
    if not _SUSPECT.search(text):
        return text
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _ESCAPES.sub("", text)
    text = text.replace("\x85", "\n")
    text = _UNSAFE.sub("", text)
    text = _without_tags(text)
    text = _SELECTORS.sub(r"\1", text)
    text = re.sub("([\u200c\u200d])[\u200c\u200d]+", r"\1", text)
    text = _LONE_JOINER.sub("", text)
    return _MARKS.sub(r"\1", text)


def _without_tags(text: str) -> str:
    if not _TAGS.search(text):
        return text
    kept: list[str] = []
    done = 0
    for flag in _TAGGED_FLAG.finditer(text):
        kept += [_TAGS.sub("", text[done : flag.start()]), flag[0]]
        done = flag.end()
    return "".join(kept) + _TAGS.sub("", text[done:])
