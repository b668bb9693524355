"""Segments in an object store such as S3: each is re-uploaded as it grows, until the next one begins."""

from __future__ import annotations

import errno
import io
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Protocol

UPLOAD_EVERY_S = 0.5
ROLL_BYTES = 2**21
LISTED_S = 1.0
LISTING_LONGEST_AGE_S = 60.0
"""Maximum age of a listing if reading new lines takes long (s)."""
SHARE = 4
"""Ratio of the age of a listing to the time that reading took: reading takes at most one fifth of the time."""
WRITE_GIVES_UP_S = 120.0
CLOSING_S = 10.0
READ_BLOCK_BYTES = 2**20
READ_BLOCKS_KEPT = 16
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS})
"""Permanent upload errors: expired or revoked credentials, a deleted bucket."""
logger = logging.getLogger(__name__)


class Store(Protocol):
    """Object store: whole objects by name. Each call may raise `OSError`."""

    def sizes(self) -> dict[str, int]:
        """Sizes of all objects (bytes), by name."""
        ...

    def read(self, name: str, start: int, end: int) -> bytes:
        """Read a range of an object, or as much of it as exists."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write an object atomically."""
        ...

    def write_all(self, name: str, parts: Iterable[bytes]) -> None:
        """Write an object atomically from parts that do not fit into memory."""
        ...

    def delete(self, name: str) -> None:
        """Delete an object."""
        ...


@dataclass(slots=True)
class _Tail:
    """The segment that grows now."""

    name: str
    number: int = 0
    data: bytearray = field(default_factory=bytearray)


class ObjectStoreSegments:
    """Segments that grow in memory; a thread uploads the last one up to twice a second.

    After a pause, a line is uploaded at once; lines within half a second are uploaded together, and callers wait for
    `written` until they are durable. Uploads only extend a segment, so positions that a reader knows stay valid. A
    killed process loses the lines that were not uploaded, none of which was reported as written. A failed upload is
    retried together with new lines, unless the error is permanent (`LASTING`): then all waiting callers get it at once.

    Args:
        store: The object store.
        every_s: Minimum time between two uploads (s).
        roll_bytes: Size at which the next segment begins.
        listed_s: Maximum age of a listing (s). For writers it should be short: replies that a dead process has paid
            for are requested again as long as they are not seen.
        patience_s: How long uploads may fail before waiting callers get the error (s).
        closing_s: How long `close` waits at most (s): a process that takes long to end is killed.
    """

    far = True

    def __init__(
        self,
        store: Store,
        *,
        every_s: float = UPLOAD_EVERY_S,
        roll_bytes: int = ROLL_BYTES,
        listed_s: float = LISTED_S,
        patience_s: float = WRITE_GIVES_UP_S,
        closing_s: float = CLOSING_S,
    ) -> None:
        self._store = store
        self._every_s = every_s
        self._roll_bytes = roll_bytes
        self._listed_s = listed_s
        self._patience_s = patience_s
        self._closing_s = closing_s
        self._changed = threading.Condition()
        self._tails: dict[str, _Tail] = {}  # by the requested name
        self._due: dict[str, _Tail] = {}  # not fully uploaded, by their own names
        self._future: Future[None] | None = None  # for lines that no upload has included yet
        self._sending: list[Future[None]] = []  # for lines in a started upload; the last one covers all
        self._thread: threading.Thread | None = None
        self._broken: OSError | None = None
        self._listed: tuple[float, dict[str, int]] | None = None
        self._read_s = 0.0  # time for the last listing and the reads since then
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """See `Segments`; lines of other writers appear with the next listing."""
        lasts_s = max(self._listed_s, min(SHARE * self._read_s, LISTING_LONGEST_AGE_S))
        if self._listed is None or time.monotonic() - self._listed[0] > lasts_s:
            begun = time.monotonic()
            found = {name: size for name, size in self._store.sizes().items() if name.endswith(".jsonl")}
            self._listed = time.monotonic(), found
            self._read_s = self._listed[0] - begun
        return {name: size for name, size in self._listed[1].items() if name.startswith(prefix)}

    def lines(self, name: str, start: int, *, torn: bool = False) -> Iterator[bytes]:
        """See `Segments`."""
        rest, size = b"", self.sizes().get(name, 0)
        for begin in range(start, size, ROLL_BYTES):
            begun = time.monotonic()
            part = io.BytesIO(rest + self._store.read(name, begin, min(begin + ROLL_BYTES, size)))
            self._read_s += time.monotonic() - begun
            rest = b""
            for line in part:
                if line.endswith(b"\n"):
                    yield line
                else:
                    rest = line
        if torn and rest:
            yield rest

    def read(self, name: str, offset: int, length: int) -> bytes:
        """See `Segments`; reads blocks of 1 MiB, since neighbouring lines are usually needed next."""
        with self._changed:
            for tail in (*self._tails.values(), *self._due.values()):
                if tail.name == name:
                    return bytes(tail.data[offset : offset + length])
        end = offset + length
        first, last = offset // READ_BLOCK_BYTES, (end - 1) // READ_BLOCK_BYTES
        found = b"".join(self._block(name, number, end) for number in range(first, last + 1))
        return found[offset - first * READ_BLOCK_BYTES : end - first * READ_BLOCK_BYTES]

    def append(self, name: str, line: bytes) -> tuple[str, int]:
        """See `Segments`."""
        with self._changed:
            if self._broken is not None:
                raise self._broken
            tail = self._tails.get(name) or _Tail(name)
            if len(tail.data) + len(line) > self._roll_bytes and tail.data:
                stem = name.removesuffix(".jsonl")
                tail = _Tail(f"{stem}_{tail.number + 1:04d}.jsonl", tail.number + 1)
            self._tails[name] = tail
            offset = len(tail.data)
            tail.data += line
            self._due[tail.name] = tail
            self._future = self._future or Future()
            if self._thread is None:
                self._thread = threading.Thread(target=self._upload, name="journal", daemon=True)
                self._thread.start()
            self._changed.notify()
        return tail.name, offset

    def written(self) -> Future[None] | None:
        """See `Segments`."""
        with self._changed:
            if self._broken is not None:  # an upload failed before this call
                failed: Future[None] = Future()
                failed.set_exception(self._broken)
                return failed
            return self._future or (self._sending[-1] if self._sending else None)

    def replace(self, name: str, lines: Iterable[bytes]) -> None:
        """See `Segments`."""
        self._store.write_all(name, lines)
        self._listed = None

    def delete(self, name: str) -> None:
        """See `Segments`."""
        self._store.delete(name)
        self._listed = None

    def close(self) -> None:
        """See `Segments`: waits for pending uploads, at most ``closing_s``; the next `append` raises their error."""
        last = self.written()
        if last is not None and wait([last], timeout=self._closing_s).not_done:
            logger.warning(
                "the store accepts no data: what was paid for in the last seconds is not written, and may be sent again"
            )

    def _upload(self) -> None:
        failing_since: float | None = None
        while True:
            with self._changed:
                while not self._due:
                    self._changed.wait()
                due = [(tail, bytes(tail.data)) for tail in self._due.values()]
                if self._future is not None:
                    self._sending.append(self._future)
                    self._future = None
            begun = time.monotonic()
            error = self._write(due)
            if error is None:
                failing_since = None
                self._notify_waiting(None)
            else:
                failing_since = begun if failing_since is None else failing_since
                if error.errno in LASTING or time.monotonic() - failing_since >= self._patience_s:
                    self._notify_waiting(error)
                    return
            time.sleep(max(0.0, self._every_s - (time.monotonic() - begun)))

    def _write(self, due: Iterable[tuple[_Tail, bytes]]) -> OSError | None:
        """Upload segments; those that fail, or have grown meanwhile, stay due."""
        error: OSError | None = None
        for tail, data in due:
            try:
                self._store.write(tail.name, data)
            except OSError as failed:
                error = failed
                continue
            with self._changed:
                if len(tail.data) == len(data):
                    del self._due[tail.name]
        return error

    def _notify_waiting(self, error: OSError | None) -> None:
        """Resolve the futures of the uploaded lines, or fail all futures with the error."""
        with self._changed:
            waiting, self._sending = self._sending, []
            if error is not None:
                self._broken = error
                waiting += [self._future] if self._future is not None else []
                self._future = None
        for future in waiting:
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _block(self, name: str, number: int, end: int) -> bytes:
        """A block of a segment, at least up to ``end``; cached (LRU)."""
        key = (name, number)
        begin = number * READ_BLOCK_BYTES
        block = self._blocks.get(key, b"")
        if len(block) < min(end - begin, READ_BLOCK_BYTES):
            block = self._store.read(name, begin, begin + READ_BLOCK_BYTES)
        self._blocks[key] = block
        self._blocks.move_to_end(key)
        if len(self._blocks) > READ_BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return block
