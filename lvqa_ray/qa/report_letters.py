"""Reasoning without the sentences that name an option, for a reader who has seen no options.

A sentence too many is left out rather than a letter left in: the rest still reads, and a letter points at nothing.
"""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?:\W*[A-D]\.\s)?.*?(?:[.!?](?=\s)|[\u3002\uff01\uff1f]|\n|\Z)", re.DOTALL)
"""Up to a full stop, also a Chinese one; the letter of a list, as in "B. The park", belongs to what follows it."""

_LETTER = re.compile(r"(?<![A-Za-z0-9À-ɏ])(?:[A-D](?![A-Za-z0-9À-ɏ])(?!-[A-Za-z]{2})|[\uff21-\uff24])")
"""An A, B, C or D on its own, of usual or of full width; not the one of "B-roll"."""

_ARTICLE = re.compile(
    r"""(?:^\W*|[.!?:;"\u201c\u201e\u00ab\u2018'*_\u2013\u2014])\s*(?P<a>A)\s+
    (?!(?:is|are|was|were|be|does|did|do|has|have|had|can|cannot|could|will|would|must|may|might|should|seem
        |and|or|nor|but|because|since|as|so|then|before|after|though|while|when|not|only|if|to|of|in|on|at|by|from|for
        |with|than|also|alone|both|instead|too|came|took|happened|occurred|showed|fit|matched|went|got|makes?
        |the|this|that|these|those|it|he|she|they|there|an?|correct|incorrect|right|wrong|true|false|best)\b)
    (?!\w*ly\b)             # "A clearly happens"
    (?!\w*[^\W_us]s\b)      # "A happens"; but "A glass", "A bus"
    (?=[^\W\d_]{2})
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""An A that may begin a phrase, as in "A man enters", by the word after it."""

_SPEAKS_OF_OPTIONS = re.compile(
    r"\b(?:options?|choices)\b|\([a-d]\)|\banswers?\b\W*(?:is\b\W*)?(?:\b[a-d]\b)?\W*$|选项|選項|選択肢", re.IGNORECASE
)


def without_letters(text: str) -> str:
    """A text without its sentences that hold an option's letter, or speak of options."""
    kept = (said if not _names_one(said) else "\n" * said.endswith("\n") for said in _SENTENCE.findall(text))
    return "".join(kept).strip()


def _names_one(said: str) -> bool:
    bare = said.strip()
    if _SPEAKS_OF_OPTIONS.search(bare):
        return True
    articles = {found.start("a") for found in _ARTICLE.finditer(bare)}
    return any(found.start() not in articles for found in _LETTER.finditer(bare))
