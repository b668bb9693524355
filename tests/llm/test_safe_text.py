"""Characters that act on a terminal or hide text are removed, and every script is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.records.safe_text import safe_text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a \x1b[1;31mred\x1b[0m door", "a red door"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Ja", "a"),
        ("a\x00b\x07c\x08d\x7fe", "abcde"),
        ("a\u202etxt.exe\u202c", "atxt.exe"),
        ("a\u2066b\u2069", "ab"),
        ("a\u200bb\ufeffc\u2060d", "abcd"),
        ("a\u200db", "ab"),
        ("one\r\ntwo\rthree\x85four", "one\ntwo\nthree\nfour"),
        ("e" + "\u0301" * 50, "e" + "\u0301" * 8),
        ("hi\U000e0049\U000e0067", "hi"),
        ("x" + "\ufe0f" * 9, "x\ufe0f"),
        ("\ud83d", "\ufffd"),
    ],
)
def test_unsafe_characters_go(text: str, safe: str) -> None:
    assert safe_text(text) == safe


@pytest.mark.parametrize(
    "text",
    [
        "plain\n\ttext",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 and \u2764\ufe0f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u200f\u05e9\u05dc\u05d5\u05dd (abc)\u200e",
        "Tie\u0302\u0301ng Vie\u0323\u0302t",
        "\u0e01\u0e33\u0e25\u0e31\u0e07 \u65e5\u672c\u8a9e \u4e2d\u6587",
    ],
)
def test_text_of_every_script_stays(text: str) -> None:
    assert safe_text(text) == text


@given(st.text(st.characters(), max_size=40))
def test_safe_text_stays_as_it_is(text: str) -> None:
    assert safe_text(safe_text(text)) == safe_text(text)
