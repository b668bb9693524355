"""Append-only segment files of the journal, each with one writer."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

COMPACT = "compact_"
"""Prefix of the writer in the name of a compacted segment; its time follows, as in all names."""


def by_time(name: str) -> str:
    """Sort key of segment names: the time at which they were begun. Of two answers, the later one is valid."""
    return name.replace(f"-{COMPACT}", "-", 1)


class Segments(Protocol):
    """Store of append-only files, on a disk or in an object store.

    Attributes:
        far: Whether reads are too slow for an event loop.
    """

    far: bool

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Sizes of the segments (bytes) by name, of those whose name starts with a prefix."""
        ...

    def lines(self, name: str, start: int, *, torn: bool = False) -> Iterator[bytes]:
        """The lines of a segment from an offset on, with line ends; a torn last line only if ``torn``."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Read a range of a segment.

        Raises:
            OSError: The segment is gone.
        """
        ...

    def append(self, name: str, line: bytes) -> tuple[str, int]:
        """Append a line with its line end; returns the segment and the offset of the line.

        The segment is the named one, or a continuation of it with a name of its own.

        Raises:
            OSError: The line could not be written completely.
        """
        ...

    def written(self) -> Future[None] | None:
        """A future that is done when all appended lines are durable; ``None`` if they already are."""
        ...

    def replace(self, name: str, lines: Iterable[bytes]) -> None:
        """Write a whole segment atomically.

        Raises:
            OSError: The write failed.
        """
        ...

    def delete(self, name: str) -> None:
        """Delete a segment."""
        ...

    def close(self) -> None:
        """Close open files; a later `append` opens them again."""
        ...


class LocalSegments:
    """Segments in a folder of a local or network file system.

    Each line is one write to the operating system, so it outlives a killed process; it is not synced to the disk (2 ms
    a line instead of 0.07), so a power failure may lose the last seconds.

    Args:
        folder: The folder.
        make: Create the folder if missing; readers do not need it.
    """

    far = False

    def __init__(self, folder: Path, *, make: bool = True) -> None:
        self._folder = folder
        self._descriptors: dict[str, int] = {}
        if make:
            folder.mkdir(parents=True, exist_ok=True)

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """See `Segments`."""
        with os.scandir(self._folder) as entries:
            return {
                entry.name: entry.stat().st_size
                for entry in entries
                if entry.name.startswith(prefix) and entry.name.endswith(".jsonl")
            }

    def lines(self, name: str, start: int, *, torn: bool = False) -> Iterator[bytes]:
        """See `Segments`."""
        with (self._folder / name).open("rb") as file:
            file.seek(start)
            for line in file:
                if torn or line.endswith(b"\n"):
                    yield line

    def read(self, name: str, offset: int, length: int) -> bytes:
        """See `Segments`."""
        with (self._folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def append(self, name: str, line: bytes) -> tuple[str, int]:
        """See `Segments`."""
        descriptor = self._open(name)
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self.close()  # the next append opens the segment again, which ends the torn line
            raise
        return name, os.lseek(descriptor, 0, os.SEEK_CUR) - len(line)

    def written(self) -> None:
        """See `Segments`."""
        return

    def replace(self, name: str, lines: Iterable[bytes]) -> None:
        """See `Segments`."""
        partial = self._folder / f".{name}.partial"
        with partial.open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._folder / name)

    def delete(self, name: str) -> None:
        """See `Segments`."""
        (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        """See `Segments`."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def _open(self, name: str) -> int:
        """The descriptor of a segment; ends a torn last line."""
        if name not in self._descriptors:
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            self._descriptors[name] = descriptor
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # otherwise the next line would be appended to the torn one
        return self._descriptors[name]


def names_by_time(segments: Segments) -> list[str]:
    """Names of all segments by time; empty if the journal is missing."""
    try:
        return sorted(segments.sizes(), key=by_time)
    except (FileNotFoundError, NotADirectoryError):
        return []


def scan(
    segments: Segments,
    names: Iterable[str] | None = None,
    read_to: Mapping[str, int] = MappingProxyType({}),
    *,
    torn: bool = False,
) -> Iterator[tuple[str, int, bytes]]:
    """Iterate over the lines of a journal, each with its segment and offset.

    Args:
        segments: The journal.
        names: Segments in order; by default all by time.
        read_to: Start offset by segment; by default 0.
        torn: Whether to include torn last lines.
    """
    for name in sorted(segments.sizes(), key=by_time) if names is None else names:
        offset = read_to.get(name, 0)
        for line in segments.lines(name, offset, torn=torn):
            yield name, offset, line
            offset += len(line)


def segments_of(place: Path | Segments) -> Segments:
    """The segments of a folder, which is created if missing; other segments are returned as they are."""
    return LocalSegments(place) if isinstance(place, Path) else place
