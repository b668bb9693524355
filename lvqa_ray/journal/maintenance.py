"""Looking after a journal that nobody writes to: counting it, making one segment a stage of it, and emptying it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvqa_ray.journal.costs import Spent
from lvqa_ray.journal.entries import JournalEntry, entry_of
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.journal.segments import COMPACT, Segments, by_time, segments_of
from lvqa_ray.llm.messages import ChatReply


@dataclass(slots=True)
class Stats:
    """What a journal holds.

    Attributes:
        segments: Files.
        bytes: Their size.
        answers: Requests that are answered from it.
        corrupt_lines: Lines that cannot be read, torn last lines included.
        spent: What its lines cost when they were paid, by stage and then by model.
    """

    segments: int = 0
    bytes: int = 0
    answers: int = 0
    corrupt_lines: int = 0
    spent: dict[str, dict[str, Spent]] = field(default_factory=dict)


def stats(place: Path | Segments) -> Stats:
    """Count a journal; it may be in use.

    Args:
        place: Its folder, or its segments.
    """
    segments = segments_of(place)
    counted = Stats()
    sizes = segments.sizes()
    for stage, names in _by_stage(sizes).items():
        answered: set[bytes] = set()
        models = counted.spent.setdefault(stage, {})
        for name in names:
            counted.segments += 1
            counted.bytes += sizes[name]
            for line, entry in _entries(segments, name):
                if entry is None:
                    counted.corrupt_lines += bool(line.strip())
                    continue
                if entry.reply is not None:
                    answered.add(bytes.fromhex(entry.key))
                models[entry.model] = models.get(entry.model, Spent()) + Spent.on(entry)
        counted.answers += len(answered)
    return counted


def compact(place: Path | Segments) -> tuple[Stats, Stats]:
    """Make one segment a stage, with one line a request, and none that cannot be read. Nobody may be writing.

    A new segment is complete before an old one goes, so a kill in between costs nothing. Lines of replies that were
    paid for and answer nothing stay: they are a part of the bill. Of two answers to one request the later one stays,
    and an answer goes before a failure, as when they are read.

    Args:
        place: Its folder, or its segments.

    Returns:
        What the journal held before, and what it holds now.

    Raises:
        OSError: The new segment cannot be written; the old ones are as they were.
    """
    segments = segments_of(place)
    before = stats(segments)
    for stage, names in _by_stage(segments.sizes()).items():
        segments.replace(f"{stage}-{COMPACT}{next_run_id(names)}.jsonl", _needed(segments, names))
        for name in names:
            segments.delete(name)
    return before, stats(segments)


def _needed(segments: Segments, names: Sequence[str]) -> Iterator[bytes]:
    """The lines of a stage that are read, or are a part of the bill."""
    kept: dict[str, tuple[str, int]] = {}  # key -> the segment and the number of the line that answers it
    answered: set[str] = set()
    for name in names:
        for number, (_, entry) in enumerate(_entries(segments, name)):
            if entry is None or entry.reply is None or (entry.unusable and entry.key in answered):
                continue
            kept[entry.key] = (name, number)
            if isinstance(entry.reply, ChatReply):
                answered.add(entry.key)
    for name in names:
        for number, (line, entry) in enumerate(_entries(segments, name)):
            if entry is not None and (entry.reply is None or kept[entry.key] == (name, number)):
                yield line if line.endswith(b"\n") else line + b"\n"


def clear(place: Path | Segments) -> int:
    """Delete all segments; gives how many there were. Nobody may be writing."""
    segments = segments_of(place)
    names = [name for group in _by_stage(segments.sizes()).values() for name in group]
    for name in names:
        segments.delete(name)
    return len(names)


def _by_stage(names: Iterable[str]) -> dict[str, list[str]]:
    stages: dict[str, list[str]] = {}
    for name in sorted((name for name in names if "-" in name and name[0] != "."), key=by_time):
        stages.setdefault(name.partition("-")[0], []).append(name)
    return stages


def _entries(segments: Segments, name: str) -> Iterator[tuple[bytes, JournalEntry | None]]:
    """All lines, the last one even if its end is missing, with what each says."""
    for line in segments.lines(name, 0, torn=True):
        yield line, entry_of(line)
