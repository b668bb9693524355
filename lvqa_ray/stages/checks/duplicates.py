"""Whether a question repeats another one, of its video or of the corpus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.records import AskedQuestion, QuestionedVideo, Verdict
from lvqa_ray.stage import Check

SHINGLE = 5
"""Characters of a shingle: short texts have enough of them, and one other word changes few."""
PERMUTATIONS = 128
MOST_PAIRS = 200
"""Questions that are all compared with one another, which takes less time than loading what finds candidates."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckDuplicates(Check):
    """Two questions are the same where their texts share most of their shingles (Jaccard similarity).

    Within a video these are stem and key, over the corpus stem and all options in any order: that two films are asked
    how they end is no repetition. The first of two stays. The verdict's score is the similarity to the likest one.
    """

    name: ClassVar[str] = "duplicates"

    policy: Literal["off", "mark", "drop"] = Field(
        default="drop", description="Action on a question that repeats another one: off, mark or drop."
    )
    threshold: float = Field(
        default=0.85, gt=0, le=1, description="Similarity from which two questions count as the same."
    )
    corpus: bool = Field(
        default=True,
        description="Also compare the questions of all videos, at the end of the run (with MinHash).",
    )

    def verdicts(self, row: QuestionedVideo) -> list[Verdict]:
        """Compare the questions of one video."""
        found: list[Verdict] = []
        kept: list[tuple[AskedQuestion, frozenset[str]]] = []
        for asked in row.questions:
            own = shingles(f"{asked.question.question} {asked.question.options[asked.question.answer]}")
            score, like = max(((_jaccard(own, other), one.id) for one, other in kept), default=(0.0, ""))
            if score >= self.threshold:
                found.append(self.failed(f"it repeats {like}", round(score, 3)))
            else:
                found.append(self.passed(round(score, 3)))
                kept.append((asked, own))
        return found

    def repeated(self, texts: Iterable[tuple[str, str]]) -> dict[str, tuple[str, float]]:
        """Which questions of a corpus repeat an earlier one.

        Args:
            texts: Id and text, as `corpus_text` gives it, of every question; the order decides which one stays.

        Returns:
            The one it repeats and the similarity, by the id of each that repeats one that stays.
        """
        first = list(islice(texts := iter(texts), MOST_PAIRS + 1))
        if len(first) <= MOST_PAIRS:
            return self._repeated_among(first)
        from datasketch import MinHash, MinHashLSH  # noqa: PLC0415 - scipy takes a second to import

        index = MinHashLSH(threshold=max(0.1, self.threshold - SKETCH_MARGIN), num_perm=PERMUTATIONS)
        # Candidates are compared by their shingles, so the sketch only has to find them.
        kept: dict[str, str] = {}
        repeats: dict[str, tuple[str, float]] = {}
        for row_id, text in chain(first, texts):
            own = shingles(text)
            sketch = MinHash(num_perm=PERMUTATIONS)
            sketch.update_batch([shingle.encode(errors="replace") for shingle in sorted(own)])
            near = [(_jaccard(own, shingles(kept[other])), other) for other in index.query(sketch)]
            score, like = max(near, default=(0.0, ""))
            if score >= self.threshold:
                repeats[row_id] = (like, score)
            else:
                index.insert(row_id, sketch)
                kept[row_id] = text
        return repeats

    def _repeated_among(self, texts: Iterable[tuple[str, str]]) -> dict[str, tuple[str, float]]:
        """The same of few questions: each is compared with all that stay."""
        kept: dict[str, frozenset[str]] = {}
        repeats: dict[str, tuple[str, float]] = {}
        for row_id, text in texts:
            own = shingles(text)
            score, like = max(((_jaccard(own, other), name) for name, other in kept.items()), default=(0.0, ""))
            if score >= self.threshold:
                repeats[row_id] = (like, score)
            else:
                kept[row_id] = own
        return repeats


SKETCH_MARGIN = 0.1
"""How far below the threshold a pair is still looked at: the sketch's own error is about 1 / sqrt(permutations)."""

_SPACES = re.compile(r"[\W_]+")


def corpus_text(stem: str, options: Mapping[str, str] | Sequence[str]) -> str:
    """The text by which a question is compared over the corpus, whatever the order of its options."""
    texts = options.values() if isinstance(options, Mapping) else options
    return " ".join([stem, *sorted(texts)])


def shingles(text: str) -> frozenset[str]:
    """All stretches of five characters of a text without case, marks and spare spaces."""
    plain = _SPACES.sub(" ", text.casefold()).strip()
    return frozenset(plain[start : start + SHINGLE] for start in range(max(1, len(plain) - SHINGLE + 1)))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
