"""The journal of paid answers as a book to look things up in: what was paid, when, for how long, and what was said."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lvqa_ray.journal.costs import Spent
from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.segments import Segments, by_time
from lvqa_ray.llm.messages import ChatReply


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


@dataclass(slots=True)
class _Places:
    heads: array[int] = field(default_factory=lambda: array("Q"))
    names: array[int] = field(default_factory=lambda: array("L"))
    offsets: array[int] = field(default_factory=lambda: array("q"))
    lengths: array[int] = field(default_factory=lambda: array("L"))


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
        self.spent: dict[str, dict[str, Spent]] = {}
        self.paces: dict[str, Pace] = {}
        self._segments = segments
        places = _Places()
        try:
            self._names = sorted(segments.sizes(), key=by_time)
        except (FileNotFoundError, NotADirectoryError):
            self._names = []
        for number, name in enumerate(self._names):
            self._read(number, name, places)
        heads = np.frombuffer(places.heads, np.uint64) if places.heads else np.empty(0, np.uint64)
        self._order: npt.NDArray[np.int64] = np.argsort(heads, kind="stable")
        self._heads = heads[self._order]
        self._places = places

    def find(self, key: str) -> JournalEntry | None:
        """What stands under a key: the last answer, or the last failure where there is no answer."""
        head = np.uint64(int(key[:16], 16))
        first, last = np.searchsorted(self._heads, head, "left"), np.searchsorted(self._heads, head, "right")
        found: JournalEntry | None = None
        for place in reversed(self._order[first:last]):
            entry = self._entry(int(place))
            if entry is None or entry.key != key:
                continue
            if isinstance(entry.reply, ChatReply):
                return entry
            found = found or entry
        return found

    def _read(self, number: int, name: str, places: _Places) -> None:
        stage = name.partition("-")[0]
        models = self.spent.setdefault(stage, {})
        pace = self.paces.setdefault(stage, Pace())
        offset = 0
        for line in self._segments.lines(name, 0):
            entry = entry_of(line)
            if entry is not None:
                models[entry.model] = models.get(entry.model, Spent()) + Spent.on(entry)
                if entry.at:
                    pace.at.append(entry.at)
                    pace.seconds.append(entry.seconds)
                    pace.tokens.append(entry.usage.input_tokens + entry.usage.output_tokens)
                places.heads.append(int(entry.key[:16], 16))
                places.names.append(number)
                places.offsets.append(offset)
                places.lengths.append(len(line))
            offset += len(line)

    def _entry(self, place: int) -> JournalEntry | None:
        name = self._names[self._places.names[place]]
        try:
            return entry_of(self._segments.read(name, self._places.offsets[place], self._places.lengths[place]))
        except OSError:
            return None
