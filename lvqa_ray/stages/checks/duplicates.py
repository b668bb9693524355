"""Near-duplicate check: questions that repeat another one of the video or of the corpus."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lvqa_ray.records import AnyQuestion, AskedQuestion, OrderKey, Question, QuestionedVideo, Verdict
from lvqa_ray.stage import Check

SHINGLE = 5
"""Characters per shingle: short texts still have enough shingles, and one changed word affects few."""
PERMUTATIONS = 128
MOST_PAIRS = 200
"""Up to this many questions are compared pairwise, which takes less time than importing datasketch."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class CheckDuplicates(Check):
    """Compare questions by the Jaccard similarity of their shingles; the first of two duplicates stays.

    Within a video the text is stem and key, over the corpus stem and all options in any order: the question how a video
    ends may be asked about two videos. The verdict's score is the similarity to the most similar question.
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
            own = shingles(f"{asked.question.question} {_key_of(asked.question)}")
            score, like = max(((_jaccard(own, other), one.id) for one, other in kept), default=(0.0, ""))
            if score >= self.threshold:
                found.append(self.failed(f"it repeats {like}", round(score, 3)))
            else:
                found.append(self.passed(round(score, 3)))
                kept.append((asked, own))
        return found

    def repeated(self, texts: Iterable[tuple[str, str]]) -> dict[str, tuple[str, float]]:
        """Find the questions of a corpus that repeat an earlier one (MinHash LSH).

        Args:
            texts: Id and `corpus_text` of every question; the first of two duplicates stays.

        Returns:
            For the id of each duplicate: the id of the question that it repeats, and the similarity.
        """
        first = list(islice(texts := iter(texts), MOST_PAIRS + 1))
        if len(first) <= MOST_PAIRS:
            return self._repeated_among(first)
        from datasketch import MinHash, MinHashLSH  # noqa: PLC0415 - scipy takes a second to import

        index = MinHashLSH(threshold=max(0.1, self.threshold - SKETCH_MARGIN), num_perm=PERMUTATIONS)
        # Candidates are compared by their shingles; the sketch only finds them.
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
        """The same for few questions: compares each with all that stay."""
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


def _key_of(question: AnyQuestion) -> str:
    if isinstance(question, Question):
        return question.options[question.answer]
    items = question.key.items if isinstance(question.key, OrderKey) else ()
    return " ".join([*sorted(items), question.key_text])


SKETCH_MARGIN = 0.1
"""Margin below the threshold for candidates: the error of the sketch is about 1 / sqrt(permutations)."""

_SPACES = re.compile(r"[\W_]+")


def corpus_text(stem: str, options: Mapping[str, str] | Sequence[str]) -> str:
    """Text of a question for comparisons over the corpus, independent of the order of its options."""
    texts = options.values() if isinstance(options, Mapping) else options
    return " ".join([stem, *sorted(texts)])


def shingles(text: str) -> frozenset[str]:
    """All runs of five characters of a text, without case, punctuation and extra spaces."""
    plain = _SPACES.sub(" ", text.casefold()).strip()
    return frozenset(plain[start : start + SHINGLE] for start in range(max(1, len(plain) - SHINGLE + 1)))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
