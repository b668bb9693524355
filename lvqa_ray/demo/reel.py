"""A film as its merged captions tell it: stretches, shots and looks, read back from the sentences."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from lvqa_ray.demo import facts
from lvqa_ray.demo.facts import ClipFacts, Shot

CAPTION_LINE = re.compile(r"^From (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?), (.+)$", re.MULTILINE)

Sameness = tuple[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A line of merged captions: its seconds, its label, and its facts."""

    start: float
    end: float
    label: str
    facts: ClipFacts


@dataclass(frozen=True, slots=True)
class Seen:
    """A shot, and the place in the film of the stretch that it lies in."""

    place: int
    shot: Shot


@dataclass(frozen=True, slots=True)
class Reel:
    """A film as its captions tell it.

    Attributes:
        stretches: Those with at least one fact, by time.
        seen: All shots in order.
        looks: Every shot of a look, by the look; looks in the order in which they first come.
    """

    stretches: tuple[Stretch, ...]
    seen: tuple[Seen, ...]
    looks: dict[Sameness, list[Seen]] = field(hash=False)

    @classmethod
    def read(cls, captions: str) -> Reel:
        """Read the lines ``From {start} to {end}, {caption}`` in a text; others are passed over."""
        lines = [
            Stretch(float(start), float(end), f"{start} to {end}", facts.parse(caption))
            for start, end, caption in CAPTION_LINE.findall(captions)
        ]
        lines.sort(key=lambda line: (line.start, line.end))
        stretches = tuple(line for line in lines if line.facts.shots)
        seen = tuple(Seen(place, shot) for place, line in enumerate(stretches) for shot in line.facts.shots)
        looks: dict[Sameness, list[Seen]] = {}
        for item in seen:
            looks.setdefault(item.shot.look.sameness, []).append(item)
        return cls(stretches, seen, looks)

    def apart(self, one: int, two: int) -> bool:
        """Whether one stretch is over before the other begins, so that their order is beyond doubt."""
        early, late = sorted((one, two))
        return early != late and self.stretches[early].end <= self.stretches[late].start

    def unbroken(self, first: int, last: int) -> bool:
        """Whether nothing is missing or told twice from one stretch to another, nor overlaps with their neighbours."""
        between = self.stretches[first : last + 1]
        around = self.stretches[max(0, first - 1) : last + 2]
        return all(one.end == two.start for one, two in itertools.pairwise(between)) and all(
            one.end <= two.start for one, two in itertools.pairwise(around)
        )
