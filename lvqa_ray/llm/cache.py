"""The journal of paid answers: an answer is written down before it is used, and is never asked for again."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from lvqa_ray.errors import StopRun
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatReply, ChatRequest, Media, Part
from lvqa_ray.llm.retry import Call
from lvqa_ray.records import Usage

_NAME = re.compile(r"[A-Za-z0-9_.]+")


def cache_key(endpoint: Endpoint, request: ChatRequest) -> str:
    """SHA-256, in hex, of all that can change the answer, and of nothing else.

    Pictures count by identity and type, not by their bytes, so an answer is found again without decoding a video.
    """
    asked = {
        "format": 1,
        "base_url": endpoint.base_url,
        "model": endpoint.model,
        "sampling": endpoint.sampling(request),
        "version": request.version,
        "attempt": request.attempt,
        "messages": [
            {"role": message.role, "parts": [_part(part) for part in message.parts]} for message in request.messages
        ],
    }
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def _part(part: Part) -> dict[str, str]:
    if isinstance(part, Media):
        return {"media": part.identity, "mime": part.mime}
    return {"text": part.text}


class Answers(Protocol):
    """Where paid answers are kept."""

    def get(self, key: str, /) -> ChatReply | None:
        """The answer under a key, as it was paid for."""
        ...

    def put(self, key: str, reply: ChatReply, /) -> None:
        """Keep an answer.

        Raises:
            OSError: It could not be written.
        """
        ...


class Journal:
    """Answers in append-only segments ``{stage}-{writer}.jsonl``, one writer each, one line an answer.

    Each line is handed to the operating system in one write before `put` returns, so it outlives a killed process; it
    is not forced to the disk (2 ms a line against 0.07), so a power cut may take the last seconds. A segment that ends
    in the middle of a line is read up to there; a line that cannot be read is skipped and counted. What other writers
    add is found when a key is missed, so a worker that takes over from a dead one has its answers.

    In memory there is a place per key (about 300 bytes), never a text. The folder is a local one.

    Args:
        folder: Where the segments are; made if it does not exist.
        writer: Names this writer among those that write at the same time; letters, digits, ``_`` and ``.``.
        stage: Names the stage, in the same letters.
    """

    def __init__(self, folder: Path, *, writer: str, stage: str) -> None:
        for name in (writer, stage):
            if not _NAME.fullmatch(name):
                raise ValueError(f"a writer or stage is named by letters, digits, '_' and '.', not {name!r}")
        self.corrupt_lines = 0
        self._folder = folder
        self._stage = stage
        self._own = folder / f"{stage}-{writer}.jsonl"
        self._descriptor: int | None = None
        self._places: dict[bytes, tuple[Path, int, int]] = {}  # key -> segment, offset and length in bytes
        self._read_to: dict[str, tuple[Path, int]] = {}  # name of a segment -> the segment, bytes of it that are known
        folder.mkdir(parents=True, exist_ok=True)
        self._refresh()

    def __len__(self) -> int:
        return len(self._places)

    def keys(self) -> set[str]:
        """The keys that are known to have an answer."""
        return {key.hex() for key in self._places}

    def get(self, key: str) -> ChatReply | None:
        """The answer under a key, or ``None``."""
        digest = bytes.fromhex(key)
        if digest not in self._places:
            self._refresh()
        place = self._places.get(digest)
        if place is None:
            return None
        segment, offset, length = place
        try:
            with segment.open("rb") as file:
                file.seek(offset)
                entry = _entry(file.read(length))
        except OSError:
            entry = None  # the segment is gone, and the answer with it
        if entry is None or entry["key"] != key:
            del self._places[digest]
            return None
        return _reply(entry)

    def put(self, key: str, reply: ChatReply) -> None:
        """Write an answer down.

        Raises:
            OSError: It could not be written.
        """
        usage = reply.usage
        entry = {
            "key": key,
            "text": reply.text,
            "model": reply.model,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost_usd": usage.cost_usd,
        }
        line = json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n"
        descriptor = self._open()
        try:
            if os.write(descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self.close()  # the next one opens the segment anew, which closes a torn line
            raise
        offset = os.lseek(descriptor, 0, os.SEEK_CUR) - len(line)
        self._places[bytes.fromhex(key)] = (self._own, offset, len(line))
        segment, known = self._read_to.get(self._own.name, (self._own, 0))
        if known == offset:
            self._read_to[self._own.name] = (segment, offset + len(line))

    def close(self) -> None:
        """Close the writer's segment; a later `put` opens it again."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _open(self) -> int:
        """The descriptor of the writer's own segment, whose last line is whole."""
        if self._descriptor is None:
            self._descriptor = os.open(self._own, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            size = os.fstat(self._descriptor).st_size
            if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
                os.write(self._descriptor, b"\n")  # or the next answer would be a part of the torn line
        return self._descriptor

    def _refresh(self) -> None:
        """Read what was added to the segments of the stage since the last look."""
        prefix = f"{self._stage}-"
        with os.scandir(self._folder) as entries:
            sizes = {
                entry.name: entry.stat().st_size
                for entry in entries
                if entry.name.startswith(prefix) and entry.name.endswith(".jsonl")
            }
        for name in sorted(sizes):
            segment, known = self._read_to.get(name, (self._folder / name, 0))
            if sizes[name] > known:
                self._read_to[name] = (segment, self._index(segment, known))

    def _index(self, segment: Path, start: int) -> int:
        """Note the places of all whole lines from an offset on; gives the offset of the first that is not whole."""
        offset = start
        for line in _lines(segment, start):
            entry = _entry(line)
            if entry is not None:
                self._places[bytes.fromhex(entry["key"])] = (segment, offset, len(line))
            elif line.strip():
                self.corrupt_lines += 1
            offset += len(line)
        return offset


class Cached:
    """Answers from the journal what it holds, and writes down every other answer before giving it on.

    Requests with the same key that are under way at the same time are sent once. A caller that is cancelled leaves its
    request running: it is being paid for, so its answer is kept.

    Args:
        inner: The call to spare.
        answers: Where answers are kept.
        key_of: Names the answer to a request, such as ``functools.partial(cache_key, endpoint)``.
    """

    def __init__(self, inner: Call, answers: Answers, key_of: Callable[[ChatRequest], str]) -> None:
        self._inner = inner
        self._answers = answers
        self._key_of = key_of
        self._under_way: dict[str, asyncio.Task[ChatReply]] = {}
        self._stop = ""

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """The answer, from the journal where it is there.

        Returns:
            The answer; one that was not paid for by this call has ``usage.cached == 1`` and the tokens and the cost of
            the call that paid.

        Raises:
            StopRun: An answer could not be written down; nothing more is asked, as it would be paid for and lost.
            ApiError: What the inner call raises.
        """
        if self._stop:
            raise StopRun(self._stop)
        key = self._key_of(request)
        try:
            reply = self._answers.get(key)
        except OSError as exc:
            raise self._broken("read", exc) from exc
        if reply is not None:
            return _as_cached(reply)
        task = self._under_way.get(key)
        if task is not None:
            return _as_cached(await asyncio.shield(task))
        task = self._under_way[key] = asyncio.create_task(self._ask(key, request))
        task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    async def _ask(self, key: str, request: ChatRequest) -> ChatReply:
        reply = await self._inner(request)
        try:
            self._answers.put(key, reply)
        except OSError as exc:
            raise self._broken("written", exc) from exc
        return reply

    def _broken(self, done: str, exc: OSError) -> StopRun:
        self._stop = f"The journal of paid answers cannot be {done} ({exc.strerror or exc})."
        return StopRun(self._stop)

    def _forget(self, key: str, done: asyncio.Task[ChatReply]) -> None:
        del self._under_way[key]
        if not done.cancelled():
            done.exception()  # seen, even where all callers are gone


def _as_cached(reply: ChatReply) -> ChatReply:
    return replace(reply, usage=replace(reply.usage, calls=1, cached=1))


def _lines(segment: Path, start: int) -> Iterator[bytes]:
    """The whole lines of a segment from an offset on; a last line without its end is left out."""
    with segment.open("rb") as file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n"):
                yield line


def _entry(line: bytes) -> dict[str, Any] | None:
    """A line of a segment, or ``None`` where it is no entry."""
    try:
        entry = json.loads(line)
        _reply(entry)
        return entry if len(bytes.fromhex(entry["key"])) == 32 else None
    except (ValueError, TypeError, KeyError):
        return None


def _reply(entry: dict[str, Any]) -> ChatReply:
    cost = entry["cost_usd"]
    if not isinstance(entry["text"], str) or not entry["text"]:
        raise ValueError("an answer has a text")
    return ChatReply(
        text=entry["text"],
        model=str(entry["model"]),
        usage=Usage(
            calls=1,
            input_tokens=int(entry["input_tokens"]),
            output_tokens=int(entry["output_tokens"]),
            cost_usd=None if cost is None else float(cost),
        ),
    )
