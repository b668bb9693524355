"""Outputs that are written down for a test, without a run: any number of records, and texts that would do harm."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvqa_ray.records.tables import SCHEMAS

CATEGORIES = ("temporal", "goal", "spatial", "plot")
QUESTIONS, CLIPS, CLIP_S = 4, 6, 10.0
NAUGHTY = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'>\0'\"{{ 7 * 7 }}"
Say = Callable[[str], str]


def make_output(
    folder: Path, videos: int, say: Say = str, video: str = "/films/{id}.mp4", prefix: str = "film"
) -> Path:
    """Write the output of a run over so many videos: of ten, one fails; of its questions, each tenth is dropped.

    Args:
        folder: Where to.
        videos: How many.
        say: Makes each text that a model or a file name would bring.
        video: Where a video is.
        prefix: How ids begin.
    """
    records: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    whole: list[dict[str, Any]] = []
    spoken: list[dict[str, Any]] = []
    traces: list[dict[str, Any]] = []
    for number in range(videos):
        ident = f"{prefix}-{number}"
        origin = {
            "video": video.format(id=ident),
            "fingerprint": "f",
            "input_hash": "i",
            "job_hash": "j",
            "run_id": "1",
        }
        if number % 10 == 9:
            failure = {"id": ident, "stage": "probe", "kind": "not_a_video", "attempts": 1, "retryable": False}
            failures.append(failure | {"message": say("This is no video."), "raw": say("")} | origin)
            continue
        clips += [_clip(ident, index, say) | origin for index in range(CLIPS)]
        whole += [row | origin for row in _whole(ident, say, failed=number % 10 == 8)]
        spoken += [
            {
                "video_id": ident,
                "index": n,
                "start_ms": 10_000 * n,
                "end_ms": 10_000 * n + 2500,
                "text": say(f"Wow {n}!"),
            }
            | origin
            for n in range(2)
        ]
        for place in range(QUESTIONS):
            row = _question(ident, number, place, say) | origin
            kept = (number * QUESTIONS + place) % 10 != 3
            traces += [trace | {"kept": kept} | origin for trace in _traces(row, number, place, say)]
            if not kept:
                drops.append(
                    row | {"check": "structure", "kind": "structure", "reason": say("too long"), "raw": say("")}
                )
            else:
                records.append(row)
    _write(folder, records, drops, failures, clips, whole, spoken, traces)
    said = {"finished": True, "summary": {"run_id": "20260101T203000Z", "seconds": 60, "videos": videos, "halted": ""}}
    (folder / "run.json").write_text(json.dumps(said | {"job": {"endpoints": {"vlm": {"model": say("seer")}}}}))
    _journal(folder / "cache", videos, say)
    return folder


def many(folder: Path, times: int) -> None:
    """Write the rows of an output again and again, each time under other ids."""
    for table in ("data", "clips", "failures", "drops"):
        rows = pq.read_table(folder / table / "part-1.parquet")
        for copy in range(2, times + 1):
            for name in {"id", "video_id"}.intersection(rows.column_names):
                renamed = pc.replace_substring_regex(rows[name], "^[a-z0-9]+-", f"film{copy}-")
                rows = rows.set_column(rows.column_names.index(name), name, renamed)
            pq.write_table(rows, folder / table / f"part-{copy}.parquet")


def _write(folder: Path, *tables: list[dict[str, Any]]) -> None:
    for table, lines in zip(
        ("data", "drops", "failures", "clips", "analysis", "subtitles", "traces"), tables, strict=True
    ):
        (folder / table).mkdir(parents=True, exist_ok=True)
        schema = SCHEMAS[table]  # type: ignore[index]
        same = pa.Table.from_pylist([{key: line.get(key) for key in schema.names} for line in lines], schema=schema)
        pq.write_table(same, folder / table / "part-1.parquet")


def _clip(ident: str, index: int, say: Say) -> dict[str, Any]:
    return {
        "id": f"{ident}_{index}",
        "video_id": ident,
        "index": index,
        "timestamp_start": index * CLIP_S,
        "timestamp_end": (index + 1) * CLIP_S,
        "duration_sec": CLIP_S,
        "caption": None if index == 3 else say(f"A dog runs past tree {index}."),
        "error": "refused" if index == 3 else None,
        "error_message": say("I can't look at that.") if index == 3 else None,
        "height": 90,
        "width": 160,
        "aspect_ratio": 160 / 90,
        "fps": 25.0,
        "lost_sec": 0.0,
    }


def _whole(ident: str, say: Say, *, failed: bool) -> list[dict[str, Any]]:
    """A summary, tags, titles and a mind map that may have failed."""
    tree = {"name": say("a dog"), "children": [{"name": say("it runs"), "children": [{"name": say("past trees")}]}]}
    lost = {"error": "bad_tree", "error_message": say("no map"), "raw": say("{"), "retryable": False}
    made: list[dict[str, Any]] = [
        {"task": "summary", "style": "plot_detail", "text": say("A dog runs.\n\nIt rests.")},
        {"task": "summary", "style": "tags", "text": say("dog"), "value": json.dumps({"tags": [say("dog")]})},
        {"task": "titles", "text": say("Dog"), "value": json.dumps({"titles": [say("The dog that ran")]})},
        {"task": "mind_map"} | (lost if failed else {"text": say("{}"), "value": json.dumps(tree)}),
    ]
    return [row | {"video_id": ident, "index": index, "alone": False} for index, row in enumerate(made)]


def _question(ident: str, number: int, place: int, say: Say) -> dict[str, Any]:
    spans = [(0.0, 10.0), (20.0, 30.0), (50.0, 60.0)]
    marked = number % 7 == 0
    verdict = {"check": "grounding", "passed": not marked, "action": "marked" if marked else None}
    verdict["score"] = number / 100
    return {
        "id": f"{ident}_q{place}",
        "video_id": ident,
        "category": CATEGORIES[place],
        "requested_category": CATEGORIES[place],
        "captions": say("From 0 to 10, a dog runs."),
        "num_clips": CLIPS - 1,
        "reasoning": say("QUESTION: ..."),
        "parsed_reasoning": {
            "QUESTION": say(f"Where does the dog of {ident} go for the {place}th time?"),
            "OPTIONS": {letter: say(f"place {letter}") for letter in "ABCD"},
            "ANSWER": "ABCD"[(number + place) % 4],
            "REASONS": [
                {"step": f"Step {n}", "timestamp": "", "start_s": start, "end_s": end}
                | {"reasons": [say(f"Reason {n}.")], "clip_ids": [f"{ident}_{n}"]}
                for n, (start, end) in enumerate(spans, start=1)
            ],
        },
        "open_question": say(f"Where does the dog of {ident} go for the {place}th time?"),
        "open_answer": say(f"place {'ABCD'[(number + place) % 4]}"),
        "rewrite_prompt": say("Rewrite."),
        "full_question": say(f"Where does the dog of {ident} go for the {place}th time?\nA. ..."),
        "reformatted_reasoning": say("I see a dog, so it is the park."),
        "messages": [{"role": "user", "content": say("Where?")}, {"role": "assistant", "content": say("There.")}],
        "video_info": {
            "success": True,
            "num_frames": 1500,
            "height": 90,
            "width": 160,
            "fps": 25.0,
            "codec": say("h264"),
        }
        | {"duration_sec": CLIPS * CLIP_S, "partial": ""},
        "usage": {
            stage: {"calls": 1, "cached": 0, "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.001}
            for stage in ("caption", "ask", "reformat")
        },
        "extra": "{}",
        "checks": [
            verdict | {"reason": say("off by a second"), "tries": 0, "calls": 0},
            {"check": "solve", "passed": True, "score": float(number % 2 == 0), "tries": 2, "calls": 2},
            {"check": "watch", "passed": place > 0, "score": place / 4, "tries": 4, "calls": 4},
        ],
        "failed_checks": ["grounding"] if marked else [],
    }


def _traces(row: dict[str, Any], number: int, place: int, say: Say) -> list[dict[str, Any]]:
    """Four answers from the film, of which as many are right as the place says, and two from the captions."""
    made = []
    for n, check in enumerate(("watch",) * 4 + ("solve",) * 2):
        right = n < place if check == "watch" else number % 2 == 0
        key = row["parsed_reasoning"]["ANSWER"]
        made.append(
            {
                "video_id": row["video_id"],
                "index": 6 * place + n,
                "question_id": row["id"],
                "category": row["category"],
                "full_question": row["full_question"],
                "key": key,
                "check": check,
                "attempt": n % 4,
                "model": say("seer"),
                "media": "frames" if check == "watch" else "captions",
                "frame_times": [2.5, 25.0, 55.0] if check == "watch" else [],
                "option_order": "BCDA",
                "thoughts": say(f"Thought {n} of {row['id']}{', at some length' * n}."),
                "reply": f"ANSWER: {key}",
                "answer": key if right else "ABCD"[("ABCD".index(key) + 1) % 4],
                "correct": right,
                "readable": True,
                "letters_unclear": False,
                "best": check == "watch" and n == 0 and right,
                "usage": {"calls": 1, "cached": 0, "input_tokens": 100, "output_tokens": 10, "cost_usd": 0.001},
            }
        )
    return made


def _journal(folder: Path, videos: int, say: Say) -> None:
    folder.mkdir()
    for stage, number in (("caption", CLIPS), ("ask", 1), ("reformat", QUESTIONS)):
        with (folder / f"{stage}-1_w.jsonl").open("w") as file:
            for n in range(videos * number):
                counts = {"input_tokens": 100, "output_tokens": 10, "cost_usd": 0.001, "at": 1.7e9 + n, "s": 1 + n % 5}
                line = {"key": f"{hash((stage, n)) & (2**256 - 1):064x}", "text": say("yes"), "model": say("seer")}
                file.write(json.dumps(line | counts) + "\n")
