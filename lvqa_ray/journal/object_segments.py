"""Segments on a store of whole objects, such as S3: each is uploaded anew as it grows, then another begins."""

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

EVERY_S = 0.5
ROLL_BYTES = 2**21
LISTED_S = 1.0
LONGEST_S = 60.0
"""Age up to which a listing may be used where reading what others add takes long."""
SHARE = 4
"""Reading what others add takes at most one part in five of the time."""
PATIENCE_S = 120.0
CLOSING_S = 10.0
BLOCK = 2**20
BLOCKS = 16
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.ENOENT, errno.EROFS})
"""Errors of an upload that waiting does not mend: expired or withdrawn credentials, a bucket that is gone."""
logger = logging.getLogger(__name__)


class Store(Protocol):
    """Whole objects by name; each call may raise `OSError`."""

    def sizes(self) -> dict[str, int]:
        """Bytes of every object, by its name."""
        ...

    def read(self, name: str, start: int, end: int) -> bytes:
        """A stretch of an object, or what there is of it."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Put an object in its place: whole, or not at all."""
        ...

    def write_all(self, name: str, parts: Iterable[bytes]) -> None:
        """The same from parts that are too many to be held in memory."""
        ...

    def delete(self, name: str) -> None:
        """Take an object away."""
        ...


@dataclass(slots=True)
class _Tail:
    """The segment that lines are added to now."""

    name: str
    number: int = 0
    data: bytearray = field(default_factory=bytearray)


class ObjectStoreSegments:
    """Segments of which the last one grows in memory and is uploaded twice a second, by a thread of its own.

    A line is uploaded at once where none was a moment ago. All others of half a second go out together, and who wants
    to be sure of one waits for `written`. What a reader knows of a segment never changes: an upload only makes it
    longer. A killed process loses what it had not uploaded, and that nobody had been told was written. An upload that
    fails is made again, with what came meanwhile, unless the store refuses it for good (`LASTING`): then all who wait
    are told at once.

    Args:
        store: Where the objects are.
        every_s: Least time between two uploads (s).
        roll_bytes: Length at which the next segment begins.
        listed_s: How old a listing may be (s). One who pays wants it short: what another has paid for and then died
            is asked for again as long as it is not seen.
        patience_s: For how long uploads may fail before that is said to all who wait (s).
        closing_s: For how long `close` waits (s): who ends a process kills it when that takes long.
    """

    far = True

    def __init__(
        self,
        store: Store,
        *,
        every_s: float = EVERY_S,
        roll_bytes: int = ROLL_BYTES,
        listed_s: float = LISTED_S,
        patience_s: float = PATIENCE_S,
        closing_s: float = CLOSING_S,
    ) -> None:
        self._store = store
        self._every_s = every_s
        self._roll_bytes = roll_bytes
        self._listed_s = listed_s
        self._patience_s = patience_s
        self._closing_s = closing_s
        self._changed = threading.Condition()
        self._tails: dict[str, _Tail] = {}  # by the name that was asked for
        self._due: dict[str, _Tail] = {}  # by their own names: what is not uploaded as a whole
        self._future: Future[None] | None = None  # of what the next upload is the first to hold
        self._sending: list[Future[None]] = []  # of what was on its way at least once; the last one stands for all
        self._thread: threading.Thread | None = None
        self._broken: OSError | None = None
        self._listed: tuple[float, dict[str, int]] | None = None
        self._asked_s = 0.0  # spent on the store since then, that included
        self._blocks: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """See `Segments`; what others add is seen by the next listing."""
        lasts_s = max(self._listed_s, min(SHARE * self._asked_s, LONGEST_S))
        if self._listed is None or time.monotonic() - self._listed[0] > lasts_s:
            begun = time.monotonic()
            found = {name: size for name, size in self._store.sizes().items() if name.endswith(".jsonl")}
            self._listed = time.monotonic(), found
            self._asked_s = self._listed[0] - begun
        return {name: size for name, size in self._listed[1].items() if name.startswith(prefix)}

    def lines(self, name: str, start: int, *, torn: bool = False) -> Iterator[bytes]:
        """See `Segments`."""
        rest, size = b"", self.sizes().get(name, 0)
        for begin in range(start, size, ROLL_BYTES):
            begun = time.monotonic()
            part = io.BytesIO(rest + self._store.read(name, begin, min(begin + ROLL_BYTES, size)))
            self._asked_s += time.monotonic() - begun
            rest = b""
            for line in part:
                if line.endswith(b"\n"):
                    yield line
                else:
                    rest = line
        if torn and rest:
            yield rest

    def read(self, name: str, offset: int, length: int) -> bytes:
        """See `Segments`; neighbours are fetched along, since they are mostly wanted next."""
        with self._changed:
            for tail in (*self._tails.values(), *self._due.values()):
                if tail.name == name:
                    return bytes(tail.data[offset : offset + length])
        end = offset + length
        first, last = offset // BLOCK, (end - 1) // BLOCK
        found = b"".join(self._block(name, number, end) for number in range(first, last + 1))
        return found[offset - first * BLOCK : end - first * BLOCK]

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
            if self._broken is not None:  # an upload may have failed before anybody asked
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
        """See `Segments`: waits for what is due, though not for ever; an error is said by the next `append`."""
        last = self.written()
        if last is not None and wait([last], timeout=self._closing_s).not_done:
            logger.warning(
                "the store takes nothing: what was paid for in the last seconds is not written, and may be asked again"
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
                self._tell(None)
            else:
                failing_since = begun if failing_since is None else failing_since
                if error.errno in LASTING or time.monotonic() - failing_since >= self._patience_s:
                    self._tell(error)
                    return
            time.sleep(max(0.0, self._every_s - (time.monotonic() - begun)))

    def _write(self, due: Iterable[tuple[_Tail, bytes]]) -> OSError | None:
        """Upload tails; what fails, or has grown meanwhile, stays due."""
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

    def _tell(self, error: OSError | None) -> None:
        """Say to those who wait that all they added is written, or that it cannot be."""
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
        """A block of a segment, as far as it is needed at least."""
        key = (name, number)
        begin = number * BLOCK
        block = self._blocks.get(key, b"")
        if len(block) < min(end - begin, BLOCK):
            block = self._store.read(name, begin, begin + BLOCK)
        self._blocks[key] = block
        self._blocks.move_to_end(key)
        if len(self._blocks) > BLOCKS:
            self._blocks.popitem(last=False)
        return block
