"""Strips thinking tags and other markup from a reply, and keeps the answer.

The patterns are in `markup`. A tag counts as markup in the places where a template puts it: at the start of a line,
after the end of a sentence, or joined to a word. In the middle of a sentence or in quotation marks it is text about the
tag. In doubtful cases the reply has no answer, since a draft must not pass for one.
"""

# ruff: noqa: RUF001 -- full-width marks are what some models write

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import NamedTuple

from lvqa_ray.llm.replies.markup import (
    BLOCKS,
    BOXED,
    CLOSES,
    DRAFT_TAG,
    END_TOKEN,
    HARMONY,
    HARMONY_CUT,
    ROLE_HEADER,
    SOLAR_ANSWER,
    TOKEN,
    WHOLE_REPLY,
    WRAPPER_END,
    WRAPPER_START,
)

_MAY_HOLD_MARKUP = re.compile(
    r"[<＜◁【]|\(Here begins|&lt;|\\u003c|\\boxed|\]~|\[(?:[/|]|e~|[A-Za-z]|[^\W\d_])"
    r"|\A(?:[#\s]*[*_]{0,2}(?:thinking|thought|reasoning|chain|analysis|rationale|思|推|分)"
    r"|here|```|### assistant|assistant|model)",
    re.IGNORECASE,
)
"""Cheap test before all patterns; most replies have no match."""
_FENCED = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)
_ROUNDS = 6
"""Maximum depth of nested markup."""
_QUOTES = "\"'“”‘’„«»「」『』`(（"
_SENTENCE_ENDS = '.!?。！？…"”’»」』)）>]▷|'
_MENTION = re.compile(
    r"\s*[,;.:!?)\]，。；：）]|\s+(?:tags?|elements?|tokens?|markers?|text|blocks?|labels?|buttons?|sections?|nodes?|"
    r"keywords?|and|or|appears?|is|are|was|were|written|printed|displayed|shown|in|on|at|with|as|inside|above|below)\b"
    r"|\s*(?:标签|标记|元素|和|与|或|等)",
    re.IGNORECASE,
)
"""How a sentence goes on after a tag that it mentions."""
_SENTENCE_MARKS = frozenset(".!?。！？")
_ANY_TOKEN = re.compile(rf"\s*(?:{END_TOKEN.pattern}|{TOKEN.pattern}|<s>|</s>)", re.IGNORECASE)
_LOOK_BACK = 400
"""Maximum characters of a line that are examined."""
_LONGEST_LITERAL = 4
"""Maximum words between a pair of tags that a sentence mentions, such as "<think> and </think>"."""


class _Tag(NamedTuple):
    start: int
    end: int
    closes: bool


class _NoAnswerError(Exception):
    """The reply holds no answer, or none that can be separated from its draft."""


def strip_thinking(reply: str) -> str:
    """The answer of a reply, stripped of drafts and markup; idempotent.

    Some servers swallow the opening tag, so a single closing tag ends a draft too. The answer is the text after the
    last draft, or the text before it if nothing follows.

    Returns:
        The answer; empty if there is none, or if it cannot be separated from the draft.
    """
    text = reply.strip()
    if not _MAY_HOLD_MARKUP.search(text):
        return text
    try:
        for _ in range(_ROUNDS):
            before = text
            text = _strip_once(text)
            if text == before:
                return text
    except _NoAnswerError:
        return ""
    return ""  # nested too deeply


def _strip_once(text: str) -> str:
    if _is_json(text):
        return text
    text = _final_message(text)
    text = _without_header(text)
    text = _without_blocks(text)
    text = _after_drafts(text)
    text = _unwrapped(text)
    return _without_tokens(text)


def _is_json(text: str) -> bool:
    if fenced := _FENCED.fullmatch(text):
        text = fenced[1]
    if not (text.startswith(("{", "[")) and text.endswith(("}", "]"))):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _final_message(text: str) -> str:
    """The last message in the channel ``final``, if the reply has channels."""
    if "<|message|>" in text and (cut := HARMONY_CUT.match(text)):
        text = f"<|channel|>{text[cut.end() :]}"
    messages = list(HARMONY.finditer(text))
    if not messages:
        if SOLAR_ANSWER.search(text) and "<|think|>" in text:
            return SOLAR_ANSWER.split(text)[-1].strip()
        return text
    final = [message["text"] for message in messages if message["channel"].lower() == "final"]
    if not final:
        raise _NoAnswerError
    return final[-1].strip()


def _without_header(text: str) -> str:
    at = 0
    while header := ROLE_HEADER.match(text, at):
        at = header.end()
    return text[at:].strip()


def _without_blocks(text: str) -> str:
    for block in BLOCKS:
        if (start := block.start.match(text)) is None:
            continue
        end = block.end.search(text, start.end())
        if end is None:
            raise _NoAnswerError
        text = text[end.end() :].strip()
    return text


def _after_drafts(text: str) -> str:
    """The text after the last draft, or before it if nothing follows."""
    tags = list(_tags(text))
    if not tags:
        return text
    closes = [number for number, tag in enumerate(tags) if tag.closes]
    if not closes or closes[-1] < len(tags) - 1:
        raise _NoAnswerError  # the reply ended before the draft did
    if tail := text[tags[-1].end :].strip():
        return tail
    answer, done, in_draft = "", 0, False
    for tag in tags:
        if not tag.closes and not in_draft:
            answer = text[done : tag.start].strip() or answer
        in_draft, done = not tag.closes, tag.end
    return answer


def _tags(text: str) -> Iterator[_Tag]:
    """The tags that mark drafts.

    Raises:
        _NoAnswerError: A tag may be markup or text.
    """
    mentioned: int | None = None  # end of an opening tag that is text, until its closing tag
    seen_open = False
    for match in DRAFT_TAG.finditer(text):
        tag = _Tag(match.start(), match.end(), any(match[name] for name in CLOSES))
        bracket = match[0].startswith("[")
        if match["empty"] or (bracket and not match[0].isupper() and "[/" not in text):
            continue  # <think/> is no draft, and [thinking] is a remark
        if _is_quoted(text, tag):
            continue
        if tag.closes and mentioned is not None:
            inner = text[mentioned : tag.start]
            if len(inner.split()) > _LONGEST_LITERAL or re.search(r"[.!?。！？\n]", inner):
                raise _NoAnswerError
            mentioned = None
            continue
        if _is_marked(text, tag) or (tag.closes and (seen_open or _ends_draft(text, tag))):
            seen_open = not tag.closes
            yield tag
        elif _MENTION.match(text, tag.end):
            mentioned = None if tag.closes else tag.end
        else:
            raise _NoAnswerError


def _is_quoted(text: str, tag: _Tag) -> bool:
    if tag.start > 1 and text[tag.start - 1] in _QUOTES:
        return True
    return text[tag.end : tag.end + 1] in set(_QUOTES) and _line_before(text, tag.start).count("`") % 2 == 1


def _is_marked(text: str, tag: _Tag) -> bool:
    """Whether a tag is in a place where a template puts one."""
    line = _line_before(text, tag.start)
    return not line.strip() or line.rstrip()[-1] in _SENTENCE_ENDS or not line[-1].isspace()


def _line_before(text: str, at: int) -> str:
    """The line up to a position, or its last `_LOOK_BACK` characters."""
    return text[max(text.rfind("\n", 0, at) + 1, at - _LOOK_BACK) : at]


def _ends_draft(text: str, tag: _Tag) -> bool:
    """Whether a closing tag without an opening one ends a draft, because an answer begins after it."""
    after = text[tag.end : tag.end + _LOOK_BACK]
    return not after.strip() or after[0] == "\n" or after.lstrip()[0].isupper()


def _unwrapped(text: str) -> str:
    """The text inside the answer's wrapper; a wrapper in the middle of a sentence is text."""
    starts = [found for found in WRAPPER_START.finditer(text) if _opens_answer(text, found)]
    ends = list(WRAPPER_END.finditer(text))
    last = ends[-1] if ends and not text[ends[-1].end() :].strip() else None
    if starts and not text[: starts[0].start()].strip():
        first_end = next((end for end in ends if end.start() >= starts[0].end()), None)
        stop = last if last and len(starts) == 1 else first_end
        return text[starts[0].end() : stop.start() if stop else len(text)].strip()
    if last and starts:
        return text[starts[-1].end() : last.start()].strip()
    if last and not WRAPPER_START.search(text):
        return text[: last.start()].strip()
    if whole := WHOLE_REPLY.fullmatch(text):
        return whole[2].strip()
    boxed = BOXED.fullmatch(text)
    return boxed[1].strip() if boxed else text


def _opens_answer(text: str, found: re.Match[str]) -> bool:
    at = found.start()
    line = _line_before(text, at)
    if not line.strip():
        return at == 0 or text[max(0, at - _LOOK_BACK) : at].rstrip()[-1:] not in {":", "："}
    return line.rstrip()[-1] in _SENTENCE_MARKS


def _without_tokens(text: str) -> str:
    """The text up to the token that ends the model's turn, without other template tokens."""
    at = 0
    while token := _ANY_TOKEN.match(text, at):
        at = token.end()
    text = text[at:]
    for found in END_TOKEN.finditer(text):
        if not _is_quoted(text, _Tag(*found.span(), closes=True)):
            text = text[: found.start()]
            break
    if "</s>" in text:
        text = _without_sequence_ends(text)
    return TOKEN.sub("", END_TOKEN.sub("", text)).strip()


def _without_sequence_ends(text: str) -> str:
    """The text without </s>, which ends replies of Llama and Mistral; a pair of <s> and </s> is HTML."""
    first = text.find("</s>")
    if "<s>" not in text[:first]:
        return text[:first]
    while (text := text.rstrip()).endswith("</s>") and text.count("</s>") > text.count("<s>"):
        text = text.removesuffix("</s>")
    return text
