"""Caption grammar of the demo: writes captions from measurements, and parses merged captions back.

`CaptionFacts.render` writes a caption and `Film.read` parses captions. In the grammar, ``M`` is a moment, such as
``12.50 s``, or ``frame 3`` if the frames have no times::

    From M to M the picture is dim and mainly green and blue; there is some movement.
    Between M and M the shot changes: at M the picture is bright and of many colours.
    At M the words “Big Buck Bunny” can be read.
    The shot does not change.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

LIGHTINGS = ("dark", "dim", "evenly lit", "bright")
COLOURS = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "teal", "blue", "purple", "pink")

CAPTION_LINE = re.compile(r"^From (\d+(?:\.\d+)?) to (\d+(?:\.\d+)?), (.+)$", re.MULTILINE)
_LIGHTING, _COLOUR = f"(?P<lighting>{'|'.join(LIGHTINGS)})", f"(?:{'|'.join(COLOURS)})"
_PALETTE = rf"(?:mainly (?P<colours>{_COLOUR}(?:, {_COLOUR})?(?: and {_COLOUR})?)|of many colours)"
STATED = re.compile(rf"the picture is {_LIGHTING} and {_PALETTE}[.;]")
NAMED = re.compile(rf"\ban? {_LIGHTING} picture (?:that is )?{_PALETTE}")
_QUOTED = re.compile("“[^”]*”")

Sameness = tuple[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Look:
    """Lighting and colours of a frame.

    Attributes:
        lighting: One of `LIGHTINGS`.
        colours: The one to three of `COLOURS` that cover half of the frame, largest first; empty if three do not.
    """

    lighting: str
    colours: tuple[str, ...]

    @property
    def sameness(self) -> Sameness:
        """Equality key of looks that a viewer would call the same; it ignores the order of the colours."""
        return self.lighting, frozenset(self.colours)

    @property
    def palette(self) -> str:
        """The colours in words: ``mainly green and blue`` or ``of many colours``."""
        return f"mainly {listed(self.colours)}" if self.colours else "of many colours"

    @property
    def phrase(self) -> str:
        """The look as a noun phrase, which `NAMED` finds: ``a dim picture that is mainly green and blue``."""
        joint = " that is" if self.colours else ""
        return f"{'an' if self.lighting[0] == 'e' else 'a'} {self.lighting} picture{joint} {self.palette}"

    @property
    def clause(self) -> str:
        """The look as a clause, which `STATED` finds."""
        return f"the picture is {self.lighting} and {self.palette}"

    @property
    def sentence(self) -> str:
        """The look as a sentence."""
        return f"{capital(self.clause)}."

    def clear_of(self, other: Look) -> bool:
        """Whether a viewer cannot confuse the two: other lighting, or each has a colour that the other lacks."""
        mine, theirs = set(self.colours), set(other.colours)
        return self.lighting != other.lighting or not (mine <= theirs or theirs <= mine)


@dataclass(frozen=True, slots=True)
class Shot:
    """Consecutive frames of one shot: moments of the first and the last, look, and amount of movement."""

    start: str
    end: str
    look: Look
    movement: str = ""


@dataclass(frozen=True, slots=True)
class CaptionFacts:
    """Measurements of a clip: its shots in order, and the lines of text that are readable at one moment."""

    shots: tuple[Shot, ...]
    read_at: str = ""
    lines: tuple[str, ...] = ()

    def render(self) -> str:
        """Write the caption: a few sentences on one line."""
        sentences: list[str] = []
        for before, shot in zip((None, *self.shots), self.shots, strict=False):
            change = f"between {before.end} and {shot.start} the shot changes: " if before else ""
            time = f"at {shot.start}" if shot.start == shot.end else f"from {shot.start} to {shot.end}"
            movement = f"; {shot.movement}" if shot.movement else ""
            sentences.append(capital(f"{change}{time} {shot.look.clause}{movement}."))
        if len(self.shots) == 1 and self.shots[0].movement:
            sentences.append("The shot does not change.")
        if self.lines:
            sentences.append(f"At {self.read_at} the words {listed([f'“{line}”' for line in self.lines])} can be read.")
        return " ".join(sentences)


def looks(pattern: re.Pattern[str], text: str) -> list[Look]:
    """Find the looks that a text states or names, outside quotations (text in the frame)."""
    found = pattern.finditer(_QUOTED.sub("", text).lower())
    return [Look(match["lighting"], tuple(re.findall(_COLOUR, match["colours"] or ""))) for match in found]


def capital(text: str) -> str:
    """Capitalize the first letter."""
    return text[:1].upper() + text[1:]


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Join words as an English list: ``a``, ``a and b``, ``a, b and c``."""
    return f"{', '.join(words[:-1])} {joint} {words[-1]}" if len(words) > 1 else "".join(words)


@dataclass(frozen=True, slots=True)
class Part:
    """A line of merged captions: start and end (s), and its label."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A shot: its index in the video, the index (``place``) of its part, and its look."""

    index: int
    place: int
    look: Look


@dataclass(frozen=True, slots=True)
class Film:
    """A video as described by its captions.

    Attributes:
        parts: Caption lines that state a look, by time.
        seen: All shots in order.
        looks: Shots by look; looks are in order of their first shot.
    """

    parts: tuple[Part, ...]
    seen: tuple[Seen, ...]
    looks: dict[Sameness, list[Seen]] = field(hash=False)

    @classmethod
    def read(cls, captions: str) -> Film:
        """Parse the lines ``From {start} to {end}, {caption}`` of a text; other lines are ignored."""
        lines = [
            (Part(float(start), float(end), f"{start} to {end}"), stated)
            for start, end, caption in CAPTION_LINE.findall(captions)
            if (stated := looks(STATED, caption))
        ]
        lines.sort(key=lambda line: (line[0].start, line[0].end))
        shots = [(place, look) for place, (_, stated) in enumerate(lines) for look in stated]
        seen = tuple(Seen(index, place, look) for index, (place, look) in enumerate(shots))
        by_look: dict[Sameness, list[Seen]] = {}
        for shot in seen:
            by_look.setdefault(shot.look.sameness, []).append(shot)
        return cls(tuple(part for part, _ in lines), seen, by_look)

    @property
    def firsts(self) -> list[Seen]:
        """The first shot of each look, in order."""
        return [shots[0] for shots in self.looks.values()]

    def apart(self, one: Seen, two: Seen) -> bool:
        """Whether the parts of two shots do not overlap, so that their order is certain."""
        early, late = sorted((one.place, two.place))
        return early != late and self.parts[early].end <= self.parts[late].start

    def unbroken(self, one: Seen, two: Seen) -> bool:
        """Whether the parts from one shot to another leave no gap, and overlap neither each other nor a neighbour."""
        first, last = sorted((one.place, two.place))
        between = itertools.pairwise(self.parts[first : last + 1])
        around = itertools.pairwise(self.parts[max(0, first - 1) : last + 2])
        return all(a.end == b.start for a, b in between) and all(a.end <= b.start for a, b in around)
