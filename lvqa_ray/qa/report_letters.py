"""Removes sentences with option letters from reasoning, for questions without options.

In doubt a sentence is removed: the rest stays readable, while a letter without options has no meaning.
"""

from __future__ import annotations

import re

_SENTENCE = re.compile(r"(?:\W*[A-D]\.\s)?.*?(?:[.!?](?=\s)|[\u3002\uff01\uff1f]|\n|\Z)", re.DOTALL)
"""Text up to a full stop, also a Chinese one. A list letter, as in "B. The park", belongs to the text after it."""

_LETTER = re.compile(r"(?<![A-Za-z0-9À-ɏ])(?:[A-D](?![A-Za-z0-9À-ɏ])(?!-[A-Za-z]{2})|[\uff21-\uff24])")
"""A single A, B, C or D, also full-width; not that of "B-roll"."""

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
"""An A that may be an article, as in "A man enters", judged by the next word."""

_SPEAKS_OF_OPTIONS = re.compile(
    r"\b(?:options?|choices)\b|\([a-d]\)|\banswers?\b\W*(?:is\b\W*)?(?:\b[a-d]\b)?\W*$|选项|選項|選択肢", re.IGNORECASE
)


def without_letters(text: str) -> str:
    """Remove the sentences that contain an option letter or mention options."""
    kept = (part if not _names_option(part) else "\n" * part.endswith("\n") for part in _SENTENCE.findall(text))
    return "".join(kept).strip()


def _names_option(sentence: str) -> bool:
    bare = sentence.strip()
    if _SPEAKS_OF_OPTIONS.search(bare):
        return True
    articles = {found.start("a") for found in _ARTICLE.finditer(bare)}
    return any(found.start() not in articles for found in _LETTER.finditer(bare))
