"""Records in the formats of other tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from lvqa_ray.errors import ConfigError

COLUMNS = (
    "id",
    "captions",
    "num_clips",
    "conversation",
    "reasoning",
    "parsed_reasoning",
    "prompt",
    "full_question",
    "reformatted_reasoning",
)


def dataflow_json(output: Path, to: Path) -> int:
    """The reference's final JSON: an array of its columns in its order, then what came along with the input.

    Args:
        output: Output folder of a run.
        to: File to write; it appears when it is complete.

    Returns:
        Number of records.

    Raises:
        ConfigError: There are no records, or the file cannot be written.
    """
    shards = sorted(str(path) for path in (output / "data").glob("*.parquet"))
    if not shards:
        raise ConfigError(f"{output} holds no records: {output / 'data'} has no shard.")
    if to.is_dir():
        raise ConfigError(f"{to} is a folder; name a file in it.")
    count = 0
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            for record in _records(shards):
                file.write("[\n" if count == 0 else ",\n")
                file.write(json.dumps(_dataflow(record), ensure_ascii=False, indent=4))
                count += 1
            file.write("\n]\n")
        partial.replace(to)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{to} cannot be written: {error.strerror}.") from None
    return count


def _records(shards: list[str]) -> Iterator[dict[str, Any]]:
    for batch in ds.dataset(shards, format="parquet").to_batches(columns=[*COLUMNS, "extra"], batch_size=1000):
        yield from batch.to_pylist()


def _dataflow(record: Mapping[str, Any]) -> dict[str, Any]:
    parsed = record["parsed_reasoning"]
    steps = {step["step"]: {"timestamp": step["timestamp"], "reasons": step["reasons"]} for step in parsed["REASONS"]}
    extra = {key: value for key, value in json.loads(record["extra"]).items() if key not in COLUMNS}
    return {key: record[key] for key in COLUMNS} | {"parsed_reasoning": {**parsed, "REASONS": steps}} | extra


FORMATS: Mapping[str, Callable[[Path, Path], int]] = {"dataflow-json": dataflow_json}
