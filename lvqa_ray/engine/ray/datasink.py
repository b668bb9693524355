"""Ray Data sink: writes rows into the Parquet shards of the tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TYPE_CHECKING

from ray.data import Datasink
from ray.data.block import Block
from ray.data.datasource import WriteResult

from lvqa_ray.engine.ray.metrics import count_rows
from lvqa_ray.engine.row_codec import rows_of
from lvqa_ray.engine.table_writer import write_tables
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:
    from ray.data._internal.execution.interfaces import TaskContext

BUNDLES_PER_WRITE = 16


class TableSink(Datasink[str]):
    """Writes records, clips, failures and dropped questions into shards, one per table and task.

    The name of a shard holds run, pass and task, so a repeated task overwrites its earlier shards.

    Args:
        folder: The output folder.
        provenance: Columns that are the same in all rows of the run, see `provenance_of`.
        shard: Prefix of the names of the shards of this pass.

    Attributes:
        broken: Why rows could not be written, set at the end of the pass; empty if all were.
    """

    def __init__(self, folder: StoragePath, provenance: Mapping[str, str], shard: str) -> None:
        self._folder = folder
        self._provenance = dict(provenance)
        self._shard = shard
        self.broken = ""

    @property
    def min_rows_per_write(self) -> int:
        """Bundles, mostly one per video, to collect before a write."""
        return BUNDLES_PER_WRITE

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> str:
        """Write the rows of one task; returns the reason if it cannot, else an empty string.

        It does not raise: Ray would silently drop the rows, and their videos would count as lost with a worker.
        """
        rows = chain.from_iterable(map(rows_of, blocks))
        written = write_tables(self._folder, self._provenance, f"{self._shard}-{ctx.task_idx:06d}", rows)
        for table, outcomes in written.counts.items():
            count_rows(table, outcomes)
        return written.broken

    def on_write_complete(self, write_result: WriteResult[str]) -> None:
        """Record the first write error; shards appear only when complete."""
        self.broken = next((reason for reason in write_result.write_returns if reason), "")
