"""Schema migration: shards of earlier releases, read with the columns of this one.

Earlier releases named the rewriting prompt ``prompt`` and repeated it as ``conversation``, wrote neither ``messages``
nor the clips of a step, and stored ``aspect_ratio`` as height / width. A column that cannot be derived is null. They
stored texts unchanged, so control characters are removed here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.records.question_columns import MESSAGES, training_messages
from lvqa_ray.records.safe_text import SUSPECT, safe_text

RENAMED = {"rewrite_prompt": "prompt", "requested_category": "category"}
"""Column of this release -> the older column that replaces it in a shard without it."""
MESSAGES_FROM = ("full_question", "reformatted_reasoning", "parsed_reasoning")
RATIO_FROM = ("width", "height")
PLACES = frozenset({"id", "video_id", "clip_id", "video", "media_path", "run_id", "fingerprint", "input_hash", "extra"})
"""Identifiers, and columns from the manifest: read unchanged, whatever characters they hold."""


def stored_columns(wanted: Sequence[str], there: Sequence[str]) -> list[str]:
    """Columns to read from a shard in order to get some columns of this release.

    Args:
        wanted: Columns of this release; one field of a struct is written ``column.part``.
        there: All columns of the shard.
    """
    names: dict[str, None] = {}
    for name in wanted:
        column = name.partition(".")[0]
        if column in there:
            names[name] = None
        elif RENAMED.get(column) in there:
            names[RENAMED[column]] = None
        elif column == "messages":
            names |= dict.fromkeys(MESSAGES_FROM)
        if column == "aspect_ratio":
            names |= dict.fromkeys(RATIO_FROM)
    return [name for name in names if name.partition(".")[0] in there]


def with_current_columns(rows: pa.Table, wanted: Sequence[str], schema: pa.Schema | None = None) -> pa.Table:
    """Rows of a shard with columns of this release.

    Args:
        rows: At least the columns that `stored_columns` names.
        wanted: Columns of this release, or ``column.part`` as above.
        schema: Their types. With it, a missing column is null and texts are made safe to show; without it, a missing
            column is left out and texts stay unchanged.
    """
    names = list(dict.fromkeys(name.partition(".")[0] for name in wanted))
    whole = {name for name in wanted if "." not in name}
    columns: dict[str, Any] = {}
    for name in names:
        column = _column(rows, name)
        if column is None and schema is not None:
            column = pa.nulls(rows.num_rows, schema.field(name).type)
        elif column is not None and schema is not None and name in whole:
            column = pa.chunked_array([conformed(chunk, schema.field(name).type) for chunk in column.chunks])
            column = column if column.num_chunks else pa.chunked_array([], schema.field(name).type)
            column = column if name in PLACES else _safe(column)
        if column is not None:
            columns[name] = column
    return pa.table(columns)


def fits(stored: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether a stored type can be read as a type of this release, which may have more struct fields."""
    if stored.equals(wanted):
        return True
    if pa.types.is_struct(stored) and pa.types.is_struct(wanted):
        named = {field.name: field.type for field in wanted}
        return all(field.name in named and fits(field.type, named[field.name]) for field in stored)
    return pa.types.is_list(stored) and pa.types.is_list(wanted) and fits(stored.value_type, wanted.value_type)


def conformed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Cast an array to a type of this release; missing struct fields are null."""
    if array.type.equals(wanted):
        return array
    if pa.types.is_dictionary(array.type):
        return conformed(array.dictionary_decode(), wanted)
    if pa.types.is_struct(wanted) and pa.types.is_struct(array.type):
        there = {field.name for field in array.type}
        parts = [
            conformed(pc.struct_field(array, field.name), field.type)
            if field.name in there
            else pa.nulls(len(array), field.type)
            for field in wanted
        ]
        return pa.StructArray.from_arrays(parts, fields=list(wanted), mask=pc.is_null(array))
    if pa.types.is_list(wanted) and pa.types.is_list(array.type):
        lengths = pc.fill_null(pc.list_value_length(array), 0)
        ends = pc.cumulative_sum(pc.cast(lengths, pa.int32()))
        offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
        values = conformed(pc.list_flatten(array), wanted.value_type)
        return pa.ListArray.from_arrays(offsets, values, type=wanted, mask=pc.is_null(array))
    return array.cast(wanted)


def _safe(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column with `safe_text` applied to all its texts."""
    if not any(map(_is_suspect, column.chunks)):
        return column
    return pa.chunked_array([pa.array(map(_safe_value, chunk.to_pylist()), column.type) for chunk in column.chunks])


def _is_suspect(array: pa.Array) -> bool:
    if pa.types.is_struct(array.type):
        return any(_is_suspect(part) for part in array.flatten())
    if pa.types.is_list(array.type):
        return _is_suspect(array.flatten())
    return pa.types.is_string(array.type) and bool(pc.any(pc.match_substring_regex(array, SUSPECT)).as_py())


def _safe_value(value: object) -> object:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, Mapping):
        return {key: _safe_value(inner) for key, inner in value.items()}
    return [_safe_value(inner) for inner in value] if isinstance(value, list) else value


def _column(rows: pa.Table, name: str) -> pa.ChunkedArray | None:
    there = rows.column_names
    if name == "aspect_ratio" and {*RATIO_FROM, name} <= {*there}:
        return _ratio(rows["width"], rows["height"])
    if name == "video_info" and name in there:
        return pa.chunked_array([_with_ratio(chunk) for chunk in rows[name].chunks], rows.schema.field(name).type)
    if name in there:
        return rows[name]
    if RENAMED.get(name) in there:
        return rows[RENAMED[name]]
    if name == "messages" and {*MESSAGES_FROM} <= {*there}:
        answers = pc.struct_field(rows["parsed_reasoning"], "ANSWER").to_pylist()
        texts = (rows[column].to_pylist() for column in MESSAGES_FROM[:2])
        return pa.chunked_array([pa.array(list(map(_messages, *texts, answers)), MESSAGES)])
    return None


def _messages(question: str | None, prose: str | None, answer: str | None) -> list[dict[str, str]] | None:
    return training_messages(question, prose, answer) if question and prose and answer else None


def _ratio(width: pa.Array, height: pa.Array) -> pa.Array:
    return pc.divide(pc.cast(width, pa.float64()), pc.cast(height, pa.float64()))


def _with_ratio(info: pa.StructArray) -> pa.StructArray:
    named = {field.name: pc.struct_field(info, field.name) for field in info.type}
    if {*RATIO_FROM, "aspect_ratio"} <= {*named}:
        named["aspect_ratio"] = _ratio(named["width"], named["height"])
    return pa.StructArray.from_arrays(list(named.values()), fields=list(info.type), mask=pc.is_null(info))
