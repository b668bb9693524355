"""Resume: the videos that still need work, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.outcomes import find, flat, numbers


class RerunReason(StrEnum):
    """Why a video is processed, or is not; if several apply, the first counts."""

    NEW = "new"
    FILE = "file changed"
    INPUT = "manifest entry changed"
    SETTINGS = "settings changed"
    RETRY = "failed before, may succeed now"
    AGAIN = "failed before, retry requested"
    DONE = "already done"
    ASIDE = "not selected for a retry"


class Reason(NamedTuple):
    """A reason; if settings changed, with the hash of the job that made the outcome."""

    why: RerunReason
    job_hash: str = ""


@dataclass(frozen=True, slots=True)
class Todo:
    """Videos to process, in the order of the manifest, with their reasons, and the counts of all reasons."""

    videos: Videos
    reasons: list[Reason]
    counts: Counter[Reason]


def remaining(
    videos: Videos,
    done: pa.Table,
    job_hash: str,
    *,
    retry_failures: bool = False,
    only: Collection[str] | None = None,
) -> Todo:
    """The videos that need work: without an outcome, with one of another job or file, or with a retryable failure.

    A failed analysis task counts like a failure of its video: the rest of the video comes from the cache.

    Args:
        videos: The videos of the manifest.
        done: Their outcomes, as `outcomes` gives them.
        job_hash: Hash of the job to run.
        retry_failures: Treat every failure as retryable.
        only: Select only videos that failed last with one of these kinds; all failed ones, if it is empty.
    """
    found = find(videos.ids, done["id"])
    known = found >= 0
    row = done.take(pa.array(np.where(known, found, 0))) if done.num_rows else done
    why = np.full(len(videos), list(RerunReason).index(RerunReason.NEW), dtype=np.int8)

    def mark(where: np.ndarray[tuple[int], np.dtype[np.bool_]], reason: RerunReason) -> None:
        why[known & where] = list(RerunReason).index(reason)

    if done.num_rows:
        retryable = numbers(row["retryable"])
        # The video, or one of its tasks.
        failed = numbers(row["failed"]) | numbers(pc.is_valid(row["kind"].cast(pa.string())))
        mark(known, RerunReason.DONE)
        if only is None:
            # The reason with the highest precedence is written last.
            mark(failed & retry_failures, RerunReason.AGAIN)
            mark(failed & retryable, RerunReason.RETRY)
            mark(~numbers(pc.equal(row["job_hash"].cast(pa.string()), job_hash)), RerunReason.SETTINGS)
            mark(~numbers(pc.equal(row["input_hash"], videos.input_hashes)), RerunReason.INPUT)
            mark(~numbers(pc.equal(row["fingerprint"], videos.fingerprints)), RerunReason.FILE)
        else:
            wanted = pc.is_in(row["kind"].cast(pa.string()), value_set=pa.array(list(only), pa.string()))
            mark(failed & (numbers(wanted) if only else failed), RerunReason.AGAIN)
    if only is not None:
        why[why != list(RerunReason).index(RerunReason.AGAIN)] = list(RerunReason).index(RerunReason.ASIDE)
    return _todo(videos, why, row)


def _todo(videos: Videos, why: np.ndarray[tuple[int], np.dtype[np.int8]], row: pa.Table) -> Todo:
    plain = [Reason(reason) for reason in RerunReason]
    chosen = ~np.isin(why, [list(RerunReason).index(RerunReason.DONE), list(RerunReason).index(RerunReason.ASIDE)])
    reasons = [plain[code] for code in why[chosen]]
    changed = why[chosen] == list(RerunReason).index(RerunReason.SETTINGS)
    if changed.any():
        made_by = flat(row["job_hash"]).filter(pa.array(chosen)).filter(pa.array(changed))
        of = [Reason(RerunReason.SETTINGS, job_hash) for job_hash in made_by.dictionary.to_pylist()]
        for index, code in zip(np.flatnonzero(changed), numbers(made_by.indices), strict=True):
            reasons[index] = of[code]
    counts = Counter(reasons)
    for reason in (RerunReason.DONE, RerunReason.ASIDE):
        if count := int((why == list(RerunReason).index(reason)).sum()):
            counts[Reason(reason)] = count
    return Todo(videos.where(chosen), reasons, counts)


def without_outcome(videos: Videos, done: pa.Table, run_id: str) -> Videos:
    """The videos without an outcome of a run."""
    of_run = done.filter(pc.equal(done["run_id"].cast(pa.string()), run_id))
    return videos.where(find(videos.ids, of_run["id"]) < 0)


def without_copies(videos: Videos) -> tuple[Videos, Videos]:
    """The videos with distinct content, and the copies of some of them, both in order."""
    rows = pa.table({"content": flat(videos.fingerprints), "at": np.arange(len(videos))})
    named = rows.filter(pc.not_equal(rows["content"], ""))
    first = np.ones(len(videos), dtype=np.bool_)
    first[numbers(named["at"])] = False
    first[numbers(named.group_by("content").aggregate([("at", "min")])["at_min"])] = True
    return (videos, videos.where(~first)) if first.all() else (videos.where(first), videos.where(~first))


def describe_reasons(
    counts: Mapping[Reason, int], settings: Mapping[str, Mapping[str, str]], now: Mapping[str, str]
) -> dict[str, int]:
    """Reasons as text with their counts, most frequent first.

    Args:
        counts: Count of each reason.
        settings: By job hash, the hashes of the sections of the job.
        now: Hashes of the sections of the job to run.
    """
    texts: Counter[str] = Counter()
    for reason, count in counts.items():
        stages = changed(reason, settings, now)
        texts[f"{reason.why}: {', '.join(stages)}" if stages else str(reason.why)] += count
    return dict(texts.most_common())


def changed(reason: Reason, settings: Mapping[str, Mapping[str, str]], now: Mapping[str, str]) -> list[str]:
    """The stages whose settings changed since an outcome was made; none if unknown."""
    before = settings.get(reason.job_hash, {})
    return [stage for stage in {**now, **before} if before and before.get(stage) != now.get(stage)]
