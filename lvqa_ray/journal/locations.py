"""Where the journals of an output lie: on a disk, or on a store."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from lvqa_ray.journal.object_segments import LISTED_S, ObjectStoreSegments
from lvqa_ray.journal.segments import LocalSegments, Segments
from lvqa_ray.storage.paths import ObjectPath, StoragePath, complete, partial_of


def open_segments(place: StoragePath, *, make: bool = True, listed_s: float = LISTED_S) -> Segments:
    """The segments of a place.

    Args:
        place: Where they are.
        make: Make a folder that does not exist; one who only reads does not need it.
        listed_s: How old a listing of a store may be (s).
    """
    if isinstance(place, Path):
        return LocalSegments(place, make=make)
    return ObjectStoreSegments(Objects(place), listed_s=listed_s)


@lru_cache(maxsize=8)
def for_reading(place: StoragePath) -> Segments:
    """The segments of a place for all readers of this process, which share what was fetched."""
    return open_segments(place, make=False)


class Objects:
    """The objects right below a prefix, as a `Store`.

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
