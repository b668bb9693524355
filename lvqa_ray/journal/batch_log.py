"""Log of file batches, next to the journal: what is sent is logged before it is sent, so that a killed run finds it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lvqa_ray.errors import ConfigError, StopRun
from lvqa_ray.journal.entries import line_of
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.segments import Segments, scan
from lvqa_ray.llm.batches.batch_queue import BatchEntry
from lvqa_ray.llm.batches.result_rows import Result
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.cache import cannot_be
from lvqa_ray.storage.paths import StoragePath

_PRICES = {"price_in", "price_out", "price_cached", "price_cache_write"}
_SETTINGS = {"base_url", "model", "api_key_env", "tier", "batch_hours", "batch_poll_s"} | _PRICES
Place = tuple[str, str, str | None]
BatchTarget = tuple[str, str]
_LINES = json.JSONEncoder(separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class LoggedBatch:
    """A batch in the log.

    Attributes:
        tag: Our unique tag, in its metadata.
        endpoint: Its endpoint, with the settings that are needed to end it.
        entries: Its requests, in the order of its file.
        at: When it was logged, in seconds since 1970.
        file: Id of the uploaded file; empty before.
        id: Its id; empty before it is known.
        status: How it ended; empty while it is open.
        seen: Print of the key (`BatchApi.key_print`) that saw its file before it deleted the file: this key belongs
            to the right account. Empty before.
        ours: Whether this process has logged it; an earlier run may have recorded some of its results.
    """

    tag: str
    endpoint: Endpoint
    entries: tuple[BatchEntry, ...]
    at: float
    file: str = ""
    id: str = ""
    status: str = ""
    seen: str = ""
    ours: bool = False

    @property
    def place(self) -> Place:
        """Its endpoint and the variable of its key."""
        return place_of(self.endpoint)

    @property
    def target(self) -> BatchTarget:
        """Its model, which names the queues whose requests may be in it."""
        return batch_target(self.endpoint)


def place_of(endpoint: Endpoint) -> Place:
    """Base URL, model and the variable of the key: an account sees its own batches only."""
    return *batch_target(endpoint), endpoint.api_key_env


def batch_target(endpoint: Endpoint) -> BatchTarget:
    """Base URL and model: cache keys depend on both and not on the API key, so such endpoints share requests."""
    return endpoint.base_url, endpoint.model


def batches_folder(journal: StoragePath) -> StoragePath:
    """Folder of the log: next to the journal's segments."""
    return journal / "batches"


class BatchLog:
    """Appends to one segment of a run, and reads those of all runs.

    Args:
        journal: Folder of the journal of paid replies.
        run_id: Id of the run.
    """

    def __init__(self, journal: StoragePath, run_id: str) -> None:
        self._segments = open_segments(batches_folder(journal))
        self._replies = open_segments(journal)
        self._run_id = run_id

    def intend(self, tag: str, endpoint: Endpoint, entries: Sequence[BatchEntry]) -> LoggedBatch:
        """Log the requests of a batch before their file is uploaded.

        Raises:
            StopRun: The log cannot be written; this holds for the other methods too.
        """
        batch = LoggedBatch(tag, endpoint, tuple(entries), time.time(), ours=True)
        self._append(
            {
                "tag": tag,
                "at": round(batch.at, 1),
                "endpoint": endpoint.model_dump(mode="json", include=_SETTINGS),
                "requests": [[entry.key, entry.stage, entry.estimate_usd] for entry in entries],
            }
        )
        return batch

    def note(
        self, batch: LoggedBatch, *, file: str = "", id_: str = "", status: str = "", seen: str = ""
    ) -> LoggedBatch:
        """Log the file, the id or the end of a batch, or the key that saw its file."""
        given = {"file": file, "id": id_, "status": status, "seen": seen}
        news = {name: value for name, value in given.items() if value}
        self._append({"tag": batch.tag, "at": round(time.time(), 1), **news})
        return _with(batch, news)

    def open(self) -> list[LoggedBatch]:
        """The batches that have not ended, of all runs, in the order of their beginning.

        Raises:
            OSError: The log cannot be read.
        """
        return [batch for batch in logged(self._segments) if not batch.status]

    def record(self, batch: LoggedBatch, results: Mapping[str, Result]) -> list[str]:
        """Write the paid results of a batch to the journal, each once; returns their keys when they are durable."""
        done = set() if batch.ours else self._recorded(batch)
        stages = {entry.key: entry.stage for entry in batch.entries}
        written: list[str] = []
        try:
            for key, result in results.items():
                if key in done or (isinstance(result, Exception) and result.bill is None):
                    continue
                line = line_of(key, result, batch.endpoint.model, batch=batch.tag)
                self._replies.append(f"{stages[key]}-{self._run_id}_batches.jsonl", line)
                written.append(key)
            if (future := self._replies.written()) is not None:
                future.result()
        except OSError as error:
            raise StopRun(cannot_be("written", error)) from error
        return written

    def close(self) -> None:
        """Close the files."""
        self._segments.close()
        self._replies.close()

    def _recorded(self, batch: LoggedBatch) -> set[str]:
        """Keys of the results of a batch that an earlier run has recorded."""
        mark = f'"batch":"{batch.tag}"'.encode("ascii")
        return {json.loads(line)["key"] for _, _, line in scan(self._replies) if mark in line}

    def _append(self, line: Mapping[str, Any]) -> None:
        try:
            self._segments.append(f"batches-{self._run_id}.jsonl", f"{_LINES.encode(line)}\n".encode("ascii"))
            if (future := self._segments.written()) is not None:
                future.result()
        except OSError as error:
            raise StopRun(cannot_be("written", error)) from error


def logged(segments: Segments) -> list[LoggedBatch]:
    """All batches of a log in the order of their beginning; torn lines are skipped.

    Raises:
        OSError: The log cannot be read.
    """
    found: dict[str, LoggedBatch] = {}
    news: list[tuple[str, Mapping[str, Any]]] = []
    for _, _, line in scan(segments):
        try:
            fields = json.loads(line)
            tag = str(fields["tag"])
            if "requests" not in fields:
                news.append((tag, fields))
                continue
            endpoint = Endpoint.model_validate(fields["endpoint"])
            found[tag] = LoggedBatch(tag, endpoint, _entries(fields["requests"]), float(fields["at"]))
        except (ValueError, TypeError, KeyError, ConfigError):
            continue
    for tag, fields in news:
        if tag in found:
            found[tag] = _with(found[tag], fields)
    return list(found.values())


def _with(batch: LoggedBatch, news: Mapping[str, Any]) -> LoggedBatch:
    return replace(
        batch,
        file=str(news.get("file", batch.file)),
        id=str(news.get("id", batch.id)),
        status=str(news.get("status", batch.status)),
        seen=str(news.get("seen", batch.seen)),  # "True" of earlier releases is the print of no key
    )


def _entries(requests: Iterable[Sequence[Any]]) -> tuple[BatchEntry, ...]:
    return tuple(BatchEntry(str(key), str(stage), float(estimate)) for key, stage, estimate in requests)
