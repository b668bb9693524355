"""Read model of the whole journal: costs, write times, latencies and replies, for reports."""

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
    """Write times and latencies of the journal lines of one stage.

    Attributes:
        at: Write times (seconds since 1970); lines of earlier releases, which lack it, are left out.
        seconds: Latency of the endpoint for each (s); 0 if unknown.
        tokens: Prompt and reply tokens of each.
    """

    at: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("f"))
    tokens: array[int] = field(default_factory=lambda: array("L"))


class Book:
    """All lines of a journal, read once. The journal may be in use, or missing.

    Takes about 50 bytes of memory per line; texts are read on demand.

    Args:
        segments: The journal.

    Attributes:
        spent: Usage of all lines, by stage and then by model.
        paces: Write times and latencies, by stage.
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
        """The last answer under a key, or the last failure if there is no answer."""
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
