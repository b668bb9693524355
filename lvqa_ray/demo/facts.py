"""What is known about a clip, and the sentences that say it: written by `render`, read back by `parse`.

The grammar is fixed, so that a question can later be composed from the sentences alone. ``M`` is a moment, as
``12.50 s`` or, where frames came without times, ``frame 3``::

    From M to M the picture is dim, finely detailed and mainly green and blue; between M and M the view pans left.
    Between M and M the shot changes: at M the picture is bright, plain and of many colours.
    At M the words “Big Buck Bunny” can be read.
    The shot does not change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

LIGHTINGS = ("dark", "dim", "evenly lit", "bright")
COLOURS = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "teal", "blue", "purple", "pink")
DETAILS = ("plain", "finely detailed")
MOTIONS = (
    "hardly anything moves",
    "the view pans left",
    "the view pans right",
    "the view pans up",
    "the view pans down",
    *(
        f"something moves {how} {where}"
        for how in ("slightly", "strongly")
        for where in ("on the left", "in the centre", "on the right")
    ),
    "there is slight movement all over the picture",
    "there is strong movement all over the picture",
)
UNCHANGED = "The shot does not change."
CLIP_TIMES = "Times are counted from the start of the clip."


@dataclass(frozen=True, slots=True)
class Look:
    """How light a picture is and what colours it has.

    Attributes:
        lighting: One of `LIGHTINGS`.
        colours: The one to three of `COLOURS` that cover half of the picture, largest first; empty when three do not.
    """

    lighting: str
    colours: tuple[str, ...]

    @property
    def sameness(self) -> tuple[str, frozenset[str]]:
        """What two looks share when a viewer would call them the same: the order of the colours is no difference."""
        return self.lighting, frozenset(self.colours)

    @property
    def palette(self) -> str:
        """The colours in words: ``mainly green and blue`` or ``of many colours``."""
        return f"mainly {listed(self.colours)}" if self.colours else "of many colours"

    @property
    def phrase(self) -> str:
        """The look as a noun phrase: ``a dim picture that is mainly green and blue``."""
        joint = " that is" if self.colours else ""
        return f"{'an' if self.lighting[0] == 'e' else 'a'} {self.lighting} picture{joint} {self.palette}"

    def clear_of(self, other: Look) -> bool:
        """Whether nobody could take one for the other: in the same light, each has a colour of its own."""
        mine, theirs = set(self.colours), set(other.colours)
        return self.lighting != other.lighting or not (mine <= theirs or theirs <= mine)


@dataclass(frozen=True, slots=True)
class Motion:
    """One of `MOTIONS`, and the moments of the first and the last frame that show it."""

    start: str
    end: str
    what: str


@dataclass(frozen=True, slots=True)
class Shot:
    """A run of frames without a change of shot.

    Attributes:
        start: Moment of its first frame.
        end: Moment of its last frame; the same moment when there is only one.
        detail: One of `DETAILS`, or empty for what is neither.
        motion: Its longest stretch of one kind of movement; a single frame has none.
    """

    start: str
    end: str
    look: Look
    detail: str = ""
    motion: Motion | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """Lines of text that were read in the frame of one moment."""

    at: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """Everything that was measured in a clip: its shots in order and the text in it."""

    shots: tuple[Shot, ...]
    readings: tuple[Reading, ...] = ()


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Words as an English list: ``a``, ``a and b``, ``a, b and c``."""
    return f"{', '.join(words[:-1])} {joint} {words[-1]}" if len(words) > 1 else "".join(words)


def render(facts: ClipFacts) -> str:
    """The facts as a caption: a few sentences on one line."""
    sentences: list[str] = []
    for before, shot in zip((None, *facts.shots), facts.shots, strict=False):
        said = _shot(shot)
        if before is not None:
            said = f"between {before.end} and {shot.start} the shot changes: {said}"
        sentences.append(said[0].upper() + said[1:])
    if len(facts.shots) == 1 and facts.shots[0].start != facts.shots[0].end:
        sentences.append(UNCHANGED)
    for reading in facts.readings:
        words = listed([f"“{line}”" for line in reading.lines])
        sentences.append(f"At {reading.at} the words {words} can be read.")
    return " ".join(sentences)


def when(shot: Shot) -> str:
    """The time of a shot in words: ``from 2.50 s to 5.00 s`` or ``at 2.50 s``."""
    return f"at {shot.start}" if shot.start == shot.end else f"from {shot.start} to {shot.end}"


def _shot(shot: Shot) -> str:
    detail = f", {shot.detail}" if shot.detail else ""
    said = f"{when(shot)} the picture is {shot.look.lighting}{detail} and {shot.look.palette}"
    if shot.motion is not None:
        whole = (shot.motion.start, shot.motion.end) == (shot.start, shot.end)
        time = "all the while" if whole else f"between {shot.motion.start} and {shot.motion.end}"
        said += f"; {time} {shot.motion.what}"
    return f"{said}."


_MOMENT = r"(?:\d+\.\d\d s|frame \d+)"
_COLOUR = f"(?:{'|'.join(COLOURS)})"
_SHOT = re.compile(
    rf"(?:\bfrom (?P<start>{_MOMENT}) to (?P<end>{_MOMENT})|\bat (?P<at>{_MOMENT})) "
    rf"the picture is (?P<lighting>{'|'.join(LIGHTINGS)})(?:, (?P<detail>{'|'.join(DETAILS)}))? and "
    rf"(?:mainly (?P<colours>{_COLOUR}(?:, {_COLOUR})?(?: and {_COLOUR})?)|of many colours)"
    rf"(?:; (?:all the while|between (?P<moves>{_MOMENT}) and (?P<rests>{_MOMENT})) (?P<motion>{'|'.join(MOTIONS)}))?"
    r"\.",
    re.IGNORECASE,
)
_READING = re.compile(
    rf"\bat (?P<at>{_MOMENT}) the words (?P<words>“[^”]*”(?:(?:, | and )“[^”]*”)*) can be read\.", re.I
)
_QUOTED = re.compile("“([^”]*)”")


def parse(caption: str) -> ClipFacts:
    """Read the facts back from a caption; what is not in the grammar is passed over.

    Args:
        caption: A caption, alone or as it stands in a merged line (its first letter may be lower-cased).

    Returns:
        The facts; without shots when the caption was not written by `render`.
    """
    readings = tuple(
        Reading(match["at"], tuple(_QUOTED.findall(match["words"]))) for match in _READING.finditer(caption)
    )
    # What stands in the picture is quoted and could look like a sentence of ours.
    return ClipFacts(tuple(_read_shot(match) for match in _SHOT.finditer(_QUOTED.sub("", caption))), readings)


def _read_shot(match: re.Match[str]) -> Shot:
    start, end = match["start"] or match["at"], match["end"] or match["at"]
    colours = tuple(re.split(", | and ", match["colours"])) if match["colours"] else ()
    motion = None
    if match["motion"]:
        motion = Motion(match["moves"] or start, match["rests"] or end, match["motion"])
    return Shot(start, end, Look(match["lighting"], colours), match["detail"] or "", motion)
