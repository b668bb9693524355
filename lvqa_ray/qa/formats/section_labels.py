"""Section labels of QA replies: ``QUESTION:``, ``OPTIONS:``, ``ANSWER:``, ``REASONS:``, and their Chinese forms."""

# ruff: noqa: RUF001 -- full-width marks are what some models write

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lvqa_ray.qa.formats.reasoning_steps import without_emphasis, without_invisible

_ENGLISH_LABEL = re.compile(
    r"(?:(?:correct|final)\s(?=answer))?(?:(question)(?:\s#?[0-9]{1,3})?|(options|answer|reasons))\s*([:：].*)?",
    re.IGNORECASE | re.DOTALL,
)
_CHINESE_LABEL = re.compile(
    r"(?P<name>问题|問題|题目|題目|选项|選項|(?:正确|正確|最终|最終|参考|參考)?答案|推理(?:过程|過程|步骤|步驟)?|理由)"
    r"\s?(?:[0-9]{1,3}\s*)?(?P<rest>[:：].*)?",
    re.DOTALL,
)
_CHINESE: Mapping[str, str] = {"问": "QUESTION", "問": "QUESTION", "题": "QUESTION", "題": "QUESTION", "选": "OPTIONS",
                               "選": "OPTIONS", "推": "REASONS", "理": "REASONS"}  # fmt: skip
"""The section by the first character of a Chinese label; the rest are forms of "answer"."""


class Label(NamedTuple):
    """A label at the start of a line: its section in English, and the text after it."""

    name: str
    rest: str
    translated: bool = False


def read_label(line: str) -> Label | None:
    """The label at the start of a line and the text after it, or ``None`` without a label."""
    heading = without_invisible(line.strip())
    plain, emphasised = without_emphasis(heading.lstrip("#").lstrip())
    if emphasised and plain.startswith("#"):
        plain, heading = plain.lstrip("#").lstrip(), "#"
    match = _ENGLISH_LABEL.fullmatch(plain)
    if match is not None:
        name, rest = (match[1] or match[2]).upper(), match[3]
        if rest is not None:
            return Label(name, rest[1:].strip())
        # No colon: either a heading, or a plain word of a sentence that was broken there.
        shouted = (match[1] or match[2]).isupper()
        return Label(name, "") if emphasised or heading.startswith("#") or shouted else None
    match = _CHINESE_LABEL.fullmatch(plain)
    if match is None or not (match["rest"] or emphasised or heading.startswith("#")):
        return None
    name = _CHINESE.get(match["name"][0], "ANSWER")
    return Label(name, (match["rest"] or " ")[1:].strip(), translated=True)


def read_labels(lines: Sequence[str]) -> list[Label | None]:
    """The label of each line of a reply.

    A Chinese label counts only if the reply has no English label of that section: otherwise it is part of a text.
    """
    labels = [read_label(line) for line in lines]
    english = {label.name for label in labels if label and not label.translated}
    return [None if label and label.translated and label.name in english else label for label in labels]
