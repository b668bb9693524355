"""The Arrow schemas of the output, and how a row becomes a line of a table.

Schemas are pinned: no column's type ever depends on the data, so all shards of all runs read as one table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.records.analyzed_video import AnalysisRecord
from lvqa_ray.records.question_columns import (
    CHECKS,
    MESSAGES,
    PARSED_REASONING,
    checks_value,
    open_twin,
    question_value,
    training_messages,
)
from lvqa_ray.records.questions import Drop, Record
from lvqa_ray.records.rows import CaptionedClip, Clip, Failure, Usage, Video, VideoInfo
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.records.timecodes import frame_range, timecode
from lvqa_ray.records.uri import redact_url

TableName = Literal["data", "clips", "failures", "drops", "subtitles", "analysis"]

VIDEO_ID: Mapping[TableName, str] = {
    "data": "video_id",
    "clips": "video_id",
    "failures": "id",
    "drops": "video_id",
    "subtitles": "video_id",
    "analysis": "video_id",
}
"""The column that names the video."""

EMPTY_SHARD = "empty.parquet"
"""Name of the file with the columns of a table that has no rows."""
USAGE = pa.struct(
    [
        ("calls", pa.int32()),
        ("cached", pa.int32()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("cost_usd", pa.float64()),
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
# What every table needs to tell which run and which file a row comes from.
MADE_WITH = ("models", "prompts", "code")
"""Columns that name what a row was made with: the model and the prompt version of each stage, as JSON, and the code."""
PROVENANCE = [(name, pa.string()) for name in ("video", "fingerprint", "input_hash", "job_hash", "run_id", *MADE_WITH)]

RELEASE: Mapping[bytes, bytes] = {b"lvqa columns": b"2"}
"""Stands in each file: a change of what a column means, and not of its type, shows nowhere else."""
_COLUMNS: Mapping[TableName, pa.Schema] = {
    "data": pa.schema(
        [
            ("id", pa.string()),
            ("captions", pa.string()),
            ("num_clips", pa.int32()),
            ("reasoning", pa.string()),
            ("parsed_reasoning", PARSED_REASONING),
            # With the key, so under no name that a trainer takes for training text.
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
            # The faults that were found and let pass or mended: empty for a question that every check took as it was.
            ("failed_checks", pa.list_(pa.string())),
            # The same question without options, and its answer; null where the stem speaks of options.
            ("open_question", pa.string()),
            ("open_answer", pa.string()),
            ("blind_rate", pa.float64()),
            ("solve_rate", pa.float64()),
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
            # What was paid for questions of which there is no record; in "drops" too.
            ("usage", STAGES_USAGE),
            # Of the questions that were requested, where none has a row of its own.
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
            # What was read from the text, as JSON; null for prose.
            ("value", pa.string()),
            ("model", pa.string()),
            ("note", pa.string()),
            ("error", pa.string()),
            ("error_message", pa.string()),
            ("retryable", pa.bool_()),
            ("raw", pa.string()),
            # Whether the video was asked no questions: then this row is its outcome.
            ("alone", pa.bool_()),
            ("usage", USAGE),
            *PROVENANCE,
        ]
    ),
}


SCHEMAS: Mapping[TableName, pa.Schema] = {name: schema.with_metadata(RELEASE) for name, schema in _COLUMNS.items()}


def no_rows(schema: pa.Schema) -> bytes:
    """A Parquet file with these columns and no rows.

    It has no row group either: `datasets` takes the length of the first one for its batches, and fails on an empty one.
    """
    written = pa.BufferOutputStream()
    pq.ParquetWriter(written, schema).close()
    return bytes(written.getvalue().to_pybytes())


def data_line(record: Record) -> dict[str, Any]:
    """A line of ``data/``; the job's hash and the run are the sink's to add."""
    film, video = record.film, record.film.video
    gaps = [clip.clip.span for clip in film.clips if clip.failure is not None]
    return {
        "id": record.id,
        "captions": film.captions,
        "num_clips": film.num_clips,
        "reasoning": record.reasoning,
        "parsed_reasoning": question_value(record.question),
        "rewrite_prompt": record.prompt,
        "full_question": record.full_question,
        "reformatted_reasoning": record.reformatted_reasoning,
        "messages": training_messages(record.full_question, record.reformatted_reasoning, record.question.answer),
        "video_id": video.id,
        "video_info": _info(film.info),
        "gaps": [{"start_s": span.start_s, "end_s": span.end_s} for span in gaps],
        "usage": {stage: _usage(usage) for stage, usage in record.usage.items()},
        "note": record.note or None,
        "extra": video.extra,
        "category": record.category or None,
        "requested_category": record.requested or record.category or None,
        "checks": checks_value(record.verdicts),
        **open_twin(record.question),
        "blind_rate": _score(record, "blind"),
        "solve_rate": _score(record, "solve"),
        "failed_checks": [verdict.check for verdict in record.verdicts if not verdict.passed],
        **_origin(video),
    }


def _score(record: Record, check: str) -> float | None:
    return next((verdict.score for verdict in record.verdicts if verdict.check == check), None)


def clip_line(row: CaptionedClip) -> dict[str, Any]:
    """A line of ``clips/``."""
    clip, info, failure = row.clip, row.clip.info, row.failure
    first, end = frame_range(clip.span, info.fps)
    media = clip.media_span if clip.media_path else None
    return {
        "id": clip.id,
        "video_id": clip.video.id,
        "index": clip.index,
        "timestamp_start": clip.span.start_s,
        "timestamp_end": clip.span.end_s,
        "duration_sec": clip.span.duration_s,
        "start": timecode(clip.span.start_s),
        "end": timecode(clip.span.end_s),
        "frame_start": first,
        "frame_end": end,
        "num_frames": end - first,
        "height": info.height,
        "width": info.width,
        "aspect_ratio": info.aspect_ratio,
        "resolution": info.resolution,
        "fps": info.fps,
        "caption": row.caption or None,
        "model": row.model or None,
        "dropped": clip.dropped or None,
        "lost_sec": clip.lost_s,
        "error": failure.kind if failure else None,
        "error_message": safe_text(failure.message) if failure else None,
        "note": row.note or None,
        "media_path": clip.media_path or None,
        "media_start": media.start_s if media else None,
        "media_end": media.end_s if media else None,
        "media_mode": clip.media_mode or None,
        "usage": _usage(row.usage),
        **_origin(clip.video),
    }


def failure_line(failure: Failure) -> dict[str, Any]:
    """A line of ``failures/``."""
    return {
        "id": failure.video.id,
        "clip_id": failure.clip_id or None,
        "stage": failure.stage,
        "kind": failure.kind,
        "attempts": failure.attempts,
        "message": safe_text(failure.message),
        "retryable": failure.retryable,
        "raw": safe_text(failure.raw) or None,
        "usage": {"ask": _usage(failure.usage)} if failure.usage.calls else None,
        "requested_categories": list(failure.requested),
        **_origin(failure.video),
    }


def drop_line(drop: Drop, video: Video) -> dict[str, Any]:
    """A line of ``drops/``."""
    return {
        "id": drop.id,
        "video_id": video.id,
        "category": drop.category or None,
        "requested_category": drop.requested or drop.category or None,
        "check": drop.check,
        "kind": drop.kind,
        "reason": safe_text(drop.reason),
        "parsed_reasoning": question_value(drop.question) if drop.question else None,
        "checks": checks_value(drop.verdicts),
        "raw": safe_text(drop.raw) or None,
        "usage": {"reformat": _usage(drop.usage)} if drop.usage.calls else None,
        **_origin(video),
    }


def subtitle_lines(clip: Clip) -> list[dict[str, Any]]:
    """The lines of ``subtitles/`` for all that is said in a video; they come with its first clip."""
    return [
        {
            "video_id": clip.video.id,
            "index": index,
            "start_ms": line.start_ms,
            "end_ms": line.end_ms,
            "text": line.text,
            "source": line.source,
            "language": line.language or None,
            **_origin(clip.video),
        }
        for index, line in enumerate(clip.heard)
    ]


def analysis_lines(row: AnalysisRecord) -> Iterator[dict[str, Any]]:
    """The lines of ``analysis/`` of a video, one a result."""
    for index, made in enumerate(row.results):
        failure = made.failure
        yield {
            "video_id": row.video.id,
            "index": index,
            "task": made.task,
            "style": made.style or None,
            "text": made.text or None,
            "value": None if made.value is None else json.dumps(made.value, ensure_ascii=False),
            "model": made.model or None,
            "note": made.note or None,
            "error": failure.kind if failure else None,
            "error_message": safe_text(failure.message) if failure else None,
            "retryable": failure is not None and failure.retryable,
            "raw": (safe_text(failure.raw) or None) if failure else None,
            "alone": row.alone,
            "usage": _usage(made.usage),
            **_origin(row.video),
        }


def _origin(video: Video) -> dict[str, str]:
    return {"video": redact_url(video.uri), "fingerprint": video.fingerprint, "input_hash": video.input_hash}


def _usage(usage: Usage) -> dict[str, Any]:
    return {name: getattr(usage, name) for name in USAGE.names}


def _info(info: VideoInfo) -> dict[str, Any]:
    return {"success": True, **{name: getattr(info, name) for name in VIDEO_INFO.names if name != "success"}}
