"""Per-video data of the page: clips, questions, failures and exchanges with models, as plain values for JSON."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.records import Span, Turn, Video, VideoInfo
from lvqa_ray.records.questions import before_answer
from lvqa_ray.records.tables import VIDEO_ID, TableName
from lvqa_ray.report import analysis_view
from lvqa_ray.report.replay import Exchange, FindExchanges

Film = dict[str, Any]
CAPTIONS = "\0"
"""Placeholder in a prompt for the merged captions of its video; page.js replaces it."""
GRID, STEPS, LEAST_SPAN_S = 10, 30, 0.2
"""Thumbnails along the whole video; most thumbnails of spans that the reasoning cites; shortest such span (s)."""
SHOWN_FRAMES, FRAME_SPAN_S, TRACE_CHARS = 32, 0.002, 8000
"""Most thumbnails of frames that sampled answers were given; span of one (s); most characters of a shown trace."""
Turns = tuple[Turn, ...]
_COLUMNS: Mapping[TableName, str] = {
    "data": "id captions category kind parsed_reasoning reformatted_reasoning rewrite_prompt checks usage note "
    "video_info extra",
    "drops": "id category question_kind check kind reason parsed_reasoning checks raw",
    "failures": "clip_id stage kind attempts message retryable raw",
    "clips": "index timestamp_start timestamp_end caption model dropped lost_sec error error_message note height width "
    "fps media_start media_end",
    "traces": "question_id check attempt model media frame_times thoughts reply answer correct readable "
    "letters_unclear best error",
    "analysis": analysis_view.RESULT_COLUMNS,
    "subtitles": analysis_view.SPEECH_COLUMNS,
}


def films(output: OutputReader, videos: Sequence[str], find_exchanges: FindExchanges | None) -> Iterator[Film]:
    """Yield the videos with these ids, in this order.

    Args:
        output: The output.
        videos: Ids of the videos.
        find_exchanges: Finds the exchanges about a video; ``None`` to show none.
    """
    tables = {name: _by_video(output, name, columns.split(), set(videos)) for name, columns in _COLUMNS.items()}
    turns = output.conversations(videos) if find_exchanges else {}
    for video in videos:
        yield _film(video, {name: rows.get(video, []) for name, rows in tables.items()}, output, find_exchanges, turns)


def stretches(film: Film) -> list[Span]:
    """Spans to take thumbnails from: evenly along the video, those cited by its reasoning, frames shown to a model."""
    length = film["seconds"]
    if not length:
        return []
    grid = [Span(start_s=length * n / GRID, end_s=length * (n + 1) / GRID) for n in range(GRID)]
    cited = [Span(start_s=start, end_s=end) for start, end in spans(film)]
    return [*grid, *cited, *(Span(start_s=time, end_s=time + FRAME_SPAN_S) for time in shown_frames(film))]


def spans(film: Film) -> list[tuple[float, float]]:
    """Spans cited by the reasoning of a video, without duplicates, at most `STEPS`."""
    steps = [(step["start"], step["end"]) for question in film["questions"] for step in question["steps"]]
    inside = [(start, end) for start, end in dict.fromkeys(steps) if start >= 0 and end - start >= LEAST_SPAN_S]
    return inside[:STEPS]


def shown_frames(film: Film) -> list[float]:
    """Times of frames that sampled answers were given (s), in order, without duplicates, at most `SHOWN_FRAMES`."""
    times = sorted({time for question in film["questions"] for one in question["traces"] for time in one["times"]})
    step = max(1, -(-len(times) // SHOWN_FRAMES))
    return times[::step]


def natural(ident: str) -> list[tuple[int, str]]:
    """Natural sort key of an id: ``q2`` before ``q10``."""
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
    ident: str,
    rows: Mapping[TableName, list[Any]],
    output: OutputReader,
    find_exchanges: FindExchanges | None,
    turns: Mapping[str, Turns],
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
        "subtitles": analysis_view.speech(rows["subtitles"]),
        "failure": None,
        "said": [],
        "unsaid": "",
    }
    if rows["failures"] and not records:
        failure = rows["failures"][0]
        film["failure"] = {name: failure[name] for name in _COLUMNS["failures"].split()}
    film["unsaid"], exchanges = _exchanges(
        anything | {"turns": turns.get(ident, ())}, film, (records, clips), output, find_exchanges
    )
    film["said"] = [_exchange(exchange, film["captions"]) for exchange in exchanges]
    for question in film["questions"]:
        question["traces"] = [_trace(row) for row in rows["traces"] if row["question_id"] == question["id"]]
        question["said"] = [number for number, exchange in enumerate(exchanges) if _is_about(exchange, question)]
    return film


def _exchanges(
    origin: Mapping[str, Any],
    film: Film,
    rows: tuple[Sequence[Any], Sequence[Any]],
    output: OutputReader,
    find_exchanges: FindExchanges | None,
) -> tuple[str, list[Exchange]]:
    """The reason why prompts cannot be shown, and the exchanges; one of the two is empty."""
    records, clips = rows
    if not clips:
        return "", []
    if find_exchanges is None or output.job is None:
        return "The output holds no job file, so the prompts cannot be made again.", []
    if origin["job_hash"] != output.job.job_hash:
        return "This video was done by an earlier job with other settings, so its prompts cannot be made again.", []
    extra = records[0]["extra"] if records else "{}"
    video = Video(
        id=film["id"], uri=origin["video"], fingerprint=origin["fingerprint"], conversation=origin["turns"], extra=extra
    )
    exchanges = find_exchanges(video, _info(film, clips[0]), clips)
    if exchanges is None:
        return "There was no time to look up its prompts; `lvqa report --seconds 600` does.", []
    return ("" if exchanges else "The journal holds no answers to this video's prompts."), exchanges


def _info(film: Film, clip: Mapping[str, Any]) -> VideoInfo:
    known = {name: film["info"][name] for name in VideoInfo.__dataclass_fields__ if name in film["info"]}
    fps = clip["fps"] or 25.0
    guessed = {"num_frames": round(film["seconds"] * fps), "height": clip["height"], "width": clip["width"], "fps": fps}
    return VideoInfo(**({"duration_sec": film["seconds"]} | guessed | known))


def _clip(row: Mapping[str, Any]) -> list[Any]:
    """Start (s), end (s), caption, reason for a missing caption, and a note."""
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
    asked = {**row, "kind": row["question_kind"]}  # the column kind of a drop names the check's fault
    return _question(asked) | {"fate": "dropped", "drop": why}


def _question(row: Mapping[str, Any]) -> Film:
    parsed = row["parsed_reasoning"] or {}
    steps = [
        {"at": step["timestamp"], "start": step["start_s"], "end": step["end_s"], "reasons": step["reasons"]}
        for step in parsed.get("REASONS") or []
    ]
    return {
        "id": row["id"],
        "category": row["category"] or "",
        "kind": row["kind"] or "choice",
        "question": parsed.get("QUESTION") or "",
        "options": parsed.get("OPTIONS") or {},
        "answer": parsed.get("ANSWER") or "",
        "steps": steps,
        "checks": row["checks"] or [],
    }


def _trace(row: Mapping[str, Any]) -> Film:
    text = row["thoughts"] or before_answer(row["reply"] or "")
    unclear = "letters unclear" if row["letters_unclear"] else ""
    return {
        "check": row["check"],
        "attempt": row["attempt"],
        "model": row["model"] or "",
        "media": row["media"] or "",
        "times": [round(time, 3) for time in row["frame_times"] or []],
        "text": text if len(text) <= TRACE_CHARS else f"{text[:TRACE_CHARS]} ...",
        "answer": row["answer"] or "",
        "correct": row["correct"],
        "best": bool(row["best"]),
        "note": row["error"] or (unclear if row["readable"] else "unreadable"),
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
    """Whether an exchange is about this question: its rewriting or a check, not the request that wrote several."""
    if exchange.clip is not None:
        return False
    last = exchange.messages[-1][1]
    if question.get("prompt") == last:
        return True
    return exchange.stage not in {"ask", "reformat"} and bool(question["question"]) and question["question"] in last
