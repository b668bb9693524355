"""Arrow schemas of the output tables.

Schemas are pinned: no column type depends on the data, so all shards of all runs read as one table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.records.question_columns import ANSWER, CHECKS, MESSAGES, PARSED_REASONING

TableName = Literal["data", "clips", "failures", "drops", "subtitles", "analysis", "traces"]

VIDEO_ID: Mapping[TableName, str] = {
    "data": "video_id",
    "clips": "video_id",
    "failures": "id",
    "drops": "video_id",
    "subtitles": "video_id",
    "analysis": "video_id",
    "traces": "video_id",
}
"""Column with the id of the video."""

EMPTY_SHARD = "empty.parquet"
"""File name of the shard of an empty table: it has the columns and no rows."""
USAGE = pa.struct(
    [
        ("calls", pa.int32()),
        ("cached", pa.int32()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
        ("cached_tokens", pa.int64()),
        ("cache_write_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
    ]
)
STAGES_USAGE = pa.struct([(stage, USAGE) for stage in ("caption", "ask", "reformat")])
VIDEO_INFO = pa.struct(
    [
        ("success", pa.bool_()),
        ("num_frames", pa.int64()),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("aspect_ratio", pa.float64()),
        ("resolution", pa.int64()),
        ("fps", pa.float64()),
        ("duration_sec", pa.float64()),
        ("rotation", pa.int32()),
        ("codec", pa.string()),
        ("has_audio", pa.bool_()),
        ("partial", pa.string()),
    ]
)
MADE_WITH = ("models", "prompts", "code")
"""Columns: the model and the prompt version of each stage, as JSON, and the code version."""
PROVENANCE = [(name, pa.string()) for name in ("video", "fingerprint", "input_hash", "job_hash", "run_id", *MADE_WITH)]
"""Columns of every table: the source file, the run and the software that a row comes from."""

RELEASE: Mapping[bytes, bytes] = {b"lvqa columns": b"2"}
"""Format version in the metadata of each file; it changes when a column changes its meaning but not its type."""
_COLUMNS: Mapping[TableName, pa.Schema] = {
    "data": pa.schema(
        [
            ("id", pa.string()),
            ("captions", pa.string()),
            ("num_clips", pa.int32()),
            ("reasoning", pa.string()),
            ("parsed_reasoning", PARSED_REASONING),
            # It contains the key, so its name must not be one that trainers read as training text.
            ("rewrite_prompt", pa.string()),
            ("full_question", pa.string()),
            ("reformatted_reasoning", pa.string()),
            ("messages", MESSAGES),
            ("video_id", pa.string()),
            ("video_info", VIDEO_INFO),
            ("gaps", pa.list_(pa.struct([("start_s", pa.float64()), ("end_s", pa.float64())]))),
            ("usage", STAGES_USAGE),
            ("note", pa.string()),
            ("extra", pa.string()),
            ("category", pa.string()),
            ("requested_category", pa.string()),
            ("checks", CHECKS),
            # Checks whose fault was marked or repaired; empty if every check passed the question unchanged.
            ("failed_checks", pa.list_(pa.string())),
            # Open-ended version of the question, and its answer; null if the question refers to its options.
            ("open_question", pa.string()),
            ("open_answer", pa.string()),
            ("blind_rate", pa.float64()),
            ("solve_rate", pa.float64()),
            ("watch_rate", pa.float64()),
            # Rows in "traces", and the reasoning of the one that `best_trace` selects.
            ("traces", pa.int32()),
            ("best_trace", pa.string()),
            ("caption_fault", pa.bool_()),
            # How the answer is given, and the key; both null in shards of earlier releases, which hold choices only.
            ("kind", pa.string()),
            ("typed_answer", ANSWER),
            # Id of the first question of the video that rests on the same facts.
            ("group_id", pa.string()),
            # Separate moments that the reasoning cites, and the time from the first to the last (s).
            ("hops", pa.int32()),
            ("reach_s", pa.float64()),
            *PROVENANCE,
        ]
    ),
    "clips": pa.schema(
        [
            ("id", pa.string()),
            ("video_id", pa.string()),
            ("index", pa.int32()),
            ("timestamp_start", pa.float64()),
            ("timestamp_end", pa.float64()),
            ("duration_sec", pa.float64()),
            ("start", pa.string()),
            ("end", pa.string()),
            ("frame_start", pa.int64()),
            ("frame_end", pa.int64()),
            ("num_frames", pa.int64()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("aspect_ratio", pa.float64()),
            ("resolution", pa.int64()),
            ("fps", pa.float64()),
            ("caption", pa.string()),
            ("model", pa.string()),
            ("dropped", pa.string()),
            ("lost_sec", pa.float64()),
            ("error", pa.string()),
            ("error_message", pa.string()),
            ("note", pa.string()),
            ("media_path", pa.string()),
            ("media_start", pa.float64()),
            ("media_end", pa.float64()),
            ("media_mode", pa.string()),
            ("usage", USAGE),
            *PROVENANCE,
        ]
    ),
    "failures": pa.schema(
        [
            ("id", pa.string()),
            ("clip_id", pa.string()),
            ("stage", pa.string()),
            ("kind", pa.string()),
            ("attempts", pa.int32()),
            ("message", pa.string()),
            ("retryable", pa.bool_()),
            ("raw", pa.string()),
            # Cost of questions that became no record; likewise in "drops".
            ("usage", STAGES_USAGE),
            # Categories of the requested questions that have no row of their own.
            ("requested_categories", pa.list_(pa.string())),
            *PROVENANCE,
        ]
    ),
    "drops": pa.schema(
        [
            ("id", pa.string()),
            ("video_id", pa.string()),
            ("category", pa.string()),
            ("requested_category", pa.string()),
            ("check", pa.string()),
            ("kind", pa.string()),
            ("reason", pa.string()),
            ("parsed_reasoning", PARSED_REASONING),
            ("checks", CHECKS),
            ("raw", pa.string()),
            ("usage", STAGES_USAGE),
            ("question_kind", pa.string()),
            ("typed_answer", ANSWER),
            *PROVENANCE,
        ]
    ),
    "subtitles": pa.schema(
        [
            ("video_id", pa.string()),
            ("index", pa.int32()),
            ("start_ms", pa.int64()),
            ("end_ms", pa.int64()),
            ("text", pa.string()),
            ("source", pa.string()),
            ("language", pa.string()),
            *PROVENANCE,
        ]
    ),
    "analysis": pa.schema(
        [
            ("video_id", pa.string()),
            ("index", pa.int32()),
            ("task", pa.string()),
            ("style", pa.string()),
            ("text", pa.string()),
            # Parsed from the text, as JSON; null for prose.
            ("value", pa.string()),
            ("model", pa.string()),
            ("note", pa.string()),
            ("error", pa.string()),
            ("error_message", pa.string()),
            ("retryable", pa.bool_()),
            ("raw", pa.string()),
            # Whether no questions were requested: then this row is the outcome of the video.
            ("alone", pa.bool_()),
            ("usage", USAGE),
            *PROVENANCE,
        ]
    ),
    "traces": pa.schema(
        [
            ("video_id", pa.string()),
            ("index", pa.int32()),
            ("question_id", pa.string()),
            ("category", pa.string()),
            # Whether the question became a record.
            ("kept", pa.bool_()),
            ("full_question", pa.string()),
            ("key", pa.string()),
            ("check", pa.string()),
            ("attempt", pa.int32()),
            ("model", pa.string()),
            ("media", pa.string()),
            ("frame_times", pa.list_(pa.float64())),
            ("option_order", pa.string()),
            ("thoughts", pa.string()),
            ("reply", pa.string()),
            ("answer", pa.string()),
            ("correct", pa.bool_()),
            ("readable", pa.bool_()),
            ("letters_unclear", pa.bool_()),
            ("best", pa.bool_()),
            ("error", pa.string()),
            ("usage", USAGE),
            *PROVENANCE,
        ]
    ),
}


SCHEMAS: Mapping[TableName, pa.Schema] = {name: schema.with_metadata(RELEASE) for name, schema in _COLUMNS.items()}


def no_rows(schema: pa.Schema) -> bytes:
    """A Parquet file with these columns, without rows and row groups.

    `datasets` takes the length of the first row group as its batch size, and fails if that is 0.
    """
    written = pa.BufferOutputStream()
    pq.ParquetWriter(written, schema).close()
    return bytes(written.getvalue().to_pybytes())
