"""Looking after a journal that nobody writes to: counting it, making one segment a stage of it, and emptying it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lvqa_ray.llm.entry import Entry, entry_of
from lvqa_ray.llm.ledger import Spent
from lvqa_ray.llm.messages import ChatReply
from lvqa_ray.llm.segments import COMPACT, by_time


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


def stats(folder: Path) -> Stats:
    """Count a journal; it may be in use.

    Args:
        folder: Where its segments are.
    """
    counted = Stats()
    for stage, segments in _by_stage(folder).items():
        answered: set[bytes] = set()
        models = counted.spent.setdefault(stage, {})
        for segment in segments:
            counted.segments += 1
            counted.bytes += segment.stat().st_size
            for line, entry in _entries(segment):
                if entry is None:
                    counted.corrupt_lines += bool(line.strip())
                    continue
                if entry.reply is not None:
                    answered.add(bytes.fromhex(entry.key))
                models[entry.model] = models.get(entry.model, Spent()) + Spent.on(entry)
        counted.answers += len(answered)
    return counted


def compact(folder: Path) -> tuple[Stats, Stats]:
    """Make one segment a stage, with one line a request, and none that cannot be read. Nobody may be writing.

    A new segment is complete before an old one goes, so a kill in between costs nothing. Lines of replies that were
    paid for and answer nothing stay: they are a part of the bill. Of two answers to one request the later one stays,
    and an answer goes before a failure, as when they are read.

    Args:
        folder: Where the segments are.

    Returns:
        What the journal held before, and what it holds now.

    Raises:
        OSError: The new segment cannot be written; the old ones are as they were.
    """
    before = stats(folder)
    for stage, segments in _by_stage(folder).items():
        kept: dict[str, tuple[Path, int]] = {}  # key -> the segment and the number of the line that answers it
        answered: set[str] = set()
        for segment in segments:
            for number, (_, entry) in enumerate(_entries(segment)):
                if entry is None or entry.reply is None or (entry.unusable and entry.key in answered):
                    continue
                kept[entry.key] = (segment, number)
                if isinstance(entry.reply, ChatReply):
                    answered.add(entry.key)
        name = f"{stage}-{COMPACT}{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.jsonl"
        partial = folder / f".{name}.partial"
        with partial.open("wb") as file:
            for segment in segments:
                for number, (line, entry) in enumerate(_entries(segment)):
                    if entry is not None and (entry.reply is None or kept[entry.key] == (segment, number)):
                        file.write(line if line.endswith(b"\n") else line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / name)
        for segment in segments:
            segment.unlink()
    return before, stats(folder)


def clear(folder: Path) -> int:
    """Delete all segments; gives how many there were. Nobody may be writing."""
    segments = [segment for group in _by_stage(folder).values() for segment in group]
    for segment in segments:
        segment.unlink()
    return len(segments)


def _by_stage(folder: Path) -> dict[str, list[Path]]:
    stages: dict[str, list[Path]] = {}
    for segment in sorted(folder.glob("*-*.jsonl"), key=lambda path: by_time(path.name)):
        stages.setdefault(segment.name.partition("-")[0], []).append(segment)
    return stages


def _entries(segment: Path) -> Iterator[tuple[bytes, Entry | None]]:
    """All lines, the last one even if its end is missing, with what each says."""
    with segment.open("rb") as file:
        for line in file:
            yield line, entry_of(line)
