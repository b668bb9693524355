"""Review queue: which records a reviewer sees, by a condition or a stratified random sample."""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.export_files import records
from lvqa_ray.report.row_filter import RowFilter
from lvqa_ray.review.decisions import Action, Decision, decisions, in_force, texts_of

MOST_RECORDS = 2000
"""Records of one session; they stay in memory."""
_COLUMNS = (
    "id",
    "video_id",
    "video",
    "category",
    "kind",
    "parsed_reasoning",
    "reformatted_reasoning",
    "checks",
    "failed_checks",
    "solve_rate",
    "blind_rate",
    "models",
)


@dataclass(frozen=True, slots=True)
class ReviewQueue:
    """Records to review, in random order.

    Attributes:
        rows: The records, with the columns that the page shows.
        clips: Caption and clip file of the clips that they cite, by clip id.
        of: Number of records that fulfil the condition and that this reviewer has not decided about.
    """

    rows: Sequence[Mapping[str, Any]]
    clips: Mapping[str, Mapping[str, Any]]
    of: int


def review_queue(
    output: OutputReader, reviewer: str, *, where: RowFilter | None = None, sample: int = 0, seed: int = 0
) -> ReviewQueue:
    """Choose the records of a session; those that the reviewer has decided about are left out.

    Args:
        output: Output of a run.
        reviewer: Name of the reviewer.
        where: Condition on the records.
        sample: Size of a random sample, stratified by category, kind of answer, and whether a check found a fault;
            0 for all records, up to `MOST_RECORDS`.
        seed: Seed of the sample and of the order; two reviewers with the same seed see the same sample.

    Raises:
        ConfigError: No record is left to review, or a file cannot be read.
    """
    done = {record for record, by in in_force(decisions(output.folder)) if by == reviewer}
    columns = [name for name in _COLUMNS if name in SCHEMAS["data"].names]
    strata: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in records(
        output, ["id", *(name for name in ("category", "kind", "failed_checks") if name in columns)], where
    ):
        strata[row["category"], row.get("kind"), bool(row["failed_checks"])].append(row["id"])
    chosen = set(stratified(strata, min(sample or MOST_RECORDS, MOST_RECORDS), seed))
    left = [ident for idents in strata.values() for ident in idents if ident not in done]
    wanted = chosen - done if sample else set(stratified({(): left}, MOST_RECORDS, seed))
    if not wanted:
        raise ConfigError(f"Nothing is left to review: {reviewer} has decided about all of these records.")
    rows = [row for row in records(output, columns, where) if row["id"] in wanted]
    rows.sort(key=lambda row: random.Random(f"{seed} {row['id']}").random())  # noqa: S311 - an order, no secret
    cited = {clip for row in rows for step in row["parsed_reasoning"]["REASONS"] for clip in step["clip_ids"] or ()}
    videos = {row["video_id"] for row in rows}
    clips = {
        clip["id"]: clip
        for clip in output.rows("clips", ["id", "caption", "media_path"], videos).to_pylist()
        if clip["id"] in cited
    }
    return ReviewQueue(rows, clips, len(left))


def stratified(strata: Mapping[Any, Sequence[str]], size: int, seed: int) -> list[str]:
    """A random sample with each stratum in proportion (largest remainders), and at least one of each if it fits.

    Args:
        strata: Ids by stratum.
        size: Number of ids; all are taken if there are fewer.
        seed: Seed of the random numbers.
    """
    total = sum(map(len, strata.values()))
    if total <= size:
        return [ident for idents in strata.values() for ident in idents]
    keys = sorted(strata, key=repr)
    exact = {key: size * len(strata[key]) / total for key in keys}
    least = 1 if len(keys) <= size else 0
    shares = {key: max(least, int(exact[key])) for key in keys}
    by_remainder = sorted(keys, key=lambda key: exact[key] - int(exact[key]), reverse=True)
    while sum(shares.values()) < size:
        for key in by_remainder:
            if sum(shares.values()) < size and shares[key] < len(strata[key]):
                shares[key] += 1
    while sum(shares.values()) > size:
        largest = max((key for key in keys if shares[key] > least), key=lambda key: shares[key] - exact[key])
        shares[largest] -= 1
    picked: list[str] = []
    for key in keys:
        picked += random.Random(f"{seed} {key!r}").sample(sorted(strata[key]), shares[key])  # noqa: S311 - as above
    return picked


def decision_about(row: Mapping[str, Any], action: Action, reviewer: str, *, reason: str = "") -> Decision:
    """A decision about a row of the queue, with its texts as they are in the table, made now."""
    models = json.loads(row.get("models") or "{}")
    return Decision(
        id=row["id"],
        video_id=row["video_id"],
        action=action,
        reason=reason,
        reviewer=reviewer,
        time_s=time.time(),
        before=texts_of(row),
        category=row["category"] or "",
        kind=row.get("kind") or "choice",
        model=str(models.get("ask") or ""),
        failed_checks=tuple(row["failed_checks"] or ()),
    )
