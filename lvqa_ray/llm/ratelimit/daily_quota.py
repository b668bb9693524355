"""The requests of the last 24 hours, counted so that the count outlives the process."""

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
    """A file that is written as a whole or not at all."""

    def read_text(self, encoding: str) -> str:
        """The content.

        Raises:
            FileNotFoundError: It is not there.
        """
        ...

    def write_text(self, text: str, encoding: str) -> object:
        """Replace the content."""
        ...


DAY_S = 86_400.0
LOOK_S = 0.02
"""How long to wait before asking again, while the count is being written."""
_BUCKET_S = 60.0
Counts = Mapping[int, int]
"""Minute since 1970 -> requests that are written down for it."""


class _StoredDay(NamedTuple):
    counts: Counts
    minute: int
    more: int  # requests that are counted for that minute, and not sent yet


class DailyQuota:
    """Keeps the requests of any 24 hours under a limit, to the minute.

    The count is kept in a file, which a thread reads and writes: a store may take its time. It is written ahead, in
    steps of half a hundredth of the limit and before the last one is used up, so a process that dies leaves a count
    that is too high by a hundredth at most, and never too low. Two jobs with the same key and different outputs do not
    know of each other.

    The journal cannot stand in for this file: its lines name a model, and neither the URL nor the key; refused requests
    count at the endpoint, and are in no line; and a reply is in no line as long as its request is under way.

    Args:
        limit: Most requests in 24 hours; ``None`` for no limit, and then nothing is kept.
        path: Where to keep the count; ``None`` for in memory only.
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
        self._spare = 0  # of what is written down for that minute, not used yet
        self._writing: Future[_StoredDay] | None = None

    def take(self) -> float:
        """Count one request, and give 0; or the seconds after which to ask again. It waits for nothing.

        Raises:
            StopRun: The count cannot be kept.
        """
        if self._unlimited:
            return 0.0
        now = self._clock()
        self._land()
        if self._minute != (minute := int(now // _BUCKET_S)):
            self._minute, self._spare = minute, 0
        if self._spare <= self._step // 2 and self._writing is None and not self._full_s(now):
            self._begin(now)
            self._land()
        if self._spare:
            self._spare -= 1
            return 0.0
        return LOOK_S if self._writing else self._full_s(now)

    def give_back(self, age_s: float) -> None:
        """Take back the count of a request of so many seconds ago that was not sent."""
        if int((self._clock() - age_s) // _BUCKET_S) == self._minute:  # else it leaves the window sooner than another
            self._spare += 1

    def _full_s(self, now: float) -> float:
        """Seconds until there is room; 0 if there is some, or that is not known yet."""
        counts = _latest(self._counts or {}, now)
        if sum(counts.values()) < self._limit:
            return 0.0
        return max(1.0, (min(counts) + 1) * _BUCKET_S + DAY_S - now)

    def _begin(self, now: float) -> None:
        self._writing = future = Future[_StoredDay]()

        def work() -> None:
            try:
                future.set_result(self._written(now))
            except Exception as error:
                future.set_exception(error)

        if self._path is None:
            work()
        else:  # no executor's: those are waited for at the end of the program
            threading.Thread(target=work, daemon=True, name="day").start()

    def _land(self) -> None:
        """Use what has been written down."""
        if self._writing is None or not self._writing.done():
            return
        written = self._writing.result()
        self._writing, self._counts = None, written.counts
        self._spare += written.more if written.minute == self._minute else 0

    def _written(self, now: float) -> _StoredDay:
        """Read the count, if that is not done yet, and write more requests down; see `take`."""
        counts = dict(_latest(_read(self._path) if self._counts is None else self._counts, now))
        minute, more = int(now // _BUCKET_S), min(self._step, self._limit - sum(counts.values()))
        if more > 0:
            counts[minute] = counts.get(minute, 0) + more
            _write(self._path, counts)
        return _StoredDay(counts, minute, max(0, more))


def _latest(counts: Counts, now: float) -> Counts:
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
