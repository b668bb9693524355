"""Maintenance of a journal that has no writer: statistics, compaction, deletion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lvqa_ray.journal.costs import charge
from lvqa_ray.journal.entries import entry_of
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.journal.segments import COMPACT, Segments, by_time, scan, segments_of
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.records import Usage


@dataclass(slots=True)
class Stats:
    """Statistics of a journal.

    Attributes:
        segments: Number of files.
        bytes: Their total size.
        answers: Number of requests that it answers.
        corrupt_lines: Lines that cannot be read, torn last lines included.
        spent: Usage of all lines, by stage and then by model.
    """

    segments: int = 0
    bytes: int = 0
    answers: int = 0
    corrupt_lines: int = 0
    spent: dict[str, dict[str, Usage]] = field(default_factory=dict)


def stats(place: Path | Segments) -> Stats:
    """Compute statistics; the journal may be in use.

    Args:
        place: Its folder, or its segments.
    """
    segments = segments_of(place)
    counted = Stats()
    sizes = segments.sizes()
    for names in _by_stage(sizes).values():
        answered: set[bytes] = set()
        counted.segments += len(names)
        counted.bytes += sum(sizes[name] for name in names)
        for name, _, line in scan(segments, names, torn=True):
            if (entry := entry_of(line)) is None:
                counted.corrupt_lines += bool(line.strip())
                continue
            if entry.reply is not None:
                answered.add(bytes.fromhex(entry.key))
            charge(counted.spent, name, entry)
        counted.answers += len(answered)
    return counted


def compact(place: Path | Segments) -> tuple[Stats, Stats]:
    """Compact each stage into one segment with one line per request. No writer may be active.

    A new segment is complete before an old one is deleted, so a crash loses nothing. Lines of unusable paid replies
    stay, since they are part of the costs; unreadable lines are dropped. Of two answers to one request the later one
    stays, and an answer is preferred to a failure, as in `JournalReplyStore`.

    Args:
        place: Its folder, or its segments.

    Returns:
        Statistics before and after.

    Raises:
        OSError: The new segment cannot be written; the old ones are unchanged.
    """
    segments = segments_of(place)
    before = stats(segments)
    for stage, names in _by_stage(segments.sizes()).items():
        segments.replace(f"{stage}-{COMPACT}{next_run_id(names)}.jsonl", _needed(segments, names))
        for name in names:
            segments.delete(name)
    return before, stats(segments)


def _needed(segments: Segments, names: Sequence[str]) -> Iterator[bytes]:
    """The lines of a stage that answer a request or count in the costs."""
    kept: dict[str, tuple[str, int]] = {}  # key -> segment and offset of the line that answers it
    answered: set[str] = set()
    for name, offset, line in scan(segments, names, torn=True):
        entry = entry_of(line)
        if entry is None or entry.reply is None or (entry.unusable and entry.key in answered):
            continue
        kept[entry.key] = (name, offset)
        if isinstance(entry.reply, ChatReply):
            answered.add(entry.key)
    for name, offset, line in scan(segments, names, torn=True):
        entry = entry_of(line)
        if entry is not None and (entry.reply is None or kept[entry.key] == (name, offset)):
            yield line if line.endswith(b"\n") else line + b"\n"


def clear(place: Path | Segments) -> int:
    """Delete all segments and return their number. No writer may be active."""
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
