"""The journal of paid answers: an answer is written down before it is used, and is never asked for again."""

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
from lvqa_ray.journal.entries import entry_of, line_of
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.journal.segments import Segments, by_time, segments_of
from lvqa_ray.llm.error_policy import policy_of
from lvqa_ray.llm.messages import ChatReply

_NAME = re.compile(r"[A-Za-z0-9_.]+")


class JournalReplyStore:
    """Answers in append-only segments ``{stage}-{writer}.jsonl``, one writer each, one line an answer.

    On a disk, each line is written before `put` returns; `kept` waits for it on a store. A segment that ends in the
    middle of a line is read up to there; a line that cannot be read is skipped and counted. What other writers add is
    found when a key is missed, so a worker that takes over from a dead one has its answers.

    A reply that was paid for and cannot be used is a line too, so that the sum of the lines is the bill. Where asking
    again would only repeat it (see `policy`), it answers like any other; an answer to the same request goes before it.

    In memory there is a place per key (about 300 bytes), never a text.

    Args:
        place: The folder of the segments, made if it does not exist; or another store of segments.
        writer: Names this writer among those that write at the same time; letters, digits, ``_`` and ``.``.
        stage: Names the stage, in the same letters.
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
        self._places: dict[bytes, tuple[str, int, int]] = {}  # key -> segment, offset and length in bytes
        self._failures: set[bytes] = set()  # the keys of those that hold a failure
        self._read_to: dict[str, int] = {}  # segment -> bytes of it that are known
        self._noting = threading.Lock()
        self._reader = ThreadPoolExecutor(1, "journal-reader") if self._segments.far else None
        self._refresh()

    def __len__(self) -> int:
        return len(self._places)

    def keys(self) -> set[str]:
        """The keys that are known to have an answer."""
        return {key.hex() for key in self._places}

    def index(self) -> KeyIndex:
        """Where the answers stand that are known now."""
        return KeyIndex.of(self._places)

    def get(self, key: str) -> ChatReply | ApiError | None:
        """The answer under a key, the failure that stands for it, or ``None``.

        Raises:
            OSError: It could not be read now: it is there, and must not be paid for again.
        """
        digest = bytes.fromhex(key)
        if digest not in self._places:
            self._refresh()
        place = self._places.get(digest)
        if place is None:
            return None
        try:
            entry = entry_of(self._segments.read(*place))
        except FileNotFoundError:
            entry = None  # the segment is gone, and the answer with it
        if entry is None or entry.key != key:
            with self._noting:
                if self._places.get(digest) == place:
                    del self._places[digest]
            return None
        return entry.reply

    async def find(self, key: str) -> ChatReply | ApiError | None:
        """What `get` gives, errors too; segments that are far are looked at by a thread, and the event loop goes on."""
        if self._reader is None:
            return self.get(key)
        loop, digest = asyncio.get_running_loop(), bytes.fromhex(key)
        found = await loop.run_in_executor(self._reader, self.get, key)
        while found is None and digest in self._places:  # it was put meanwhile
            found = await loop.run_in_executor(self._reader, self.get, key)
        return found

    def put(self, key: str, reply: ChatReply | ApiError, model: str = "", /) -> None:
        """Write down an answer, or a reply that was paid for and cannot be used.

        Args:
            key: Names the answer.
            reply: What came.
            model: Who was asked, for a reply that cannot be used.

        Raises:
            OSError: It could not be written.
        """
        line = line_of(key, reply, model)
        try:
            name, offset = self._segments.append(self._own, line)
        except OSError as error:
            self.broken = error
            raise
        stands = reply if isinstance(reply, ChatReply) or policy_of(reply).kept else None
        self._note(key, stands, name, offset, len(line))
        if self._read_to.get(name, 0) == offset:
            self._read_to[name] = offset + len(line)

    async def kept(self) -> None:
        """Wait until all that was put outlives this process.

        Raises:
            OSError: It could not be written.
        """
        written = self._segments.written()
        if written is None:
            return
        try:
            await asyncio.shield(asyncio.wrap_future(written))  # others wait for it too
        except OSError as error:
            self.broken = error
            raise

    def close(self) -> None:
        """Close the writer's segment; a later `put` opens it again."""
        self._segments.close()

    def _refresh(self) -> None:
        """Read what was added to the segments of the stage since the last look."""
        sizes = self._segments.sizes(self._prefix)
        for name in sorted(sizes, key=by_time):
            known = self._read_to.get(name, 0)
            if sizes[name] > known:
                self._read_to[name] = self._index(sys.intern(name), known)

    def _index(self, name: str, start: int) -> int:
        """Note the places of all whole lines from an offset on; gives the offset of the first that is not whole."""
        offset = start
        for line in self._segments.lines(name, start):
            entry = entry_of(line)
            if entry is not None:
                self._note(entry.key, entry.reply, name, offset, len(line))
            elif line.strip():
                self.corrupt_lines += 1
            offset += len(line)
        return offset

    def _note(self, key: str, reply: ChatReply | ApiError | None, name: str, offset: int, length: int) -> None:
        """Note where a line is; ``None`` for a reply that answers nothing later."""
        digest = bytes.fromhex(key)
        with self._noting:
            if isinstance(reply, ChatReply):
                self._failures.discard(digest)
            elif reply is None or (digest in self._places and digest not in self._failures):
                return
            else:
                self._failures.add(digest)
            self._places[digest] = (name, offset, length)


class ReadOnlyReplyStore:
    """The answers of a journal through an index that was made of it: reads, and never writes.

    Args:
        segments: Where the journal lies.
        index: Where its answers stand.
    """

    def __init__(self, segments: Segments, index: KeyIndex) -> None:
        self.broken: OSError | None = None
        self._segments = segments
        self._index = index

    async def find(self, key: str, /) -> ChatReply | ApiError | None:
        """The answer under a key, the failure that stands for it, or ``None``; also where it cannot be read."""
        place = self._index.place(key)
        try:
            entry = None if place is None else entry_of(self._segments.read(*place))
        except OSError:
            return None
        return entry.reply if entry is not None and entry.key == key else None

    def put(self, *_: object) -> None:
        """Not what this is for.

        Raises:
            OSError: Always.
        """
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    async def kept(self) -> None:
        """Nothing was put."""
