"""Videos as the page shows them: clips, questions, failures and what was said, as plain values for JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.records import Span, Turn, Video, VideoInfo
from lvqa_ray.records.tables import VIDEO_ID, TableName
from lvqa_ray.report import analysis_view
from lvqa_ray.report.replay import Exchange, Told

Film = dict[str, Any]
CAPTIONS = "\0"
"""Stands in a prompt for the merged captions of its video, which the page puts back."""
GRID, STEPS, LEAST_S = 10, 30, 0.2
"""Thumbnails along the whole video, and of the spans that reasoning names; a stretch is no shorter than this."""
Turns = tuple[Turn, ...]
_COLUMNS: Mapping[TableName, str] = {
    "data": "id captions category parsed_reasoning reformatted_reasoning rewrite_prompt checks usage note video_info "
    "extra",
    "drops": "id category check kind reason parsed_reasoning checks raw",
    "failures": "clip_id stage kind attempts message retryable raw",
    "clips": "index timestamp_start timestamp_end caption model dropped lost_sec error error_message note height width "
    "fps media_start media_end",
    "analysis": analysis_view.RESULT,
    "subtitles": analysis_view.SAID,
}


def films(output: OutputReader, videos: Sequence[str], told: Told | None) -> Iterator[Film]:
    """The videos of these ids, in their order.

    Args:
        output: The output.
        videos: Their ids.
        told: Tells what was said; without it, nothing of that is shown.
    """
    tables = {name: _by_video(output, name, columns.split(), set(videos)) for name, columns in _COLUMNS.items()}
    turns = output.conversations(videos) if told else {}
    for video in videos:
        yield _film(video, {name: rows.get(video, []) for name, rows in tables.items()}, output, told, turns)


def stretches(film: Film) -> list[Span]:
    """Where thumbnails of a video are taken: evenly along it, then in the spans that its reasoning names."""
    length = film["seconds"]
    if not length:
        return []
    grid = [Span(start_s=length * n / GRID, end_s=length * (n + 1) / GRID) for n in range(GRID)]
    return [*grid, *(Span(start_s=start, end_s=end) for start, end in spans(film))]


def spans(film: Film) -> list[tuple[float, float]]:
    """The spans that the reasoning of a video names, each once, as far as they get thumbnails."""
    steps = [(step["start"], step["end"]) for question in film["questions"] for step in question["steps"]]
    inside = [(start, end) for start, end in dict.fromkeys(steps) if start >= 0 and end - start >= LEAST_S]
    return inside[:STEPS]


def natural(ident: str) -> list[tuple[int, str]]:
    """Sorts ids as people do: ``q2`` before ``q10``."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", ident)]


def _by_video(
    output: OutputReader, table: TableName, columns: list[str], videos: Collection[str]
) -> dict[str, list[Any]]:
    ident = VIDEO_ID[table]
    more = [ident, "video", "fingerprint", "input_hash", "job_hash"]
    found: dict[str, list[Any]] = {}
    for row in output.rows(table, [*columns, *(name for name in more if name not in columns)], videos).to_pylist():
        found.setdefault(row[ident], []).append(row)
    return found


def _film(
    ident: str, rows: Mapping[TableName, list[Any]], output: OutputReader, told: Told | None, turns: Mapping[str, Turns]
) -> Film:
    records, drops = (sorted(rows[name], key=lambda row: natural(row["id"])) for name in ("data", "drops"))
    clips = sorted(rows["clips"], key=lambda row: row["index"])
    anything = next(iter([*records, *clips, *drops, *rows["failures"], *rows["analysis"]]))
    info = records[0]["video_info"] if records else {}
    end = max((clip["timestamp_end"] for clip in clips), default=0.0)
    film: Film = {
        "id": ident,
        "video": anything["video"],
        "seconds": info.get("duration_sec") or end,
        "info": info,
        "captions": records[0]["captions"] if records else "",
        "clips": [_clip(clip) for clip in clips],
        "questions": [*map(_record, records), *map(_drop, drops)],
        "results": analysis_view.results(rows["analysis"]),
        "subtitles": analysis_view.said(rows["subtitles"]),
        "failure": None,
        "said": [],
        "unsaid": "",
    }
    if rows["failures"] and not records:
        failure = rows["failures"][0]
        film["failure"] = {name: failure[name] for name in _COLUMNS["failures"].split()}
    film["unsaid"], said = _said(anything | {"turns": turns.get(ident, ())}, film, (records, clips), output, told)
    film["said"] = [_exchange(exchange, film["captions"]) for exchange in said]
    for question in film["questions"]:
        question["said"] = [number for number, exchange in enumerate(said) if _is_about(exchange, question)]
    return film


def _said(
    origin: Mapping[str, Any],
    film: Film,
    rows: tuple[Sequence[Any], Sequence[Any]],
    output: OutputReader,
    told: Told | None,
) -> tuple[str, list[Exchange]]:
    """Why prompts cannot be shown, or the exchanges."""
    records, clips = rows
    if not clips:
        return "", []
    if told is None or output.job is None:
        return "The output holds no job file, so the prompts cannot be made again.", []
    if origin["job_hash"] != output.job.job_hash:
        return "This video was done by an earlier job with other settings, so its prompts cannot be made again.", []
    extra = records[0]["extra"] if records else "{}"
    video = Video(
        id=film["id"], uri=origin["video"], fingerprint=origin["fingerprint"], conversation=origin["turns"], extra=extra
    )
    said = told(video, _info(film, clips[0]), clips)
    if said is None:
        return "There was no time to look up its prompts; `lvqa report --seconds 600` does.", []
    return ("" if said else "The journal holds no answers to this video's prompts."), said


def _info(film: Film, clip: Mapping[str, Any]) -> VideoInfo:
    known = {name: film["info"][name] for name in VideoInfo.__dataclass_fields__ if name in film["info"]}
    fps = clip["fps"] or 25.0
    guessed = {"num_frames": round(film["seconds"] * fps), "height": clip["height"], "width": clip["width"], "fps": fps}
    return VideoInfo(**({"duration_sec": film["seconds"]} | guessed | known))


def _clip(row: Mapping[str, Any]) -> list[Any]:
    """Start, end, caption, why there is none, and a note."""
    why = row["error_message"] or row["error"] or (f"left out by filter.{row['dropped']}" if row["dropped"] else "")
    lost = f"{row['lost_sec']:.2f} s do not decode" if row["lost_sec"] else ""
    note = "; ".join(part for part in (row["note"], lost) if part)
    return [round(row["timestamp_start"], 3), round(row["timestamp_end"], 3), row["caption"] or "", why, note]


def _record(row: Mapping[str, Any]) -> Film:
    usage = {stage: used for stage, used in (row["usage"] or {}).items() if used}
    return _question(row) | {
        "fate": "kept",
        "prose": row["reformatted_reasoning"],
        "prompt": row["rewrite_prompt"],
        "usage": usage,
        "note": row["note"] or "",
    }


def _drop(row: Mapping[str, Any]) -> Film:
    why = {"check": row["check"], "kind": row["kind"], "reason": row["reason"], "raw": row["raw"] or ""}
    return _question(row) | {"fate": "dropped", "drop": why}


def _question(row: Mapping[str, Any]) -> Film:
    parsed = row["parsed_reasoning"] or {}
    steps = [
        {"at": step["timestamp"], "start": step["start_s"], "end": step["end_s"], "reasons": step["reasons"]}
        for step in parsed.get("REASONS") or []
    ]
    return {
        "id": row["id"],
        "category": row["category"] or "",
        "question": parsed.get("QUESTION") or "",
        "options": parsed.get("OPTIONS") or {},
        "answer": parsed.get("ANSWER") or "",
        "steps": steps,
        "checks": row["checks"] or [],
    }


def _exchange(exchange: Exchange, captions: str) -> Film:
    def short(text: str) -> str:
        return text.replace(CAPTIONS, "").replace(captions, CAPTIONS) if captions else text

    used = exchange.usage
    return {
        "stage": exchange.stage,
        "clip": exchange.clip,
        "messages": [[role, short(text)] for role, text in exchange.messages],
        "reply": exchange.reply,
        "model": exchange.model,
        "in": used.input_tokens,
        "out": used.output_tokens,
        "cost": used.cost_usd,
        "seconds": round(exchange.seconds, 2),
        "error": exchange.error,
    }


def _is_about(exchange: Exchange, question: Film) -> bool:
    """Whether an exchange is about one question: its rewriting or its check, and not what wrote several at once."""
    if exchange.clip is not None:
        return False
    last = exchange.messages[-1][1]
    if question.get("prompt") == last:
        return True
    return exchange.stage not in {"ask", "reformat"} and bool(question["question"]) and question["question"] in last
