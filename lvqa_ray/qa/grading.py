"""Graders of answers by kind of question: text of an answer and key -> score from 0 to 1.

- ``choice``: 1 for the letter of the key, else 0.
- ``span``: temporal intersection over union of all spans of the answer and of the key (as in temporal grounding,
  Charades-STA and ActivityNet Captions).
- ``number``: 1 within the tolerance, else 0.
- ``order``: Kendall's tau, negative values as 0: the full order scores 1, a random one 0 on average or less.
- ``open``: the best token F1 against the key and its accepted forms, normalized as for SQuAD (Rajpurkar et al. 2016);
  Chinese, Japanese and Korean characters are tokens of their own.

A grader never guesses: an answer that cannot be read is ``None``.
"""

# ruff: noqa: RUF001 -- full-width marks and other dashes are what some models write

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise

from lvqa_ray.records import Key, Kind, NumberKey, OpenKey, OrderKey, Span, SpanKey

RIGHT: Mapping[Kind, float] = {"choice": 1.0, "span": 0.5, "number": 1.0, "order": 1.0, "open": 0.5}
"""Score from which the checks count an answer as right; 0.5 is the usual threshold of temporal grounding."""
MAX_ANSWER_CHARS = 2000
"""A longer text is no answer."""

_CLOCK = r"\d{1,3}(?::[0-5]?\d){1,2}(?:\.\d+)?"
_POINT = re.compile(
    rf"(?<![\w.:])(?P<clock>{_CLOCK})(?![\w:])|(?<![\w.:])(?P<s>\d+(?:\.\d+)?)\s?(?:s|secs?|seconds?|秒)?(?![\w:%])"
)
_OTHER_UNITS = re.compile(r"\d\s?(?:m|min(?:ute)?s?|h|hours?|ms|frames?|%|分)(?!\w)", re.IGNORECASE)
_PAIRED = re.compile(r"[\d.s:秒\s\])】]*(?:to|and|until|till|through|[-‐‒–—−~～→,，至到])[\s\[(【]*", re.IGNORECASE)
_FIGURE = re.compile(
    rf"(?<![\w.,:])(?:(?P<clock>{_CLOCK})|(?P<sign>[-−]?)(?P<digits>\d{{1,3}}(?:,\d{{3}})+|\d+)(?P<rest>\.\d+)?)(?![\d:])"
)
_WORDED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_CHINESE_DIGITS = "零一二三四五六七八九十"
_NUMBER_WORD = re.compile(rf"\b(?:{'|'.join(_WORDED)})\b", re.IGNORECASE)
_ITEM = re.compile(r"(?<![\w.])\d{1,2}(?![\w%])")
_BETWEEN_ITEMS = re.compile(r"[\s,;，、；()（）\[\]→>.-]*(?:then|and|->)?[\s,;，、；()（）\[\]→>.-]*", re.IGNORECASE)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_SKIPPED = frozenset({"a", "an", "the"})


def grade(key: Key, answer: str) -> float | None:
    """Score of an answer; ``None`` if it cannot be read.

    Args:
        key: The key.
        answer: The text of the answer, without what stands around it.
    """
    if len(answer) > MAX_ANSWER_CHARS:
        return None
    match key:
        case SpanKey():
            spans = read_spans(answer)
            return None if spans is None else temporal_iou(spans, key.spans)
        case NumberKey():
            number = read_number(answer)
            return None if number is None else float(abs(number - key.number) <= key.tolerance + 1e-9)
        case OrderKey():
            order = read_order(answer, len(key.order))
            return None if order is None else kendall(order, key.order)
        case OpenKey():
            return token_f1(answer, [key.text, *key.accepted])


def read_spans(text: str) -> list[Span] | None:
    """The time spans in a text, as seconds or ``mm:ss``; ``None`` if it is not made of pairs of times in order."""
    plain = unicodedata.normalize("NFKC", text)
    if _OTHER_UNITS.search(plain):
        return None
    found = list(_POINT.finditer(plain))
    if not found or len(found) % 2:
        return None
    times = [_seconds(match["clock"]) if match["clock"] else float(match["s"]) for match in found]
    spans: list[Span] = []
    for at in range(0, len(times), 2):
        if not _PAIRED.fullmatch(plain, found[at].end(), found[at + 1].start()) or not times[at] <= times[at + 1]:
            return None
        if not math.isfinite(times[at + 1]):
            return None
        spans.append(Span(start_s=times[at], end_s=times[at + 1]))
    return spans


def read_number(text: str) -> float | None:
    """The number in a text, in digits, as a clock (in seconds) or as a word; ``None`` without or with several."""
    plain = unicodedata.normalize("NFKC", text)
    found: list[float] = []
    for match in _FIGURE.finditer(plain):
        if match["clock"]:
            found.append(_seconds(match["clock"]))
        else:
            value = float(match["digits"].replace(",", "") + (match["rest"] or ""))
            found.append(-value if match["sign"] else value)
    found += [float(_WORDED.index(word.lower())) for word in _NUMBER_WORD.findall(plain)]
    if not found:
        found = [float(_CHINESE_DIGITS.index(sign)) for sign in plain if sign in _CHINESE_DIGITS]
    return found[0] if len(found) == 1 and math.isfinite(found[0]) else None


def read_order(text: str, count: int) -> list[int] | None:
    """The numbers 1 to ``count`` in the order of a text; ``None`` if they are none, or other words join them."""
    plain = unicodedata.normalize("NFKC", text)
    found = list(_ITEM.finditer(plain))
    order = [int(match[0]) for match in found]
    if sorted(order) != list(range(1, count + 1)):
        return None
    gaps = pairwise(found)
    return order if all(_BETWEEN_ITEMS.fullmatch(plain, a.end(), b.start()) for a, b in gaps) else None


def temporal_iou(one: Sequence[Span], other: Sequence[Span]) -> float:
    """Intersection over union of two sets of time spans, by their length; 1 for equal moments of no length."""
    mine, theirs = _joined(one), _joined(other)
    both = sum(max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s)) for a in mine for b in theirs)
    union = sum(span.duration_s for span in mine) + sum(span.duration_s for span in theirs) - both
    if union <= 0:
        return float(mine == theirs and bool(mine))
    return min(1.0, both / union)


def middle_of(duration_s: float, share: float) -> Span:
    """The middle part of a video, as a guess of when something happens."""
    return Span(start_s=duration_s * (1 - share) / 2, end_s=duration_s * (1 + share) / 2)


def kendall(order: Sequence[int], key: Sequence[int]) -> float:
    """Kendall's tau of two orders of the same numbers; negative values count as 0."""
    place = {item: at for at, item in enumerate(order)}
    pairs = list(combinations(key, 2))
    agreeing = sum(place[first] < place[second] for first, second in pairs)
    return max(0.0, 2 * agreeing / len(pairs) - 1) if pairs else 1.0


def token_f1(answer: str, forms: Iterable[str]) -> float:
    """The best token F1 of an answer against some accepted forms."""
    said = tokens_of(answer)
    return max((_f1(said, tokens_of(form)) for form in forms), default=0.0)


def tokens_of(text: str) -> list[str]:
    """The words of a text without case, articles and punctuation; CJK characters one by one."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = [word for word in _TOKEN.findall(plain) if word not in _SKIPPED]
    return words or plain.split()


def _f1(one: Sequence[str], other: Sequence[str]) -> float:
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other)) if shared else 0.0


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s)):
        if joined and span.start_s <= joined[-1].end_s:
            joined[-1] = Span(start_s=joined[-1].start_s, end_s=max(joined[-1].end_s, span.end_s))
        else:
            joined.append(span)
    return joined


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total
