"""Parquet shards of an output folder: atomic writes, and reads that migrate shards of earlier releases."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.errors import ConfigError
from lvqa_ray.records.earlier import stored_columns, with_current_columns
from lvqa_ray.records.tables import EMPTY_SHARD, RELEASE, SCHEMAS, TableName, no_rows
from lvqa_ray.storage.paths import StoragePath, complete, partial_of, readable, write_whole

GROUP_ROWS = 10_000
GROUP_BYTES = 64 * 2**20
"""Size of buffered rows at which they are written as one row group."""
PIECE_ROWS = 2**12
SCAN_ROWS = 2**15
SCAN_BYTES = 16 * 2**20
"""A scan decodes `PIECE_ROWS` at once, and yields batches of about `SCAN_ROWS` or `SCAN_BYTES`."""
FOOTERS_AT_ONCE = 16
"""Shards that a scan opens ahead; in a bucket each takes a while."""


def write_shard(folder: StoragePath, table: TableName, name: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write one shard atomically.

    Args:
        folder: The output folder.
        table: Which table.
        name: Name of the shard without suffix; a shard of the same name is replaced.
        rows: Its rows.

    Returns:
        The number of rows written; without rows, no file is made.
    """
    rows = list(rows)
    try:
        written = pa.Table.from_pylist(rows, schema=SCHEMAS[table])
    except UnicodeEncodeError:  # a lone surrogate, in a file name or in a text of the manifest
        written = pa.Table.from_pylist([_encodable(row) for row in rows], schema=SCHEMAS[table])
    if written.num_rows:
        replace_shard(written, folder / table / f"{name}.parquet")
    return int(written.num_rows)


def _encodable(value: object) -> object:
    """The value with a question mark for each lone surrogate."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {key: _encodable(inner) for key, inner in value.items()}
    return [_encodable(inner) for inner in value] if isinstance(value, list) else value


def read_rows(folder: StoragePath, table: TableName, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """All rows of a table, shard by shard, or some columns of them.

    Raises:
        ConfigError: A shard cannot be read.
    """
    for shard in shards(folder, table):
        yield from read_shard(shard, columns).to_pylist()


def shards(folder: StoragePath, table: TableName) -> list[StoragePath]:
    """The shards of a table with rows, by name, without the empty shard of `fill_empty`."""
    return sorted((shard for shard in (folder / table).glob("*.parquet") if shard.name != EMPTY_SHARD), key=str)


def fill_empty(folder: StoragePath) -> None:
    """Write an empty shard with the columns for each table without rows, and delete it from the other tables.

    Readers such as DuckDB and polars fail on a folder without files.

    Raises:
        OSError: The folder cannot be written.
    """
    for table, schema in SCHEMAS.items():
        there = {shard.name: shard for shard in (folder / table).glob("*.parquet")}
        empty = there.pop(EMPTY_SHARD, None)
        if there and empty is not None:
            empty.unlink(missing_ok=True)
        elif not there and (empty is None or not _is_of_this_release(empty, schema)):
            (folder / table).mkdir(parents=True, exist_ok=True)
            write_whole(folder / table / EMPTY_SHARD, no_rows(schema))


def is_current(shard: StoragePath, table: TableName) -> bool:
    """Whether a shard has the columns of this release, in their order.

    Raises:
        ConfigError: It cannot be read.
    """
    with _readable(shard):
        return _has(shard, SCHEMAS[table])


def _is_of_this_release(shard: StoragePath, schema: pa.Schema) -> bool:
    try:
        return _has(shard, schema)
    except (pa.ArrowException, OSError):
        return False


def _has(shard: StoragePath, schema: pa.Schema) -> bool:
    there = pq.read_schema(readable(shard))
    return bool(there.equals(schema)) and RELEASE.items() <= (there.metadata or {}).items()


def read_shard(shard: StoragePath, columns: list[str] | None = None, *, few: Sequence[str] = ()) -> pa.Table:
    """Read a shard, or some columns of it.

    Args:
        shard: The shard; one of an earlier release is migrated, without the columns that cannot be derived.
        columns: Which columns; all, unmigrated, if not given.
        few: Columns to read as dictionaries, since they have few distinct values.

    Raises:
        ConfigError: It cannot be read.
    """
    with _readable(shard):
        file = pq.ParquetFile(readable(shard), read_dictionary=list(few))
        if columns is None:
            return file.read()
        there = file.schema_arrow.names
        return with_current_columns(file.read(columns=stored_columns(columns, there)), columns)


def read_whole(shard: StoragePath, table: TableName) -> pa.Table:
    """Read a shard with all columns of this release; errors as above."""
    return pa.Table.from_batches(list(batches(shard, table, GROUP_ROWS)), schema=SCHEMAS[table])


def batches(shard: StoragePath, table: TableName, rows: int) -> Iterator[pa.RecordBatch]:
    """Like `read_whole`, in batches of a number of rows."""
    with _readable(shard):
        yield from _batches(_file(shard), table, rows, SCHEMAS[table].names)


def scan(folder: StoragePath, table: TableName, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Scan some columns of all rows of a table, with about `SCAN_ROWS` or `SCAN_BYTES` in memory.

    Args:
        folder: The output folder.
        table: Which table.
        columns: Which columns of this release; one field of a struct is written ``column.part``. Columns that a shard
            of an earlier release lacks are null.

    Raises:
        ConfigError: A shard cannot be read.
    """
    left = iter(shards(folder, table))
    held: list[pa.RecordBatch] = []
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        ahead = deque((shard, pool.submit(_file, shard)) for shard in islice(left, FOOTERS_AT_ONCE))
        while ahead:
            shard, opening = ahead.popleft()
            ahead.extend((following, pool.submit(_file, following)) for following in islice(left, 1))
            with _readable(shard):
                for batch in _batches(opening.result(), table, PIECE_ROWS, columns):
                    if held and (not batch.schema.equals(held[0].schema) or _enough(held)):
                        yield from pa.Table.from_batches(held).combine_chunks().to_batches()
                        held = []
                    held.append(batch)
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


def _enough(held: Sequence[pa.RecordBatch]) -> bool:
    rows, size = sum(batch.num_rows for batch in held), sum(batch.nbytes for batch in held)
    return bool(rows >= SCAN_ROWS or size >= SCAN_BYTES)


def _file(shard: StoragePath) -> pq.ParquetFile:
    return pq.ParquetFile(readable(shard), pre_buffer=not isinstance(shard, Path))


def _batches(file: pq.ParquetFile, table: TableName, rows: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    stored = stored_columns(columns, file.schema_arrow.names)
    for batch in file.iter_batches(rows, columns=stored):
        yield from with_current_columns(pa.Table.from_batches([batch]), columns, SCHEMAS[table]).to_batches()


@contextmanager
def _readable(shard: StoragePath) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        if not damaged(error):
            raise ConfigError(f"{shard} could not be read ({why}); run the same command again.") from None
        raise ConfigError(
            f"{shard} is not a readable shard ({why}); move it away, and its videos are processed again."
        ) from None


def damaged(error: Exception) -> bool:
    """Whether a Parquet file is corrupt, as opposed to an I/O error of the disk or store.

    Arrow reports a corrupt footer by `ArrowInvalid`, and a corrupt page by an `OSError` without a number.
    """
    return isinstance(error, pa.ArrowInvalid) or (isinstance(error, OSError) and error.errno is None)


def replace_shard(rows: pa.Table, path: StoragePath) -> None:
    """Write rows under a temporary name, then move them into place."""
    with ShardWriter(lambda: path, rows.schema, rows.num_rows) as out:
        out.write(rows)


class ShardWriter:
    """Context manager that writes rows into shards of a given length, with a bounded buffer.

    Args:
        name: Returns the path of each new shard.
        schema: Schema of the rows.
        rows_per_shard: Length of a shard.
    """

    def __init__(self, name: Callable[[], StoragePath], schema: pa.Schema, rows_per_shard: int) -> None:
        self._name = name
        self._schema = schema
        self._rows_left = self._rows_per_shard = rows_per_shard
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._path: StoragePath = Path()
        self._partial = Path()
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._close()
        elif self._file is not None:
            with suppress(OSError):  # the exception that is propagating matters more
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, rows: pa.Table) -> None:
        """Add rows.

        Raises:
            OSError: Writing failed, for instance because the disk is full.
        """
        while rows.num_rows:
            part, rows = rows.slice(0, self._rows_left), rows.slice(self._rows_left)
            self._held.append(part)
            self._held_bytes += part.nbytes
            self._rows_left -= part.num_rows
            if not self._rows_left:
                self._close()
            elif self._held_bytes > GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._path = self._name()
            self._partial = partial_of(self._path)
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self._partial, self._schema, compression="zstd")
        self._file.write_table(pa.concat_tables(self._held))
        self._held, self._held_bytes = [], 0

    def _close(self) -> None:
        """Complete the current shard, if there is one."""
        if self._held:
            self._flush()
        if self._file is not None:
            self._file.close()
            complete(self._partial, self._path)
            self._file = None
        self._rows_left = self._rows_per_shard
