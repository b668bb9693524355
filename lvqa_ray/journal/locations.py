"""Opens the journal's segments in a folder or a bucket."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from lvqa_ray.journal.object_segments import LISTED_S, ObjectStoreSegments
from lvqa_ray.journal.segments import LocalSegments, Segments
from lvqa_ray.storage.paths import ObjectPath, StoragePath, complete, partial_of


def open_segments(place: StoragePath, *, make: bool = True, listed_s: float = LISTED_S) -> Segments:
    """Open the segments in a folder.

    Args:
        place: Folder on a disk or in a bucket.
        make: Create a missing folder; readers do not need it.
        listed_s: Maximum age of a listing of a bucket (s).
    """
    if isinstance(place, Path):
        return LocalSegments(place, make=make)
    return ObjectStoreSegments(Objects(place), listed_s=listed_s)


@lru_cache(maxsize=8)
def for_reading(place: StoragePath) -> Segments:
    """Open segments for reading, with a block cache shared by this process."""
    return open_segments(place, make=False)


class Objects:
    """The objects directly below a prefix, as a `Store`.

    Args:
        place: The prefix.
    """

    def __init__(self, place: ObjectPath) -> None:
        self._place = place

    def sizes(self) -> dict[str, int]:
        """See `Store`."""
        return {file.uri.rpartition("/")[2]: file.size or 0 for file in self._place.files()}

    def read(self, name: str, start: int, end: int) -> bytes:
        """See `Store`."""
        return (self._place / name).read_bytes(start, end)

    def write(self, name: str, data: bytes) -> None:
        """See `Store`."""
        (self._place / name).write_bytes(data)

    def write_all(self, name: str, parts: Iterable[bytes]) -> None:
        """See `Store`."""
        partial = partial_of(self._place / name)
        try:
            with partial.open("wb") as file:
                file.writelines(parts)
            complete(partial, self._place / name)
        finally:
            partial.unlink(missing_ok=True)

    def delete(self, name: str) -> None:
        """See `Store`."""
        (self._place / name).unlink(missing_ok=True)
