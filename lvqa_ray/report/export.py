"""Records in the formats of other tools."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

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


def dataflow_json(records: Iterable[Mapping[str, Any]], to: Path) -> int:
    """The reference's final JSON: an array of its columns in its order, then what came along with the input.

    Args:
        records: Rows of data/ with `COLUMNS` and ``extra``.
        to: File to write; it appears when it is complete.

    Returns:
        Number of records.

    Raises:
        ConfigError: The file cannot be written.
    """
    if to.is_dir():
        raise ConfigError(f"{to} is a folder; name a file in it.")
    count = 0
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            for record in records:
                file.write("[\n" if count == 0 else ",\n")
                file.write(json.dumps(_dataflow(record), ensure_ascii=False, indent=4))
                count += 1
            file.write("\n]\n")
        partial.replace(to)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(f"{to} cannot be written: {error.strerror}.") from None
    return count


def _dataflow(record: Mapping[str, Any]) -> dict[str, Any]:
    parsed = record["parsed_reasoning"]
    steps = {step["step"]: {"timestamp": step["timestamp"], "reasons": step["reasons"]} for step in parsed["REASONS"]}
    extra = {key: value for key, value in json.loads(record["extra"]).items() if key not in COLUMNS}
    return {key: record[key] for key in COLUMNS} | {"parsed_reasoning": {**parsed, "REASONS": steps}} | extra


FORMATS: Mapping[str, Callable[[Iterable[Mapping[str, Any]], Path], int]] = {"dataflow-json": dataflow_json}
