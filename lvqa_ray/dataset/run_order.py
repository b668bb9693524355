"""Monotonic run ids: each new id sorts after all ids in the output, whatever the clock says."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa

from lvqa_ray.dataset.run_state import run_ids_of
from lvqa_ray.journal.batch_log import batches_folder
from lvqa_ray.journal.clip_files import files_folder
from lvqa_ray.journal.found_clips import clips_folder
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.storage.paths import StoragePath


def run_id_in(folder: StoragePath, done: pa.Table) -> str:
    """The id of a new run.

    Args:
        folder: The output folder.
        done: Its outcomes, as `outcomes` gives them.

    Raises:
        OSError: The journal cannot be listed.
    """
    of_rows = done["run_id"].cast(pa.string()).unique().to_pylist()
    return next_run_id(chain(of_rows, run_ids_of(folder), segment_names(folder / "cache")))


def segment_names(journal: StoragePath) -> Iterator[str]:
    """The names of all segments of a journal and of its indexes of batches, clips and files; each contains a run id."""
    for part in (journal, batches_folder(journal), clips_folder(journal), files_folder(journal)):
        if part.is_dir():
            yield from open_segments(part, make=False).sizes()
