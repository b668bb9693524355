"""Repetition detector: degenerate replies, in which a model repeats itself endlessly or writes far too much."""

# ruff: noqa: RUF001 -- full-width marks end sentences too

from __future__ import annotations

import re
import zlib

LONGEST_REPLY_CHARS = 200_000
"""Maximum characters of a reply; the longest that the prompts ask for, 20 questions, has about 40,000."""
_RUN_CHARS = 300
"""Copies of one character in a row that are degenerate, except for rules of dashes and the like."""
_RUN_TOKENS, _RUN_COPIES, _RUN_SHARE = 40, 8, 0.25
"""Minimum words, copies and share of the text of a degenerate run of copies."""
_LONG_PERIOD, _FEW_COPIES = 20, 4
"""For periods of at least 20 words, fewer copies suffice: no chorus is that long."""
_LONG_RUN_TOKENS = 200
"""Minimum words of a run that is degenerate at any share of the text."""
_LONGEST_PERIOD = 120
"""Longest period of a run (words)."""
_SENTENCES, _DISTINCT = 20, 0.25
"""In a text of at least 20 sentences or lines, this share must be distinct."""
SHORTEST_SENTENCE = 3
"""Characters of a sentence; a shorter one is a number in a list."""
_ZIPPED_CHARS, _ZIPPED_SHARE = 3000, 0.04
"""A text of at least 3000 characters is degenerate if zlib compresses it to this share; prose takes a third."""

_ONE_CHAR = re.compile(rf"([^\s=_*.~\-─━│|#])\1{{{_RUN_CHARS - 1},}}")
_FEW_CHARS = re.compile(r"((?:[^\s=_*.~\-─━│|#+]){2,8}?)\1{99,}")
"""Two to eight characters that are repeated 100 times in a row, words or not."""
_SPACE = re.compile(r"\s{1000,}")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+(?:['’][^\W_]+)?")
_SENTENCE = re.compile(r"[.!?。！？\n]+")


def repetition(text: str) -> str:
    """Describe the repetition in a text in a few words; empty if there is none.

    Long texts and lists pass: only copies count.
    """
    if len(text) > LONGEST_REPLY_CHARS:
        return f"it has {len(text):,} characters"
    if found := _characters(text):
        return found
    tokens = [token.lower() for token in _TOKEN.findall(text)]
    if len(tokens) < _RUN_TOKENS:
        return ""
    if run := _longest_run(tokens):
        period, length = run
        return f"{period} words are repeated {length // period} times in a row"
    return _too_much_alike(text)


def _characters(text: str) -> str:
    """Describe the repetition of characters, in words or not; empty if there is none."""
    if found := _ONE_CHAR.search(text):
        return f"it has {len(found[0]):,} times {found[1]!r} in a row"
    if found := _FEW_CHARS.search(text):
        return f"it has {len(found[0]) // len(found[1]):,} times {found[1]!r} in a row"
    if found := _SPACE.search(text.strip()):
        return f"it has {len(found[0]):,} spaces or line ends in a row"
    return ""


def _too_much_alike(text: str) -> str:
    sentences = [" ".join(piece.lower().split()) for piece in _SENTENCE.split(text)]
    sentences = [piece for piece in sentences if len(piece) > SHORTEST_SENTENCE]
    distinct = len(set(sentences))
    if len(sentences) >= _SENTENCES and distinct < _DISTINCT * len(sentences):
        return f"of its {len(sentences)} sentences only {distinct} differ"
    packed = len(zlib.compress(text.encode("utf-8", "replace"), 6)) / len(text)
    return "it says the same over and over" if len(text) >= _ZIPPED_CHARS and packed < _ZIPPED_SHARE else ""


def _longest_run(tokens: list[str]) -> tuple[int, int] | None:
    """Period and length (words) of a degenerate run of copies."""
    count = len(tokens)
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    words = [numbers[token] for token in tokens]
    for period in range(1, min(_LONGEST_PERIOD, count // _FEW_COPIES) + 1):
        run = 0
        shortest = max(_RUN_TOKENS, period * (_RUN_COPIES if period < _LONG_PERIOD else _FEW_COPIES))
        for end, (now, before) in enumerate(zip(words[period:], words, strict=False), period + 1):
            if now != before:
                run = 0
                continue
            run += 1
            length = run + period
            if length < shortest or not (length >= _RUN_SHARE * count or length >= _LONG_RUN_TOKENS):
                continue
            # A table of zeros is fine.
            if length >= _LONG_RUN_TOKENS or not all(token.isdecimal() for token in tokens[end - period : end]):
                return period, length
    return None
