"""Frozen dataclasses of the keys of questions without options: spans, number, order, short text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lvqa_ray.records.rows import Span

Kind = Literal["choice", "span", "number", "order", "open"]
"""How an answer is given and graded; see `docs/quality.md`."""
KEYED_KINDS: tuple[Kind, ...] = ("span", "number", "order", "open")
"""The kinds without options A to D."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanKey:
    """Time spans of the video, in time order and apart from each other (s)."""

    spans: tuple[Span, ...]

    @property
    def kind(self) -> Kind:
        """Kind of the question."""
        return "span"

    @property
    def text(self) -> str:
        """The key as a reply gives it: ``12 to 18.5; 40 to 44``."""
        return "; ".join(f"{_plain(span.start_s)} to {_plain(span.end_s)}" for span in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberKey:
    """A number.

    Attributes:
        tolerance: Greatest distance of a right answer; 0 for exactly this number.
        unit: What is counted or measured, or empty.
    """

    number: float
    tolerance: float = 0.0
    unit: str = ""

    @property
    def kind(self) -> Kind:
        """Kind of the question."""
        return "number"

    @property
    def text(self) -> str:
        """The key as a reply gives it: ``3 times``."""
        return f"{_plain(self.number)} {self.unit}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderKey:
    """An order of moments.

    Attributes:
        items: What is seen at each moment, in the order in which the question lists them.
        order: Their numbers (from 1) in time order.
    """

    items: tuple[str, ...]
    order: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        """Kind of the question."""
        return "order"

    @property
    def text(self) -> str:
        """The key as a reply gives it: ``2, 4, 1, 3``."""
        return ", ".join(map(str, self.order))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenKey:
    """A short text.

    Attributes:
        text: The answer.
        accepted: Other accepted forms.
        rubric: What an answer must say to be right, for a model that grades it; or empty.
    """

    text: str
    accepted: tuple[str, ...] = ()
    rubric: str = ""

    @property
    def kind(self) -> Kind:
        """Kind of the question."""
        return "open"


Key = SpanKey | NumberKey | OrderKey | OpenKey


def _plain(number: float) -> str:
    """A number without trailing zeros and exponent, rounded to 0.001."""
    return f"{number:.3f}".rstrip("0").rstrip(".")


TOUCHING_S = 0.05
"""Spans closer than this are one (s): labels and cuts are rounded."""


def joined_spans(spans: Iterable[Span]) -> list[Span]:
    """Spans in time order, joined where they touch or overlap."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start_s, span.end_s)):
        if joined and span.start_s <= joined[-1].end_s + TOUCHING_S:
            joined[-1] = Span(start_s=joined[-1].start_s, end_s=max(joined[-1].end_s, span.end_s))
        else:
            joined.append(span)
    return joined
