"""What is told of a film as a whole, out of the descriptions, the speech or the summary that a request holds.

Nothing is understood: sentences are taken over word for word, and words are counted.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from lvqa_ray.demo.facts import COLOURS, LIGHTINGS
from lvqa_ray.demo.reel import CAPTION_LINE

Line = tuple[str, str, str]
"""First second, last second, and what is seen or said."""

_SPEECH = "Second, what is said in it"
_GIVEN = re.compile(r"This is what happens in a video:\n\n(.*?)\n\n(?:Write \d+ titles|Order what)", re.DOTALL)
_TITLES = re.compile(r"\bWrite (\d+) titles for it\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[^\W\d_]{4,}")
_FILLER = {"from", "with", "that", "this", "then", "there", "where", "which", "their", "they", "them", "have", "into"}
LONGEST_TITLE_WORDS = 12
"""Words of a title or of a node."""


def tell(text: str) -> str:
    """The reply to a request about a film as a whole; empty for any other request."""
    if given := _GIVEN.search(text):
        sentences = _SENTENCE.split(given[1].strip())
        count = _TITLES.search(text)
        return _titles(sentences, int(count[1])) if count else _mind_map(sentences)
    for mark, told in _TOLD.items():
        if mark in text and CAPTION_LINE.search(text):
            seen, _, said = text.partition(_SPEECH)
            return told(CAPTION_LINE.findall(seen), CAPTION_LINE.findall(said))
    return ""


def _plot(seen: Sequence[Line], said: Sequence[Line]) -> str:
    """Every description and, where it is said, every line of speech, in the order of time."""
    told = [(float(start), 0, text) for start, _, text in seen]
    told += [(float(start), 1, f"Somebody says: “{text.rstrip('.')}”.") for start, _, text in said]
    parts = list(dict.fromkeys(text[:1].upper() + text[1:] for _, _, text in sorted(told)))
    return " Then this: ".join(parts)


def _summary(seen: Sequence[Line], said: Sequence[Line]) -> str:
    first, last = _first_sentence(seen[0][2]), _first_sentence(seen[-1][2])
    words = f" In it, one hears: “{said[0][2]}”" if said else ""
    return f"The video is told in {len(seen)} parts. It begins like this: {first} It ends like this: {last}{words}"


def _tags(seen: Sequence[Line], said: Sequence[Line]) -> str:
    return "\n".join(_frequent(seen, said))


def _highlights(seen: Sequence[Line], _: Sequence[Line]) -> str:
    """The longest descriptions: where most was to be written down, most was to be seen."""
    most = sorted(range(len(seen)), key=lambda place: -len(seen[place][2]))[:3]
    lines = [seen[place] for place in sorted(most)]
    return "\n".join(f"From {start} to {end}, {_first_sentence(text)}" for start, end, text in lines)


def _fields(seen: Sequence[Line], said: Sequence[Line]) -> str:
    title = _short(_first_sentence(seen[0][2]))
    fields = {"title": title, "tags": _frequent(seen, said), "highlights": _highlights(seen, said).splitlines()}
    return json.dumps(fields, ensure_ascii=False)


_TOLD: Mapping[str, Callable[[Sequence[Line], Sequence[Line]], str]] = {
    "Tell the whole story of the video": _plot,
    "Sum up the video for somebody": _summary,
    "Reply with one tag a line": _tags,
    "Name the moments that would make somebody": _highlights,
    'Its fields are "title", a text; "tags"': _fields,
}


def _titles(sentences: Sequence[str], count: int) -> str:
    return "\n".join(list(dict.fromkeys(map(_short, sentences)))[:count])


def _mind_map(sentences: Sequence[str]) -> str:
    """Beginning, middle and end, each with its sentences."""
    third = -(-len(sentences) // 3)
    parts = [sentences[start : start + third] for start in range(0, len(sentences), third)]
    children = [
        {"name": name, "children": [{"name": _short(sentence)} for sentence in part]}
        for name, part in zip(("Beginning", "Middle", "End"), parts, strict=False)
    ]
    return json.dumps({"name": _short(sentences[0]), "children": children}, ensure_ascii=False)


def _frequent(seen: Sequence[Line], said: Sequence[Line]) -> list[str]:
    """The colours and kinds of light that are named most, or else the most frequent longer words."""
    text = " ".join(text for _, _, text in (*seen, *said)).casefold()
    counts = Counter(re.findall(rf"\b(?:{'|'.join((*COLOURS, *LIGHTINGS))})\b", text))
    counts = counts or Counter(word for word in _WORD.findall(text) if word not in _FILLER)
    return [word for word, _ in counts.most_common(8)] or ["film"]


def _first_sentence(text: str) -> str:
    return _SENTENCE.split(text[:1].upper() + text[1:])[0]


def _short(sentence: str) -> str:
    return " ".join(sentence.split()[:LONGEST_TITLE_WORDS]).rstrip(".,;:")
