"""Where the journal's lines lie: append-only files of lines, each with one writer."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

COMPACT = "compact_"
"""Begins the writer's name of a segment that was made of others; what is behind it is the time, as with all others."""


def by_time(name: str) -> str:
    """Sorts the names of a stage's segments by the time at which they were begun: of two answers, the later stands."""
    return name.replace(f"-{COMPACT}", "-", 1)


class Segments(Protocol):
    """A store of append-only files; all that the journal asks of a disk, or of what takes its place.

    Attributes:
        far: Whether a look at it takes so long that no event loop may wait for it.
    """

    far: bool

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """Bytes of every segment whose name begins so, by its name."""
        ...

    def lines(self, name: str, start: int, *, torn: bool = False) -> Iterator[bytes]:
        """The lines of a segment from an offset on, each with its end; a last line without one only if asked for."""
        ...

    def read(self, name: str, offset: int, length: int) -> bytes:
        """A stretch of a segment.

        Raises:
            OSError: The segment is gone.
        """
        ...

    def append(self, name: str, line: bytes) -> tuple[str, int]:
        """Add a line, which ends in a line break; gives the segment and the offset at which it begins.

        The segment is the one that is named, or one of a name of its own that continues it.

        Raises:
            OSError: It could not be written as a whole.
        """
        ...

    def written(self) -> Future[None] | None:
        """What is done when all lines that were added outlive this process; ``None`` if they do already."""
        ...

    def replace(self, name: str, lines: Iterable[bytes]) -> None:
        """Write a segment as a whole; it is complete under its name, or as it was.

        Raises:
            OSError: It could not be written.
        """
        ...

    def delete(self, name: str) -> None:
        """Take a segment away."""
        ...

    def close(self) -> None:
        """Let go of what is open; a later `append` opens it again."""
        ...


class LocalSegments:
    """Segments in a folder of this machine, or of a file system that acts like one.

    A line goes to the operating system in one write, so it outlives a killed process; it is not forced to the disk
    (2 ms a line against 0.07), so a power cut may take the last seconds.

    Args:
        folder: Where they are.
        make: Make the folder if it does not exist; one who only reads does not need it.
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
            self.close()  # the next one opens the segment anew, which closes a torn line
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
        """The descriptor of a segment whose last line is whole."""
        if name not in self._descriptors:
            descriptor = os.open(self._folder / name, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            self._descriptors[name] = descriptor
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # or the next answer would be a part of the torn line
        return self._descriptors[name]


def names_by_time(segments: Segments) -> list[str]:
    """The names of all segments by the time at which they were begun; none where the journal is missing."""
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
    """The lines of a journal, each with its segment and its offset there.

    Args:
        segments: The journal.
        names: Which segments, in which order; all by their time, if not given.
        read_to: From which offset on, by segment; 0, if not given.
        torn: Whether a last line without an end counts.
    """
    for name in sorted(segments.sizes(), key=by_time) if names is None else names:
        offset = read_to.get(name, 0)
        for line in segments.lines(name, offset, torn=torn):
            yield name, offset, line
            offset += len(line)


def segments_of(place: Path | Segments) -> Segments:
    """The segments of a folder, which is made if it does not exist; others as they are."""
    return LocalSegments(place) if isinstance(place, Path) else place
