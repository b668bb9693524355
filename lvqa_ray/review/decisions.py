"""Append-only log of review decisions: the table ``reviews/`` of an output."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.dataset.shards import replace_shard
from lvqa_ray.errors import ConfigError
from lvqa_ray.storage.paths import StoragePath, describe_os_error, readable

Action = Literal["accept", "drop", "edit", "undo"]
ACTIONS: tuple[Action, ...] = get_args(Action)
REVIEWS_FOLDER = "reviews"
REVIEWS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("video_id", pa.string()),
        ("action", pa.string()),
        ("reason", pa.string()),
        ("reviewer", pa.string()),
        ("time_s", pa.float64()),
        # The reviewed texts as JSON, before and after an edit.
        ("before", pa.string()),
        ("after", pa.string()),
        ("category", pa.string()),
        ("kind", pa.string()),
        ("model", pa.string()),
        ("failed_checks", pa.list_(pa.string())),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision of a reviewer about one record.

    Attributes:
        id: Id of the record.
        action: ``accept``, ``drop``, ``edit``; or ``undo``, which cancels the reviewer's last decision about it.
        reason: Why it was dropped.
        reviewer: Name of the reviewer.
        time_s: When (s since 1970).
        before: The texts that were reviewed, see `texts_of`.
        after: The texts after an edit; else empty.
        category: Category of the question.
        kind: Kind of its answer.
        model: The model that wrote it.
        failed_checks: Checks whose fault was marked or repaired.
    """

    id: str
    video_id: str
    action: Action
    reviewer: str
    reason: str = ""
    time_s: float = 0.0
    before: Mapping[str, Any]
    after: Mapping[str, Any] | None = None
    category: str = ""
    kind: str = "choice"
    model: str = ""
    failed_checks: tuple[str, ...] = ()


def texts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The texts of a record that a reviewer judges and may edit."""
    parsed = record["parsed_reasoning"]
    return {
        "question": parsed["QUESTION"],
        "options": {letter: text for letter, text in (parsed["OPTIONS"] or {}).items() if text is not None},
        "answer": parsed["ANSWER"],
        "reasoning": record["reformatted_reasoning"],
    }


class DecisionLog:
    """Writes the decisions of one session; every decision is stored before the next one.

    Args:
        folder: The output.
    """

    def __init__(self, folder: StoragePath) -> None:
        name = f"review-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}.parquet"
        self._folder = folder / REVIEWS_FOLDER
        self._path = self._folder / name
        self._rows: list[dict[str, Any]] = []

    def append(self, decision: Decision) -> None:
        """Store a decision.

        Raises:
            ConfigError: It cannot be written.
        """
        self._rows.append(_row(decision))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            replace_shard(pa.Table.from_pylist(self._rows, schema=REVIEWS_SCHEMA), self._path)
        except OSError as error:
            self._rows.pop()
            raise ConfigError(f"The decision cannot be stored: {describe_os_error(error)}") from None


def decisions(folder: StoragePath) -> list[Decision]:
    """All decisions of an output, in the order in which they were made.

    Raises:
        ConfigError: A file cannot be read.
    """
    made: list[Decision] = []
    paths: list[StoragePath] = sorted((folder / REVIEWS_FOLDER).glob("*.parquet"), key=str)
    for path in paths:
        try:
            rows = pq.read_table(readable(path), columns=REVIEWS_SCHEMA.names).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None
        made += [_decision(row) for row in rows]
    return sorted(made, key=lambda decision: decision.time_s)


def in_force(made: Iterable[Decision]) -> dict[tuple[str, str], Decision]:
    """The last decision of each reviewer about each record, by record and reviewer, without those undone."""
    stacks: dict[tuple[str, str], list[Decision]] = {}
    for decision in made:
        stack = stacks.setdefault((decision.id, decision.reviewer), [])
        if decision.action != "undo":
            stack.append(decision)
        elif stack:
            stack.pop()
    return {key: stack[-1] for key, stack in stacks.items() if stack}


def final(made: Iterable[Decision]) -> dict[str, Decision]:
    """The decision about each record: the latest of its reviewers."""
    latest: dict[str, Decision] = {}
    for decision in sorted(in_force(made).values(), key=lambda decision: decision.time_s):
        latest[decision.id] = decision
    return latest


def _row(decision: Decision) -> dict[str, Any]:
    after = None if decision.after is None else json.dumps(decision.after, ensure_ascii=False)
    written = {"before": json.dumps(decision.before, ensure_ascii=False), "after": after}
    return asdict(decision) | written | {"failed_checks": list(decision.failed_checks)}


def _decision(row: Mapping[str, Any]) -> Decision:
    after = json.loads(row["after"]) if row["after"] else None
    read = {"before": json.loads(row["before"]), "after": after, "failed_checks": tuple(row["failed_checks"] or ())}
    return Decision(**(dict(row) | read))
