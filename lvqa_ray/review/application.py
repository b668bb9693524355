"""Effect of review decisions on the tables: dropped questions move to ``drops/``, edits replace texts.

Applying the same decisions again changes nothing, so an interrupted call is completed by the next one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.dataset.deduplication import OF_A_DROP, mark_traces_dropped
from lvqa_ray.dataset.shards import read_shard, read_whole, replace_shard, shards, write_shard
from lvqa_ray.records.question_columns import training_messages
from lvqa_ray.records.tables import PROVENANCE, SCHEMAS
from lvqa_ray.review.decisions import Decision, decisions, final, texts_of
from lvqa_ray.stages.reformat import NOTHING_LEFT
from lvqa_ray.storage.paths import StoragePath

CHECK = "review"
"""Name of the check in ``checks`` and ``drops/``."""
_MEASURED = ("blind_rate", "solve_rate", "watch_rate", "best_trace")
"""Columns that hold for the question as it was."""
_ACTIONS = {"accept": None, "edit": "repaired", "drop": "dropped"}


@dataclass(frozen=True, slots=True)
class Applied:
    """What changed.

    Attributes:
        accepted: Number of records that got the verdict of a reviewer and are unchanged.
        edited: Number of records with new texts.
        dropped: Number of records that moved to ``drops/``.
        stale: Number of decisions about records whose texts have changed since.
    """

    accepted: int = 0
    edited: int = 0
    dropped: int = 0
    stale: int = 0


def apply_decisions(folder: StoragePath, name: str) -> Applied:
    """Apply all decisions of an output to its tables.

    Rows of dropped questions are written before their records are removed, so nothing is lost if this is interrupted.

    Args:
        folder: The output; the caller holds its run lock.
        name: Part of the names of new shards.

    Raises:
        ConfigError: A file cannot be read.
        OSError: A file cannot be written.
    """
    made = final(decisions(folder))
    if not made:
        return Applied()
    counts: Counter[str] = Counter()
    _write_drops(folder, made, name)
    mark_traces_dropped(folder, [ident for ident, decision in made.items() if _is_another_question(decision)])
    for shard in shards(folder, "data"):
        rows = read_whole(shard, "data")
        touched = pc.is_in(rows["id"], value_set=pa.array(list(made), pa.string()))
        if not pc.any(touched).as_py():
            continue
        changed, kept = False, []
        for row, reviewed in zip(rows.to_pylist(), touched.to_pylist(), strict=True):
            new = _reviewed(row, made[row["id"]], counts) if reviewed else row
            changed |= new is not row
            if new is not None:
                kept.append(new)
        if not changed:
            continue
        if kept:
            replace_shard(pa.Table.from_pylist(kept, schema=SCHEMAS["data"]), shard)
        else:
            shard.unlink()
    return Applied(counts["accept"], counts["edit"], counts["drop"], counts["stale"])


def _reviewed(row: dict[str, Any], decision: Decision, counts: Counter[str]) -> dict[str, Any] | None:
    """The row after a decision, the same object if nothing changes; ``None`` if it is dropped."""
    texts = texts_of(row)
    if texts == decision.after and _has_verdict(row):
        return row  # applied already
    if texts != decision.before:
        counts["stale"] += 1
        return row
    if decision.action == "drop":
        counts["drop"] += 1
        return None
    if decision.action == "accept" and _has_verdict(row):
        return row
    counts[decision.action] += 1
    return row | (_edited(row, decision) if decision.after else {}) | _verdict(row, decision)


def _is_another_question(decision: Decision) -> bool:
    """Whether no answer that was sampled before is one to the record after the decision."""
    after = decision.after
    changed = after is not None and any(
        after[name] != decision.before[name] for name in ("question", "options", "answer")
    )
    return decision.action == "drop" or changed


def _edited(row: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    after = decision.after or decision.before
    options = after["options"]
    parsed = dict(row["parsed_reasoning"]) | {"QUESTION": after["question"], "ANSWER": after["answer"]}
    parsed["OPTIONS"] = dict(parsed["OPTIONS"] or {}) | dict(options) if options else parsed["OPTIONS"]
    asked = row["full_question"]
    if not options:  # the form of the answer follows the question
        asked = asked.replace(decision.before["question"], after["question"], 1)
    elif _is_another_question(decision):
        asked = "\n".join([after["question"], *(f"{letter}. {text}" for letter, text in options.items())])
    new = {"parsed_reasoning": parsed, "full_question": asked, "reformatted_reasoning": after["reasoning"]}
    new["messages"] = training_messages(asked, after["reasoning"], after["answer"])
    if row.get("open_question") is not None:
        new |= {"open_question": after["question"], "open_answer": options.get(after["answer"], row["open_answer"])}
    if row.get("typed_answer") and options:
        new["typed_answer"] = dict(row["typed_answer"]) | {"letter": after["answer"]}
    if _is_another_question(decision):
        new |= {name: None for name in _MEASURED if name in row}
    return new


def _write_drops(folder: StoragePath, made: Mapping[str, Decision], name: str) -> None:
    dropped = [row for row in _records(folder, made) if _drops(row, made)]
    if not dropped:
        return
    gone = pa.array([row["id"] for row in dropped], pa.string())
    videos = pa.array([row["video_id"] for row in dropped], pa.string())
    left: Counter[str] = Counter()
    for shard in shards(folder, "data"):
        rows = read_shard(shard, ["id", "video_id"])
        of_video = pc.is_in(rows["video_id"], value_set=videos)
        kept = pc.and_(of_video, pc.invert(pc.is_in(rows["id"], value_set=gone)))
        left.update(rows["video_id"].filter(kept).to_pylist())
    drops = [
        {column: row.get(column) for column in OF_A_DROP}
        | {column: row.get(column) for column, _ in PROVENANCE}
        | {"question_kind": row.get("kind")}
        | {"check": CHECK, "kind": CHECK, "reason": made[row["id"]].reason or "a reviewer dropped it"}
        | {"checks": _verdict(row, made[row["id"]])["checks"]}
        for row in dropped
    ]
    failures = {
        drop["video_id"]: {column: drop.get(column) for column, _ in PROVENANCE}
        | {"id": drop["video_id"], "stage": CHECK, "kind": NOTHING_LEFT, "attempts": 1, "retryable": False}
        | {"message": f"no question is left: {drop['reason']}"}
        for drop in drops
        if not left[str(drop["video_id"])]
    }
    there = _dropped_before(folder)  # by a call that was interrupted
    write_shard(folder, "drops", f"{CHECK}-{name}", [drop for drop in drops if drop["id"] not in there])
    write_shard(folder, "failures", f"{CHECK}-{name}", failures.values())


def _dropped_before(folder: StoragePath) -> set[str]:
    found: set[str] = set()
    for shard in shards(folder, "drops"):
        rows = read_shard(shard, ["id", "check"])
        found.update(rows.filter(pc.equal(rows["check"], CHECK))["id"].to_pylist())
    return found


def _records(folder: StoragePath, made: Mapping[str, Decision]) -> Iterator[dict[str, Any]]:
    wanted = pa.array([ident for ident, decision in made.items() if decision.action == "drop"], pa.string())
    for shard in shards(folder, "data"):
        rows = read_whole(shard, "data")
        yield from rows.filter(pc.is_in(rows["id"], value_set=wanted)).to_pylist()


def _drops(row: Mapping[str, Any], made: Mapping[str, Decision]) -> bool:
    return texts_of(row) == made[row["id"]].before


def _has_verdict(row: Mapping[str, Any]) -> bool:
    return any(verdict["check"] == CHECK for verdict in row.get("checks") or [])


def _verdict(row: Mapping[str, Any], decision: Decision) -> dict[str, Any]:
    """The columns ``checks`` and ``failed_checks`` with the reviewer's verdict."""
    passed = decision.action == "accept"
    own = {"check": CHECK, "passed": passed, "action": _ACTIONS[decision.action], "reason": decision.reason or None}
    others = [verdict for verdict in row.get("checks") or [] if verdict["check"] != CHECK]
    failed = [name for name in row.get("failed_checks") or [] if name != CHECK]
    return {
        "checks": [*others, own | {"tries": 0, "calls": 0}],
        "failed_checks": failed if passed else [*failed, CHECK],
    }
