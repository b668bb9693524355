"""Daily quota: counts the requests of the last 24 hours in a file that outlives the process."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import NamedTuple, Protocol

from lvqa_ray.errors import StopRun


class WholeFile(Protocol):
    """A file that is read and written as a whole, atomically."""

    def read_text(self, encoding: str) -> str:
        """The content.

        Raises:
            FileNotFoundError: It does not exist.
        """
        ...

    def write_text(self, text: str, encoding: str) -> object:
        """Replace the content."""
        ...


DAY_S = 86_400.0
LOOK_S = 0.02
"""Wait before the next attempt while the count is being written (s)."""
_BUCKET_S = 60.0
Counts = Mapping[int, int]
"""Minute since 1970 -> requests recorded for it."""


class _StoredDay(NamedTuple):
    counts: Counts
    minute: int
    more: int  # requests recorded for that minute ahead of use


class DailyQuota:
    """Sliding-window quota: keeps the requests of any 24 hours under a limit, in buckets of a minute.

    A thread reads and writes the count in a file, since the storage may be slow. The count is written ahead of use, in
    steps of 0.5 % of the limit, so after a crash it is too high by 1 % at most and never too low. Two jobs that share a
    key but not an output folder do not see each other's count.

    The journal cannot replace this file: its lines hold the model but neither URL nor key, and lack refused requests,
    which count at the endpoint, and requests in flight.

    Args:
        limit: Maximum number of requests in 24 hours; ``None`` for no limit and no file.
        path: File of the count; ``None`` for in memory only.
        clock: Seconds since 1970.
    """

    def __init__(
        self, limit: int | None, path: Path | WholeFile | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._limit = limit or 0
        self._unlimited = limit is None
        self._path = path
        self._clock = clock
        self._step = max(1, self._limit // 200)
        self._counts: Counts | None = None  # not read yet
        self._minute = 0
        self._spare = 0  # recorded for that minute and not used yet
        self._writing: Future[_StoredDay] | None = None

    def take(self) -> float:
        """Count one request and return 0, or return the seconds until the next try. Never blocks.

        Raises:
            StopRun: The count cannot be stored.
        """
        if self._unlimited:
            return 0.0
        now = self._clock()
        self._apply_finished_write()
        if self._minute != (minute := int(now // _BUCKET_S)):
            self._minute, self._spare = minute, 0
        if self._spare <= self._step // 2 and self._writing is None and not self._wait_s(now):
            self._start_write(now)
            self._apply_finished_write()
        if self._spare:
            self._spare -= 1
            return 0.0
        return LOOK_S if self._writing else self._wait_s(now)

    def give_back(self, age_s: float) -> None:
        """Undo the count of a request that was not sent, counted ``age_s`` seconds ago."""
        if int((self._clock() - age_s) // _BUCKET_S) == self._minute:  # an older one stays counted
            self._spare += 1

    def _wait_s(self, now: float) -> float:
        """Seconds until the quota allows a request; 0 if it does now, or if the count is not read yet."""
        counts = _last_24_hours(self._counts or {}, now)
        if sum(counts.values()) < self._limit:
            return 0.0
        return max(1.0, (min(counts) + 1) * _BUCKET_S + DAY_S - now)

    def _start_write(self, now: float) -> None:
        self._writing = future = Future[_StoredDay]()

        def work() -> None:
            try:
                future.set_result(self._record_ahead(now))
            except Exception as error:
                future.set_exception(error)

        if self._path is None:
            work()
        else:  # a thread and no executor: the interpreter would wait for an executor's threads at exit
            threading.Thread(target=work, daemon=True, name="day").start()

    def _apply_finished_write(self) -> None:
        """Apply a finished write."""
        if self._writing is None or not self._writing.done():
            return
        written = self._writing.result()
        self._writing, self._counts = None, written.counts
        self._spare += written.more if written.minute == self._minute else 0

    def _record_ahead(self, now: float) -> _StoredDay:
        """Read the count if not done yet, and record more requests; see `take`."""
        counts = dict(_last_24_hours(_read(self._path) if self._counts is None else self._counts, now))
        minute, more = int(now // _BUCKET_S), min(self._step, self._limit - sum(counts.values()))
        if more > 0:
            counts[minute] = counts.get(minute, 0) + more
            _write(self._path, counts)
        return _StoredDay(counts, minute, max(0, more))


def _last_24_hours(counts: Counts, now: float) -> Counts:
    first = int((now - DAY_S) // _BUCKET_S)
    return {at: count for at, count in counts.items() if at >= first}


def _read(path: Path | WholeFile | None) -> Counts:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="ascii"))
        return {int(at): int(count) for at, count in found.items() if not math.isnan(count)}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _stop("read", error) from None
    except (ValueError, TypeError, AttributeError):  # some other JSON, or none
        raise StopRun(f"{path} is no count of the day's requests; delete it to begin at 0.") from None


def _write(path: Path | WholeFile | None, counts: Counts) -> None:
    if path is None:
        return
    text = json.dumps(counts)
    try:
        if isinstance(path, Path):
            partial = path.with_suffix(".partial")
            partial.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(text, encoding="ascii")
            partial.replace(path)
        else:
            path.write_text(text, encoding="ascii")
    except OSError as error:
        raise _stop("written", error) from None


def _stop(what: str, error: OSError) -> StopRun:
    why = error.strerror or type(error).__name__
    return StopRun(f"The count of the day's requests cannot be {what} ({why}).")
