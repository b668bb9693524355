"""Outputs of an earlier release, made from those of this one: their columns and types are written out here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.records.tables import SCHEMAS, TableName

STEPS = pa.list_(
    pa.struct(
        [
            ("step", pa.string()),
            ("timestamp", pa.string()),
            ("start_s", pa.float64()),
            ("end_s", pa.float64()),
            ("reasons", pa.list_(pa.string())),
        ]
    )
)
PARSED = pa.struct(
    [
        ("QUESTION", pa.string()),
        ("OPTIONS", pa.struct([(letter, pa.string()) for letter in "ABCD"])),
        ("ANSWER", pa.string()),
        ("REASONS", STEPS),
    ]
)
CONVERSATION = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))


def rewritten(shard: Path, table: TableName) -> None:
    """Replace a shard by what an earlier release would have written of its rows."""
    schema = _schema(table)
    rows = [_row(row) for row in pq.read_table(shard).to_pylist()]
    same = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
    pq.write_table(same.replace_schema_metadata(None), shard, compression="zstd")


def _schema(table: TableName) -> pa.Schema:
    fields = [field for field in SCHEMAS[table] if field.name not in ("requested_category", "requested_categories")]
    if table == "data":
        fields = [field for field in fields if field.name not in ("messages", "rewrite_prompt")]
        fields[3:3] = [pa.field("conversation", CONVERSATION)]
        fields[6:6] = [pa.field("prompt", pa.string())]
    return pa.schema([pa.field(field.name, PARSED) if field.name == "parsed_reasoning" else field for field in fields])


def _row(row: dict[str, Any]) -> dict[str, Any]:
    prompt = row.get("rewrite_prompt")
    old = row | {"prompt": prompt, "conversation": [{"from": "human", "value": prompt}]}
    for sized in (old, old.get("video_info") or {}):
        if sized.get("width"):
            sized["aspect_ratio"] = sized["height"] / sized["width"]
    for step in (row.get("parsed_reasoning") or {}).get("REASONS") or []:
        step.pop("clip_ids")
    return old
