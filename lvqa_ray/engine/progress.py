"""Progress of a run, read from its journal, its shards and its rate limiters."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvqa_ray.config import Endpoints, in_order
from lvqa_ray.dataset.shards import read_shard, shards
from lvqa_ray.engine.waiting import STILL_S, Machine, waiting_for
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.costs import total, usage_of
from lvqa_ray.journal.entries import entry_of
from lvqa_ray.journal.found_clips import clips_folder
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.segments import Segments, scan
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.records import Usage
from lvqa_ray.records.tables import TableName
from lvqa_ray.storage.paths import StoragePath

MINUTE_S = 60.0
STORE_EVERY_S = 30.0
"""Seconds between two listings of an object store, each of which is a paid request."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Current throughput of an endpoint.

    Attributes:
        traffic: Its request counters.
        requests: Requests answered or failed in the last minute.
        tokens: Tokens in the last minute.
        requests_limit: Requests per minute that the job allows; ``None`` for no limit.
        tokens_limit: Tokens per minute that the job allows; ``None`` for no limit.
    """

    traffic: EndpointStats
    requests: float
    tokens: float
    requests_limit: int | None = None
    tokens_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a run.

    Attributes:
        seconds: Time since the first pass began (s).
        videos: Videos to process.
        done: Videos with records, or with results if the job asks no questions.
        failed: Videos that failed.
        clips: Clips found so far; 0 if unknown.
        lookups: Videos whose clips these are.
        captioned: Clips with a caption in the table of clips, new or from the journal.
        clips_failed: Clips in that table whose caption failed.
        kept: Questions that became records.
        dropped: Questions that a check dropped.
        paid: Usage of this run by stage, in the order of the pipeline.
        cached: Replies from the journal, in finished videos.
        speeds: Throughput of each endpoint.
        last_failure: The latest failure in one line, or empty.
        still_s: Time without any progress (s).
        waiting: What the run waits for, after `STILL_S` without progress; else empty.
        phase: The same, before and after the passes over the videos, when there are no numbers; else empty.
    """

    seconds: float
    videos: int
    done: int = 0
    failed: int = 0
    clips: int = 0
    lookups: int = 0
    captioned: int = 0
    clips_failed: int = 0
    kept: int = 0
    dropped: int = 0
    paid: dict[str, Usage] = field(default_factory=dict)
    cached: int = 0
    speeds: dict[str, Speed] = field(default_factory=dict)
    last_failure: str = ""
    still_s: float = 0.0
    waiting: str = ""
    phase: str = ""

    @property
    def clips_expected(self) -> int:
        """Clips of all videos, extrapolated from those split so far."""
        return round(self.clips / self.lookups * self.videos) if self.lookups else 0

    @property
    def captions(self) -> int:
        """Captions so far: paid captions appear in the table a little later."""
        return max(self.captioned, self.paid["caption"].calls if "caption" in self.paid else 0)

    @property
    def share(self) -> float:
        """Finished share of the work, 0 to 1, roughly."""
        if not self.videos:
            return 1.0
        by_clips = 0.95 * self.captions / self.clips_expected if self.clips_expected else 0.0
        return min(1.0, max((self.done + self.failed) / self.videos, by_clips))

    @property
    def left_s(self) -> float | None:
        """Estimated seconds to the end; ``None`` while unknown."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0.02 else None

    @property
    def cost_usd(self) -> float | None:
        """Dollars paid so far; ``None`` if no price is known."""
        return total(self.paid.values()).cost_usd

    @property
    def hit_share(self) -> float | None:
        """Share of the prompt tokens paid so far that came from prompt caches; ``None`` if no endpoint reports it."""
        return total(self.paid.values()).hit_share

    @property
    def projected_usd(self) -> float | None:
        """Estimated dollars at the end; ``None`` while unknown."""
        return self.cost_usd / self.share if self.cost_usd is not None and self.share > 0.02 else None


def limits_per_minute(endpoints: Endpoints) -> dict[str, tuple[int | None, int | None]]:
    """Requests and tokens per minute that a job allows each endpoint, by its label."""
    every = (at for role in endpoints.roles for at in endpoints.endpoints_of(role))
    return {at.label: (at.requests_per_minute, at.tokens_per_minute) for at in every}


def _unknown_machine() -> Machine:
    return Machine(0.0, 0.0)


class ProgressReader:
    """Reads the progress of a run repeatedly; each call of `look` reads only what is new.

    Args:
        folder: The output folder.
        run_id: Id of the run.
        videos: Number of videos to process.
        ask: Gives the request counters of each endpoint by its label.
        limits: Requests and tokens per minute of each endpoint by its label.
        machine: Gives the state of the cores and processes.
    """

    def __init__(
        self,
        folder: StoragePath,
        run_id: str,
        videos: int,
        ask: Callable[[], Mapping[str, EndpointStats]],
        limits: Mapping[str, tuple[int | None, int | None]] | None = None,
        *,
        machine: Callable[[], Machine] = _unknown_machine,
    ) -> None:
        self._folder, self._run_id, self._videos, self._ask = folder, run_id, videos, ask
        self._limits = limits or {}
        self._machine = machine
        self._began = time.monotonic()
        journal, found = folder / "cache", clips_folder(folder / "cache")
        self._journal = _JournalTail(open_segments(journal, make=False, listed_s=MINUTE_S), f"-{run_id}_")
        self._found = _JournalTail(open_segments(found, make=False, listed_s=MINUTE_S), f"clips-{run_id}_")
        self._every_s = 0.0 if isinstance(folder, Path) else STORE_EVERY_S
        self._next = 0.0
        self._shards: set[str] = set()
        self._past: dict[str, deque[tuple[float, int, int]]] = {}
        self._paid: dict[str, Usage] = {}
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._clips = self._lookups = self._captioned = self._clips_failed = 0
        self._kept = self._dropped = self._cached = 0
        self._last_failure = ""
        self._state: object = None
        self._moved = self._began

    def ask(self) -> Mapping[str, EndpointStats]:
        """Get the current request counters; an executor may update its metrics at each call."""
        return self._ask()

    def look(self) -> Progress:
        """The progress now."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._every_s
            self._read()
        speeds = {label: self._speed(label, now) for label, now in self.ask().items()}
        still_s = self._still_s(speeds)
        return Progress(
            seconds=time.monotonic() - self._began,
            videos=self._videos,
            done=len(self._done),
            failed=len(self._failed - self._done),
            clips=self._clips,
            lookups=self._lookups,
            captioned=self._captioned,
            clips_failed=self._clips_failed,
            kept=self._kept,
            dropped=self._dropped,
            paid={stage: self._paid[stage] for stage in in_order(self._paid)},
            cached=self._cached,
            speeds=speeds,
            last_failure=self._last_failure,
            still_s=still_s,
            waiting=self._waiting(speeds) if still_s >= STILL_S else "",
        )

    def _still_s(self, speeds: Mapping[str, Speed]) -> float:
        """Seconds since a number last changed; failed attempts do not count."""
        counted = (self._clips, self._lookups, self._captioned, self._clips_failed, self._kept, self._dropped)
        ended = (len(self._done), len(self._failed), sum(paid.calls for paid in self._paid.values()))
        state = (counted, ended, [speed.traffic.answered for speed in speeds.values()])
        if state != self._state:
            self._state, self._moved = state, time.monotonic()
        return time.monotonic() - self._moved

    def _waiting(self, speeds: Mapping[str, Speed]) -> str:
        try:
            return waiting_for({label: speed.traffic for label, speed in speeds.items()}, self._machine())
        except RuntimeError:  # only Ray raises it
            return "Ray, which does not respond"

    def _read(self) -> None:
        for name, line in self._journal.news():
            if entry := entry_of(line):
                stage = name.partition("-")[0]
                self._paid[stage] = self._paid.get(stage, Usage()) + usage_of(entry)
        for _, line in self._found.news():
            self._lookups += 1
            self._clips += len(json.loads(line).get("clips", ())) if line.startswith(b"{") else 0
        try:
            self._read_tables()
        except (ConfigError, OSError):
            return  # compacted meanwhile, or incomplete on a slow disk: the numbers stay

    def _read_tables(self) -> None:
        for shard in self._fresh("data"):
            rows = read_shard(shard, ["video_id", "usage"]).to_pylist()
            self._done |= {row["video_id"] for row in rows}
            self._kept += len(rows)
            self._cached += sum(used["cached"] or 0 for row in rows for used in row["usage"].values() if used)
        for shard in self._fresh("clips"):
            rows = read_shard(shard, ["caption", "error"])
            self._captioned += rows.num_rows - rows["caption"].null_count
            self._clips_failed += rows.num_rows - rows["error"].null_count
        for shard in self._fresh("analysis"):
            rows = read_shard(shard, ["video_id", "alone", "task", "usage"]).to_pylist()
            self._done |= {row["video_id"] for row in rows if row["alone"]}
            self._cached += sum(row["usage"]["cached"] for row in rows if row["task"] != "analysis")
        for shard in self._fresh("drops"):
            self._dropped += read_shard(shard, ["id"]).num_rows
        for shard in self._fresh("failures"):
            for row in read_shard(shard, ["id", "kind", "message"]).to_pylist():
                self._failed.add(row["id"])
                self._last_failure = f"{row['id']}: {row['kind']}: {row['message'] or ''}"

    def _fresh(self, table: TableName) -> Iterator[StoragePath]:
        for shard in shards(self._folder, table):
            if self._run_id in shard.name and not shard.name.startswith("settled") and str(shard) not in self._shards:
                self._shards.add(str(shard))
                yield shard

    def _speed(self, label: str, now: EndpointStats) -> Speed:
        """Throughput of the last minute; the counters of a restarted rate limiter begin at 0."""
        past = self._past.setdefault(label, deque())
        requests = now.answered + sum(now.failed.values())
        if past and requests < past[-1][1]:
            past.clear()
        past.append((time.monotonic(), requests, now.tokens))
        while past[-1][0] - past[0][0] > MINUTE_S:
            past.popleft()
        passed = max(past[-1][0] - past[0][0], 1.0)
        asked, counted = ((past[-1][column] - past[0][column]) * MINUTE_S / passed for column in (1, 2))
        return Speed(now, asked, counted, *self._limits.get(label.partition(" (")[0], (None, None)))


class _JournalTail:
    """Tail of the journal segments of one run."""

    def __init__(self, segments: Segments, mark: str) -> None:
        self._segments = segments
        self._mark = mark
        self._read_to: dict[str, int] = {}

    def news(self) -> Iterator[tuple[str, bytes]]:
        """Yields the name of the segment and the line, for each new line."""
        try:
            names = [name for name in self._segments.sizes() if self._mark in name]
            for name, offset, line in scan(self._segments, names, self._read_to):
                self._read_to[name] = offset + len(line)
                yield name, line
        except OSError:
            return
