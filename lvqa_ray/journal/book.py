"""The journal of paid answers as a book to look things up in: what was paid, when, for how long, and what was said."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

from lvqa_ray.journal.costs import charge
from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.index import IndexBuilder, Place
from lvqa_ray.journal.segments import Segments, names_by_time, scan
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage


@dataclass(slots=True)
class Pace:
    """When the lines of one stage were written, and how long the endpoint took for each.

    Attributes:
        at: Seconds since 1970; lines of earlier releases, which do not say it, are left out.
        seconds: How long each of those took; 0 where that is not known.
        tokens: Tokens of each, in and out.
    """

    at: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("f"))
    tokens: array[int] = field(default_factory=lambda: array("L"))


class Book:
    """The lines of a journal, read once from end to end; it may be in use, and it may be missing.

    In memory there are some 50 bytes a line, never a text.

    Args:
        segments: The journal.

    Attributes:
        spent: What its lines cost when they were paid, by stage and then by model.
        paces: When they were written, by stage.
    """

    def __init__(self, segments: Segments) -> None:
        self.spent: dict[str, dict[str, Usage]] = {}
        self.paces: dict[str, Pace] = {}
        self._segments = segments
        lines = IndexBuilder()
        for name, offset, line in scan(segments, names_by_time(segments)):
            if (entry := entry_of(line)) is None:
                continue
            charge(self.spent, name, entry)
            if entry.at:
                pace = self.paces.setdefault(name.partition("-")[0], Pace())
                pace.at.append(entry.at)
                pace.seconds.append(entry.seconds)
                pace.tokens.append(entry.usage.input_tokens + entry.usage.output_tokens)
            lines.add(bytes.fromhex(entry.key), name, offset, len(line))
        self._index = lines.index()

    def find(self, key: str) -> JournalEntry | None:
        """What stands under a key: the last answer, or the last failure where there is no answer."""
        found: JournalEntry | None = None
        for place in self._index.places(key):
            entry = self._entry(place)
            if entry is None or entry.key != key:
                continue
            if isinstance(entry.reply, ChatReply):
                return entry
            found = found or entry
        return found

    def _entry(self, place: Place) -> JournalEntry | None:
        try:
            return entry_of(self._segments.read(*place))
        except OSError:
            return None
