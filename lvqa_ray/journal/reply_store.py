"""Write-ahead store of paid replies: each is written to the journal before it is used, and never requested again."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lvqa_ray.errors import ApiError
from lvqa_ray.journal.entries import JournalEntry, entry_of, line_of
from lvqa_ray.journal.index import GrowingIndex, KeyIndex, Place, head_of
from lvqa_ray.journal.segments import Segments, by_time, scan, segments_of
from lvqa_ray.llm.error_policy import policy_of
from lvqa_ray.llm.messages import ChatReply

_NAME = re.compile(r"[A-Za-z0-9_.]+")


class JournalReplyStore:
    """Cache of replies in append-only segments ``{stage}-{writer}.jsonl``: one writer per segment, one line per reply.

    On a disk, `put` writes the line; on an object store, `kept` waits for its upload. A torn last line is ignored; an
    unreadable line is skipped and counted. A cache miss looks for new lines of other writers, so a worker that replaces
    a dead one has its replies.

    Unusable paid replies have lines too, so the sum of all lines is the bill. If a retry would only repeat the failure
    (see `error_policy`), the line answers like any other, unless there is an answer to the same request.

    Memory holds a position per key (about 40 bytes, see `GrowingIndex`), no texts.

    Args:
        place: Folder of the segments, created if missing; or another store of segments.
        writer: Unique name among concurrent writers; letters, digits, ``_`` and ``.``.
        stage: Name of the stage, in the same letters.
    """

    def __init__(self, place: Path | Segments, *, writer: str, stage: str) -> None:
        for name in (writer, stage):
            if not _NAME.fullmatch(name):
                raise ValueError(f"a writer or stage is named by letters, digits, '_' and '.', not {name!r}")
        self.corrupt_lines = 0
        self.broken: OSError | None = None
        self._segments = segments_of(place)
        self._prefix = f"{stage}-"
        self._own = f"{stage}-{writer}.jsonl"
        self._places = GrowingIndex()
        self._failures: set[bytes] = set()  # keys whose line is a failure
        self._read_to: dict[str, int] = {}  # segment -> bytes already read
        self._lock = threading.Lock()
        self._reader = ThreadPoolExecutor(1, "journal-reader") if self._segments.far else None
        self._refresh()

    def index(self) -> KeyIndex:
        """Index of the lines that are known now, one per key."""
        with self._lock:
            return self._places.index()

    def get(self, key: str) -> ChatReply | ApiError | None:
        """The cached answer or failure of a key, or ``None``.

        Raises:
            OSError: The line exists and cannot be read now, so the request must not be paid for again.
        """
        digest = bytes.fromhex(key)
        if (place := self._places.get(digest)) is None:
            self._refresh()
            place = self._places.get(digest)
        if place is None:
            return None
        try:
            entry = entry_of(self._segments.read(*place))
        except FileNotFoundError:
            entry = None  # the segment was deleted
        if entry is not None and entry.key != key:
            return self._told_apart(digest, entry, place)
        if entry is None:
            with self._lock:
                if self._places.get(digest) == place:
                    self._places.remove(digest)
            return None
        return entry.reply

    def _told_apart(self, digest: bytes, holder: JournalEntry, place: Place) -> ChatReply | ApiError | None:
        """The reply of a key whose head another key has too, which happens once in 370,000 runs of 10 million keys.

        The index may have dropped lines of such keys, so all segments are read once.

        Args:
            digest: The key.
            holder: The line of the other key, which may not be in the listing yet.
            place: Its position.
        """
        places: dict[bytes, Place] = {bytes.fromhex(holder.key): place}
        replies: dict[bytes, ChatReply | ApiError | None] = {bytes.fromhex(holder.key): holder.reply}
        with self._lock:
            mark = f'"{digest[:8].hex()}'.encode("ascii")
            names = [sys.intern(name) for name in sorted(self._segments.sizes(self._prefix), key=by_time)]
            for name, offset, line in scan(self._segments, names):
                entry = entry_of(line) if mark in line else None
                if entry is None or entry.reply is None or head_of(bytes.fromhex(entry.key)) != head_of(digest):
                    continue
                other = bytes.fromhex(entry.key)
                if isinstance(entry.reply, ChatReply) or not isinstance(replies.get(other), ChatReply):
                    places[other], replies[other] = (name, offset, len(line)), entry.reply
            self._places.split(digest, places)
            self._failures -= {other for other, reply in replies.items() if isinstance(reply, ChatReply)}
            self._failures |= {other for other, reply in replies.items() if not isinstance(reply, ChatReply)}
        return replies.get(digest)

    async def find(self, key: str) -> ChatReply | ApiError | None:
        """Like `get`, errors included; slow segments are read in a thread, so the event loop is not blocked."""
        if self._reader is None:
            return self.get(key)
        loop, digest = asyncio.get_running_loop(), bytes.fromhex(key)
        tried: Place | None = None
        while True:
            found = await loop.run_in_executor(self._reader, self.get, key)
            place = self._places.get(digest)
            if found is not None or place in {None, tried}:
                return found
            tried = place  # it was stored meanwhile

    def put(self, key: str, reply: ChatReply | ApiError, model: str = "", /) -> None:
        """Store an answer, or the error of a paid reply that is unusable.

        Args:
            key: Cache key, in hex.
            reply: The reply or error.
            model: The requested model, for errors.

        Raises:
            OSError: The write failed.
        """
        line = line_of(key, reply, model)
        try:
            name, offset = self._segments.append(self._own, line)
        except OSError as error:
            self.broken = error
            raise
        cached = reply if isinstance(reply, ChatReply) or policy_of(reply).kept else None
        self._add(key, cached, name, offset, len(line))
        if self._read_to.get(name, 0) == offset:
            self._read_to[name] = offset + len(line)

    async def kept(self) -> None:
        """Wait until all stored replies are durable.

        Raises:
            OSError: The write failed.
        """
        written = self._segments.written()
        if written is None:
            return
        try:
            await asyncio.shield(asyncio.wrap_future(written))  # other callers wait for it too
        except OSError as error:
            self.broken = error
            raise

    def close(self) -> None:
        """Close the writer's segment; a later `put` opens it again."""
        self._segments.close()

    def _refresh(self) -> None:
        """Read the new lines in the stage's segments."""
        sizes = self._segments.sizes(self._prefix)
        grown = [sys.intern(name) for name in sorted(sizes, key=by_time) if sizes[name] > self._read_to.get(name, 0)]
        for name, offset, line in scan(self._segments, grown, self._read_to):
            entry = entry_of(line)
            if entry is not None:
                self._add(entry.key, entry.reply, name, offset, len(line))
            elif line.strip():
                self.corrupt_lines += 1
            self._read_to[name] = offset + len(line)

    def _add(self, key: str, reply: ChatReply | ApiError | None, name: str, offset: int, length: int) -> None:
        """Record the position of a line; ``None`` for a reply that answers no request."""
        digest = bytes.fromhex(key)
        with self._lock:
            if isinstance(reply, ChatReply):
                self._failures.discard(digest)
            elif reply is None or (digest not in self._failures and self._places.get(digest) is not None):
                return
            else:
                self._failures.add(digest)
            self._places.set(digest, (name, offset, length))


class ReadOnlyReplyStore:
    """Read-only view of a journal through an index that was built earlier.

    Args:
        segments: The journal.
        index: Index of its lines.
    """

    def __init__(self, segments: Segments, index: KeyIndex) -> None:
        self.broken: OSError | None = None
        self._segments = segments
        self._index = index

    async def find(self, key: str, /) -> ChatReply | ApiError | None:
        """The cached answer or failure of a key, or ``None``; also ``None`` if it cannot be read."""
        for place in self._index.places(key):
            try:
                entry = entry_of(self._segments.read(*place))
            except OSError:
                return None
            if entry is not None and entry.key == key:
                return entry.reply
        return None

    def put(self, *_: object) -> None:
        """Not supported.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def kept(self) -> None:
        """Nothing to wait for."""
