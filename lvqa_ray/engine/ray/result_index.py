"""Index of cached results in Ray's object store, shared by all tasks of a node."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import Any

import ray

from lvqa_ray.journal import clip_files
from lvqa_ray.journal.found_clips import clips_folder, index_of
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.storage.paths import ObjectPath, StoragePath

MOST_IN_DRIVER = 2**20
"""Size of a journal (bytes) up to which reading it in the driver is faster than starting a worker."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResultIndex:
    """Positions in the journal: of the replies by stage, of the clips of videos, and of clip files in a store."""

    answers: Mapping[str, KeyIndex]
    clips: KeyIndex
    files: KeyIndex


def look_up(
    journal: StoragePath, stages: Iterable[str], files: StoragePath | None = None
) -> ray.ObjectRef[ResultIndex]:
    """Read the current `ResultIndex`; a task reads a large journal, so that it never fills the driver's memory.

    Args:
        journal: Folder of the journal of paid replies.
        stages: The stages whose replies to index.
        files: Folder of the clip files, if there are any.
    """
    wanted = sorted(set(stages))
    if isinstance(journal, Path) and _bytes_in(journal) <= MOST_IN_DRIVER:
        return ray.put(_read(journal, wanted, files))
    as_task: Any = ray.remote  # typed for functions without options only
    reference: ray.ObjectRef[ResultIndex] = as_task(num_cpus=0)(_read).remote(journal, wanted, files)
    return reference


def _bytes_in(journal: Path) -> float:
    """Total size of the segments (bytes); infinite if it is unknown."""
    try:
        return sum(path.stat().st_size for path in journal.rglob("*.jsonl"))
    except OSError:
        return inf


def _read(journal: StoragePath, stages: Sequence[str], files: StoragePath | None) -> ResultIndex:
    nothing = KeyIndex.of({})
    try:
        segments = open_segments(journal)
        answers = {stage: JournalReplyStore(segments, writer="reader", stage=stage).index() for stage in stages}
        kept = clip_files.index_of(journal, files) if isinstance(files, ObjectPath) else nothing
        return ResultIndex(answers, index_of(clips_folder(journal)), kept)
    except OSError as error:  # the worker that writes there reports it and halts the run
        logger.warning("%s cannot be read (%s)", journal, error)
        return ResultIndex(dict.fromkeys(stages, nothing), nothing, nothing)


@lru_cache(maxsize=1)
def known(reference: ray.ObjectRef[ResultIndex]) -> ResultIndex:
    """The index behind a reference, read from shared memory."""
    found: ResultIndex = ray.get(reference)
    return found
