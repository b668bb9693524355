"""Rows of the output tables, made from the dataclasses of the pipeline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lvqa_ray.records.analyzed_video import AnalysisRecord
from lvqa_ray.records.question_columns import answer_value, checks_value, open_twin, question_value, training_messages
from lvqa_ray.records.questions import (
    SOLVE,
    WATCH,
    Drop,
    FinishedVideo,
    Record,
    best_trace,
    caption_fault,
    hops,
    score_of,
)
from lvqa_ray.records.rows import CaptionedClip, Clip, Failure, Video, VideoInfo
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.records.tables import USAGE, VIDEO_INFO
from lvqa_ray.records.timecodes import frame_range, timecode
from lvqa_ray.records.uri import redact_url
from lvqa_ray.records.usage import Usage


def data_row(record: Record) -> dict[str, Any]:
    """A row of ``data/``, without the columns of the run, which the sink adds."""
    film, video = record.film, record.film.video
    cited = hops(record.question)
    gaps = [clip.clip.span for clip in film.clips if clip.failure is not None]
    best = best_trace(record.verdicts)
    return {
        "id": record.id,
        "captions": film.captions,
        "num_clips": film.num_clips,
        "reasoning": record.reasoning,
        "parsed_reasoning": question_value(record.question),
        "rewrite_prompt": record.prompt,
        "full_question": record.full_question,
        "reformatted_reasoning": record.reformatted_reasoning,
        "messages": training_messages(record.full_question, record.reformatted_reasoning, record.question.key_text),
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
        "blind_rate": score_of(record.verdicts, "blind"),
        "solve_rate": score_of(record.verdicts, SOLVE),
        "watch_rate": score_of(record.verdicts, WATCH),
        "traces": sum(len(verdict.traces) for verdict in record.verdicts),
        "best_trace": safe_text(best.reasoning) if best else None,
        "caption_fault": caption_fault(record.verdicts),
        "kind": record.question.kind,
        "typed_answer": answer_value(record.question),
        "group_id": record.group_id or record.id,
        "hops": len(cited),
        "reach_s": cited[-1].end_s - cited[0].start_s if cited else 0.0,
        "failed_checks": [verdict.check for verdict in record.verdicts if not verdict.passed],
        **_origin(video),
    }


def clip_row(captioned: CaptionedClip) -> dict[str, Any]:
    """A row of ``clips/``."""
    clip, info, failure = captioned.clip, captioned.clip.info, captioned.failure
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
        "caption": captioned.caption or None,
        "model": captioned.model or None,
        "dropped": clip.dropped or None,
        "lost_sec": clip.lost_s,
        "error": failure.kind if failure else None,
        "error_message": safe_text(failure.message) if failure else None,
        "note": captioned.note or None,
        "media_path": clip.media_path or None,
        "media_start": media.start_s if media else None,
        "media_end": media.end_s if media else None,
        "media_mode": clip.media_mode or None,
        "usage": _usage(captioned.usage),
        **_origin(clip.video),
    }


def failure_row(failure: Failure) -> dict[str, Any]:
    """A row of ``failures/``."""
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


def drop_row(drop: Drop, video: Video) -> dict[str, Any]:
    """A row of ``drops/``."""
    return {
        "id": drop.id,
        "video_id": video.id,
        "category": drop.category or None,
        "requested_category": drop.requested or drop.category or None,
        "check": drop.check,
        "kind": drop.kind,
        "reason": safe_text(drop.reason),
        "parsed_reasoning": question_value(drop.question) if drop.question else None,
        "question_kind": drop.question.kind if drop.question else None,
        "typed_answer": answer_value(drop.question) if drop.question else None,
        "checks": checks_value(drop.verdicts),
        "raw": safe_text(drop.raw) or None,
        "usage": {"reformat": _usage(drop.usage)} if drop.usage.calls else None,
        **_origin(video),
    }


def subtitle_rows(clip: Clip) -> list[dict[str, Any]]:
    """Rows of ``subtitles/``: the whole transcript of a video, which its first clip carries."""
    return [
        {
            "video_id": clip.video.id,
            "index": index,
            "start_ms": subtitle.start_ms,
            "end_ms": subtitle.end_ms,
            "text": subtitle.text,
            "source": subtitle.source,
            "language": subtitle.language or None,
            **_origin(clip.video),
        }
        for index, subtitle in enumerate(clip.heard)
    ]


def analysis_rows(record: AnalysisRecord) -> Iterator[dict[str, Any]]:
    """Rows of ``analysis/``, one for each result of a video."""
    for index, result in enumerate(record.results):
        failure = result.failure
        yield {
            "video_id": record.video.id,
            "index": index,
            "task": result.task,
            "style": result.style or None,
            "text": result.text or None,
            "value": None if result.value is None else json.dumps(result.value, ensure_ascii=False),
            "model": result.model or None,
            "note": result.note or None,
            "error": failure.kind if failure else None,
            "error_message": safe_text(failure.message) if failure else None,
            "retryable": failure is not None and failure.retryable,
            "raw": (safe_text(failure.raw) or None) if failure else None,
            "alone": record.alone,
            "usage": _usage(result.usage),
            **_origin(record.video),
        }


def trace_rows(done: FinishedVideo) -> Iterator[dict[str, Any]]:
    """Rows of ``traces/``: the sampled answers to all questions of a video, the traces of a question in a row."""
    index = 0
    ended: tuple[Record | Drop, ...] = (*done.records, *done.drops)
    for one in ended:
        best = best_trace(one.verdicts)
        for trace in (trace for verdict in one.verdicts for trace in verdict.traces):
            yield {
                "video_id": done.video.id,
                "index": index,
                "question_id": one.id,
                "category": one.category or None,
                "kept": isinstance(one, Record),
                "full_question": safe_text(trace.question),
                "key": one.question.key_text if one.question else None,
                "check": trace.check,
                "attempt": trace.attempt,
                "model": trace.model or None,
                "media": trace.media,
                "frame_times": list(trace.times),
                "option_order": trace.order,
                "thoughts": safe_text(trace.thoughts) or None,
                "reply": safe_text(trace.text) or None,
                "answer": trace.answer,
                "correct": trace.correct,
                "readable": trace.read,
                "letters_unclear": trace.letters_unclear,
                "best": trace is best,
                "error": trace.error or None,
                "usage": _usage(trace.usage),
                **_origin(done.video),
            }
            index += 1


def _origin(video: Video) -> dict[str, str]:
    return {"video": redact_url(video.uri), "fingerprint": video.fingerprint, "input_hash": video.input_hash}


def _usage(usage: Usage) -> dict[str, Any]:
    return {name: getattr(usage, name) for name in USAGE.names}


def _info(info: VideoInfo) -> dict[str, Any]:
    return {"success": True, **{name: getattr(info, name) for name in VIDEO_INFO.names if name != "success"}}
