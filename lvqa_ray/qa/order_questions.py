"""Questions about the order of moments, made from the captions of a video without a call."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from lvqa_ray.qa.rewording import replace_caption_mentions
from lvqa_ray.qa.time_labels import cut, decimals
from lvqa_ray.records import CaptionedVideo, KeyedQuestion, OrderKey, ReasoningStep

MOMENTS = 4
FEWEST_MOMENTS = 3
"""Number of moments that a question orders, and the least."""
MOST_TRIED = 200
"""Clips of a long video that are compared with all others."""
_ALIKE = 0.6
"""Jaccard similarity of words from which two moments are alike."""
_WORDS_OF_A_MOMENT = range(4, 41)
_CLOCK_OR_S = r"(?:\d+(?::\d\d)+|\d+(?:\.\d+)?\s?(?:s|secs?|seconds?)\b)"
_WHEN = re.compile(
    rf"\b(?:from|between)\s+\d+(?:[:.]\d+)*(?:\s?s\b)?\s+(?:to|and|until)\s+{_CLOCK_OR_S},?\s*"
    rf"|\b(?:at|around|after|before|until|by)\s+{_CLOCK_OR_S},?\s*",
    re.IGNORECASE,
)
"""Times in a caption, which would give the order away."""
_TELLS = re.compile(
    rf"{_CLOCK_OR_S}|\bframe \d"
    r"|\b(?:begin\w*|final\w*|last|first|earlier|later|previous\w*|next|again|credits?|continu\w*)\b",
    re.IGNORECASE,
)
"""Words that tell the position in the video."""
_END = re.compile(r"(?<=[.!?;])\s+|(?<=[。！？；])")  # noqa: RUF001
_WORDS = re.compile(r"[^\W_]+")

ORDER_STEM = "In which order does the video show these moments? Give their numbers, the earliest first."


@dataclass(frozen=True, slots=True)
class _Moment:
    """A clip that a question may name: its id, label and span, and its sentences, each with its telling words."""

    clip_id: str
    label: str
    start_s: float
    end_s: float
    told: tuple[tuple[str, frozenset[str]], ...]

    def text_unlike(self, others: Sequence[_Moment]) -> str:
        """The first sentence that fits and is unlike all sentences of the other clips; empty if there is none."""
        for text, words in self.told:
            if (
                words
                and _fits(text)
                and not any(
                    len(words & other) >= _ALIKE * len(words | other)
                    for one in others
                    if one is not self
                    for _, other in one.told
                )
            ):
                return text
        return ""


def order_questions(video: CaptionedVideo, count: int, cited: Collection[str]) -> Iterator[KeyedQuestion]:
    """Questions about the order of moments, at most `count`; the same video always gives the same ones.

    Each moment is one clip, told by the first sentence of its caption that is unlike all sentences of other clips.
    Moments do not touch. Clips that other questions cite come first.

    Args:
        video: The captioned video.
        count: Number of questions.
        cited: Ids of clips that other questions cite.
    """
    seed = hashlib.sha256(video.captions.encode(errors="replace")).digest()
    draw = random.Random(seed)  # noqa: S311 - a reproducible choice
    found = _moments(video)
    pool = sorted(draw.sample(found, len(found)), key=lambda moment: moment.clip_id not in cited)[:MOST_TRIED]
    for _ in range(count):
        chosen: list[tuple[_Moment, str]] = []
        for moment in pool:
            apart = all(moment.end_s < one.start_s or one.end_s < moment.start_s for one, _ in chosen)
            if apart and len(chosen) < MOMENTS and (text := moment.text_unlike(found)):
                chosen.append((moment, text))
        if len(chosen) < FEWEST_MOMENTS:
            return
        pool = [moment for moment in pool if moment not in [one for one, _ in chosen]]
        yield _question(sorted(chosen, key=lambda pair: pair[0].start_s), draw)


def _moments(video: CaptionedVideo) -> list[_Moment]:
    """The captioned clips. Words of more than half of the captions tell no clip from another, and are left out."""
    clips = [row for row in video.clips if row.caption.strip()]
    often = Counter(word for row in clips for word in _words_of(row.caption))
    common = {word for word, count in often.items() if 2 * count > len(clips)}
    places = decimals([row.clip.span for row in clips])
    found: list[_Moment] = []
    for row, digits in zip(clips, places, strict=True):
        span = row.clip.span
        start, end = cut(span.start_s, digits), cut(span.end_s, digits)
        told = tuple((text, _words_of(text) - common) for text in _told(row.caption))
        found.append(_Moment(row.clip.id, f"{start} to {end}", float(start), float(end), told))
    return found


def _words_of(text: str) -> frozenset[str]:
    return frozenset(_WORDS.findall(text.casefold()))


def _told(caption: str) -> Iterator[str]:
    """The sentences of a caption, without times."""
    for sentence in _END.split(" ".join(replace_caption_mentions(caption).split())):
        if text := _WHEN.sub("", sentence).strip(" .;,。；"):  # noqa: RUF001
            yield text[:1].upper() + text[1:]


def _fits(text: str) -> bool:
    """Whether a sentence can stand for its clip: of usual length, and without a word that tells its place."""
    long_enough = len(text.split()) in _WORDS_OF_A_MOMENT or (not text.isascii() and 6 <= len(text) <= 80)
    return long_enough and not _TELLS.search(text)


def _question(moments: Sequence[tuple[_Moment, str]], draw: random.Random) -> KeyedQuestion:
    """The question about some moments, given in time order; it lists them in another one."""
    places = list(range(len(moments)))
    while True:
        listed = draw.sample(places, len(places))
        if listed not in (places, places[::-1]):
            break
    order = tuple(listed.index(place) + 1 for place in places)
    key = OrderKey(items=tuple(moments[place][1] for place in listed), order=order)
    steps = [
        ReasoningStep(
            timestamp=moment.label,
            start_s=moment.start_s,
            end_s=moment.end_s,
            reasons=(f"{text}. This is moment {number}.",),
        )
        for (moment, text), number in zip(moments, order, strict=True)
    ]
    return KeyedQuestion(question=ORDER_STEM, key=key, steps=tuple(steps))
