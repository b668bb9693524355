"""The shards of an output folder: each is complete under its name, or not there at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
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
"""Rows that are held in memory before they are written as one row group."""


def write_shard(folder: StoragePath, table: TableName, name: str, lines: Iterable[Mapping[str, Any]]) -> int:
    """Write one shard: complete under its name, or not there at all.

    Args:
        folder: The output folder.
        table: Which table.
        name: Name of the shard without suffix; a shard of the same name is replaced.
        lines: Its lines.

    Returns:
        How many lines were written; no file is made for none.
    """
    lines = list(lines)
    try:
        rows = pa.Table.from_pylist(lines, schema=SCHEMAS[table])
    except UnicodeEncodeError:  # half a character, in a file's name or in a text that came along
        rows = pa.Table.from_pylist([_encodable(line) for line in lines], schema=SCHEMAS[table])
    if rows.num_rows:
        replace_shard(rows, folder / table / f"{name}.parquet")
    return int(rows.num_rows)


def _encodable(value: Any) -> Any:  # noqa: ANN401 - any value of a line
    """The value with a question mark for each part of a text that is no character."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {key: _encodable(inner) for key, inner in value.items()}
    return [_encodable(inner) for inner in value] if isinstance(value, list) else value


def read_rows(folder: StoragePath, table: TableName, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """All lines of a table, shard by shard, or some columns of them.

    Raises:
        ConfigError: A shard cannot be read.
    """
    for shard in shards(folder, table):
        yield from read_shard(shard, columns).to_pylist()


def shards(folder: StoragePath, table: TableName) -> list[StoragePath]:
    """The complete shards of a table that hold rows, by name; see `fill_empty` for the one that holds none."""
    return sorted((shard for shard in (folder / table).glob("*.parquet") if shard.name != EMPTY_SHARD), key=str)


def fill_empty(folder: StoragePath) -> None:
    """Give each table without rows one shard with its columns, and take that shard from the tables that have rows.

    Readers such as DuckDB and polars find no columns in a folder without files, and fail.

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
    """A shard, or some columns of it; those of few different values may be had as dictionaries.

    A shard of an earlier release has the columns of this one, but for those that nothing in it yields.

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
    """A shard with all columns of its table in this release; errors as above."""
    return pa.Table.from_batches(list(batches(shard, table, GROUP_ROWS)), schema=SCHEMAS[table])


def batches(shard: StoragePath, table: TableName, rows: int) -> Iterator[pa.RecordBatch]:
    """The same, so many rows at a time."""
    schema = SCHEMAS[table]
    with _readable(shard):
        file = pq.ParquetFile(readable(shard))
        stored = stored_columns(schema.names, file.schema_arrow.names)
        for batch in file.iter_batches(rows, columns=stored):
            yield from with_current_columns(pa.Table.from_batches([batch]), schema.names, schema).to_batches()


@contextmanager
def _readable(shard: StoragePath) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        why = " ".join(str(error).split())
        if not damaged(error):
            raise ConfigError(f"{shard} could not be read ({why}); run the same command again.") from None
        raise ConfigError(
            f"{shard} is no readable shard ({why}); move it away, and its videos are done again."
        ) from None


def damaged(error: Exception) -> bool:
    """Whether a file is no Parquet, as opposed to a disk or store that does not give it.

    Arrow says of a footer that it is invalid, and of a page within by an `OSError` without a number.
    """
    return isinstance(error, pa.ArrowInvalid) or (isinstance(error, OSError) and error.errno is None)


def replace_shard(rows: pa.Table, path: StoragePath) -> None:
    """Write rows under a temporary name, then move them into place."""
    with ShardWriter(lambda: path, rows.schema, rows.num_rows) as out:
        out.write(rows)


class ShardWriter:
    """Writes rows into shards of a given length, holding few of them in memory; closes as a context manager.

    Args:
        name: Gives the path of each new shard.
        schema: Of the rows.
        rows_per_shard: Length of a shard.
    """

    def __init__(self, name: Callable[[], StoragePath], schema: pa.Schema, rows_per_shard: int) -> None:
        self._name = name
        self._schema = schema
        self._room = self._rows_per_shard = rows_per_shard
        self._held: list[pa.Table] = []
        self._path: StoragePath = Path()
        self._partial = Path()
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._close()
        elif self._file is not None:
            with suppress(OSError):  # the one that is under way says it
                self._file.close()
            self._partial.unlink(missing_ok=True)

    def write(self, rows: pa.Table) -> None:
        """Add rows.

        Raises:
            OSError: The disk is full, or the like.
        """
        while rows.num_rows:
            part, rows = rows.slice(0, self._room), rows.slice(self._room)
            self._held.append(part)
            self._room -= part.num_rows
            if not self._room:
                self._close()
            elif sum(held.nbytes for held in self._held) > GROUP_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._file is None:
            self._path = self._name()
            self._partial = partial_of(self._path)
            self._partial.parent.mkdir(parents=True, exist_ok=True)
            self._file = pq.ParquetWriter(self._partial, self._schema, compression="zstd")
        self._file.write_table(pa.concat_tables(self._held))
        self._held = []

    def _close(self) -> None:
        """Put the shard in its place, if there is one."""
        if self._held:
            self._flush()
        if self._file is not None:
            self._file.close()
            complete(self._partial, self._path)
            self._file = None
        self._room = self._rows_per_shard
