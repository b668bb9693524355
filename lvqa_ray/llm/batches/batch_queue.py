"""Queue of requests for file batches: collects them in files on disk, and knows the state of each request."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from lvqa_ray.errors import ApiError, NoCapacity, StopRun
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.error_policy import policy_of

MEGABYTE = 10**6


class RequestState(StrEnum):
    """State of a request in a queue; a request that failed for good has its error instead."""

    NEW = "it may be offered"
    ADDED = "it was put into a file now"
    WAITS = "it is in a file or in a batch"
    ANSWERED = "its answer is in the journal"
    STANDARD = "it has waited long enough, and goes out on the standard tier"
    FULL = "the files have no room for it now"


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A request of a batch.

    Attributes:
        key: Its cache key, which is its custom id.
        stage: Its stage.
        estimate_usd: Its reserved budget.
    """

    key: str
    stage: str
    estimate_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadyFile:
    """A file of requests that is complete, with its requests in the order of its lines."""

    path: Path
    entries: tuple[BatchEntry, ...]


@dataclass(slots=True)
class _OpenFile:
    path: Path
    at: float
    entries: list[BatchEntry] = field(default_factory=list)
    size: int = 0


class QueueClient(Protocol):
    """Interface to a queue: in this process, or in an actor that serves many."""

    async def state(self, key: str) -> RequestState | ApiError:
        """See `BatchQueue.state`."""
        ...

    async def offer(self, entry: BatchEntry, line: bytes) -> RequestState | ApiError:
        """See `BatchQueue.offer`."""
        ...

    async def forget(self, key: str, changes: frozenset[str]) -> bool:
        """See `BatchQueue.forget`."""
        ...

    async def changes(self) -> frozenset[str]:
        """See `BatchQueue.changes`."""
        ...

    async def take(self, *, flush: bool) -> ReadyFile | None:
        """See `BatchQueue.take`."""
        ...

    async def settle(self, results: Mapping[str, ApiError | None]) -> None:
        """See `BatchQueue.settle`."""
        ...

    async def adopt(self, keys: Iterable[str]) -> None:
        """See `BatchQueue.adopt`."""
        ...

    async def is_known(self) -> bool:
        """See `BatchQueue.is_known`."""
        ...

    async def deferred(self) -> int:
        """See `BatchQueue.deferred`."""
        ...

    async def halt(self, reason: str) -> None:
        """See `BatchQueue.halt`."""
        ...


class BatchQueue:
    """Collects the requests of one endpoint; limits on count, size and waiting time make a file ready.

    The bodies are on disk only, in ``folder``; memory holds about 300 bytes for each request.

    Args:
        endpoint: The endpoint, with its limits for batches.
        folder: Folder of the files, for this queue alone; created if missing.
        most_bytes: Maximum size of all files that wait to be uploaded; then requests are refused, which stops decoding.
        clock: Monotonic time (s).
        known: Whether it knows the open batches from the start; otherwise every request waits until `adopt`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        folder: Path,
        most_bytes: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        known: bool = True,
    ) -> None:
        self._endpoint = endpoint
        self._folder = folder
        self._most_bytes = most_bytes
        self._clock = clock
        self._open: _OpenFile | None = None
        self._ready: deque[_OpenFile] = deque()
        self._taken: dict[Path, int] = {}  # files of the runner, with their size
        self._waits: set[str] = set()
        self._answered: set[str] = set()
        self._failed: dict[str, ApiError] = {}
        self._failures: Counter[tuple[str, type[ApiError]]] = Counter()
        self._changes: frozenset[str] = frozenset()
        self._made: dict[str, set[str]] = {}  # changes by the keys of refused requests
        self._first_at: dict[str, float] = {}
        self._deferred = 0
        self._files = 0
        self._name = f"requests-{uuid.uuid4().hex[:8]}"  # a queue that is restarted must not append to older files
        self._known = known
        self._halted = ""
        folder.mkdir(parents=True, exist_ok=True)

    def state(self, key: str) -> RequestState | ApiError:
        """State of a request: the error if no attempt is left, or if the queue has halted."""
        if self._halted:
            return StopRun(self._halted)
        if key in self._waits or not self._known:
            self._deferred += 1
            return RequestState.WAITS
        if key in self._failed:
            return self._failed[key]
        if key in self._answered:
            return RequestState.ANSWERED
        minutes, first = self._endpoint.fallback_after_min, self._first_at.get(key)
        if minutes is not None and first is not None and self._clock() - first >= 60 * minutes:
            return RequestState.STANDARD
        return RequestState.NEW

    def offer(self, entry: BatchEntry, line: bytes) -> RequestState | ApiError:
        """Add a request to a file, unless it waits or has ended already.

        Args:
            entry: The request.
            line: Its line in the file, with its line end.

        Raises:
            OSError: The disk is full.
        """
        state = self.state(entry.key)
        if state is not RequestState.NEW:
            return state
        if self._bytes + len(line) > max(self._most_bytes, len(line)):
            return RequestState.FULL
        now = self._clock()
        if self._open is not None and self._open.size + len(line) > MEGABYTE * self._endpoint.batch_mb:
            self._close()
        if self._open is None:
            self._files += 1
            self._open = _OpenFile(self._folder / f"{self._name}-{self._files}.jsonl", now)
        with self._open.path.open("ab") as file:
            file.write(line)
        self._open.entries.append(entry)
        self._open.size += len(line)
        self._waits.add(entry.key)
        self._first_at.setdefault(entry.key, now)
        self._deferred += 1
        if len(self._open.entries) >= self._endpoint.batch_requests:
            self._close()
        return RequestState.ADDED

    def forget(self, key: str, changes: frozenset[str]) -> bool:
        """Forget the error of a request, so that it may be offered in another form, once for each change.

        Args:
            key: Its cache key.
            changes: Changes of the form that the error asks for (`BatchApi.form`).

        Returns:
            Whether it may be offered again.
        """
        made = self._made.setdefault(key, set())
        if changes <= made:
            return False
        made |= changes
        self._changes |= changes
        self._failed.pop(key, None)
        return True

    def changes(self) -> frozenset[str]:
        """The changes of the form that errors of requests have asked for; each client of the endpoint makes them."""
        return self._changes

    def take(self, *, flush: bool) -> ReadyFile | None:
        """The next file to upload, if one is complete; its requests go on waiting. It is the caller's to delete.

        Args:
            flush: Take the last file too, though it could hold more.
        """
        self._taken = {path: size for path, size in self._taken.items() if path.exists()}
        if self._open is not None and (flush or self._clock() - self._open.at >= self._endpoint.batch_wait_s):
            self._close()
        if not self._ready:
            return None
        file = self._ready.popleft()
        self._taken[file.path] = file.size
        return ReadyFile(file.path, tuple(file.entries))

    def settle(self, results: Mapping[str, ApiError | None]) -> None:
        """Note the ends of requests: ``None`` for an answer in the journal.

        A request that failed may be offered again as often as the policy of its error allows; a lack of capacity does
        not count.
        """
        for key, error in results.items():
            self._waits.discard(key)
            if error is None:
                self._answered.add(key)
                continue
            if isinstance(error, NoCapacity):
                continue
            self._failures[key, type(error)] += 1
            most = policy_of(error).attempts or self._endpoint.max_attempts
            if self._failures[key, type(error)] >= min(most, self._endpoint.max_attempts):
                error.attempts = self._failures[key, type(error)]
                self._failed[key] = error

    def adopt(self, keys: Iterable[str]) -> None:
        """Note requests that are in a batch already."""
        self._waits.update(keys)
        self._known = True

    def is_known(self) -> bool:
        """Whether `adopt` has named the requests of open batches; not after a restart of the queue's process."""
        return self._known

    def deferred(self) -> int:
        """How often a request had to wait since the last call."""
        count, self._deferred = self._deferred, 0
        return count

    def halt(self, reason: str) -> None:
        """Stop for good: no answer will come."""
        self._halted = self._halted or reason

    @property
    def _bytes(self) -> int:
        files = [*self._ready, *([self._open] if self._open else [])]
        return sum(file.size for file in files) + sum(self._taken.values())

    def _close(self) -> None:
        if self._open is not None:
            self._ready.append(self._open)
            self._open = None


class LocalQueue:
    """Client of a queue in this process, which several threads may use."""

    def __init__(self, queue: BatchQueue) -> None:
        self._queue = queue
        self._lock = threading.Lock()

    async def state(self, key: str) -> RequestState | ApiError:
        """See `BatchQueue.state`."""
        with self._lock:
            return self._queue.state(key)

    async def offer(self, entry: BatchEntry, line: bytes) -> RequestState | ApiError:
        """See `BatchQueue.offer`."""
        with self._lock:
            return self._queue.offer(entry, line)

    async def forget(self, key: str, changes: frozenset[str]) -> bool:
        """See `BatchQueue.forget`."""
        with self._lock:
            return self._queue.forget(key, changes)

    async def changes(self) -> frozenset[str]:
        """See `BatchQueue.changes`."""
        with self._lock:
            return self._queue.changes()

    async def take(self, *, flush: bool) -> ReadyFile | None:
        """See `BatchQueue.take`."""
        with self._lock:
            return self._queue.take(flush=flush)

    async def settle(self, results: Mapping[str, ApiError | None]) -> None:
        """See `BatchQueue.settle`."""
        with self._lock:
            self._queue.settle(results)

    async def adopt(self, keys: Iterable[str]) -> None:
        """See `BatchQueue.adopt`."""
        with self._lock:
            self._queue.adopt(keys)

    async def is_known(self) -> bool:
        """See `BatchQueue.is_known`."""
        with self._lock:
            return self._queue.is_known()

    async def deferred(self) -> int:
        """See `BatchQueue.deferred`."""
        with self._lock:
            return self._queue.deferred()

    async def halt(self, reason: str) -> None:
        """See `BatchQueue.halt`."""
        with self._lock:
            self._queue.halt(reason)
