"""The shards of an output folder: each is complete under its name, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS, TableName


def write_shard(folder: Path, table: TableName, name: str, lines: Iterable[Mapping[str, Any]]) -> int:
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


def read_rows(folder: Path, table: TableName, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """All lines of a table, shard by shard, or some columns of them.

    Raises:
        ConfigError: A shard cannot be read.
    """
    for shard in shards(folder, table):
        yield from read_shard(shard, columns).to_pylist()


def shards(folder: Path, table: TableName) -> list[Path]:
    """The complete shards of a table, by name."""
    return sorted((folder / table).glob("*.parquet"))


def read_shard(shard: Path, columns: list[str] | None = None) -> pa.Table:
    """A shard, or some columns of it.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return pq.ParquetFile(shard).read(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(
            f"{shard} is no readable shard ({error}); move it away, and its videos are done again."
        ) from None


def replace_shard(rows: pa.Table, path: Path) -> None:
    """Write rows under a temporary name, then move them into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    pq.write_table(rows, partial, compression="zstd")
    partial.replace(path)
