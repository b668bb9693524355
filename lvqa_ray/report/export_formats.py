"""Export formats of other tools: one function per format maps a table row to a JSON object.

A package registers an `ExportFormat` as an entry point of the group ``lvqa_ray.export_formats``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lvqa_ray.plugins import PluginError, installed, load
from lvqa_ray.qa.report_letters import without_letters
from lvqa_ray.records.row import TableRow

Make = Callable[[TableRow], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """An export format with one JSON object per record.

    Attributes:
        make: Converts a row; returns ``None`` if the format cannot hold the record.
        columns: Columns of `data/` that `make` reads.
        array: Whether the file is one JSON array; otherwise it is JSON Lines.
        lacks: Why records are left out, as a relative clause of a message.
    """

    make: Make
    columns: Sequence[str]
    array: bool = False
    lacks: str = "which it cannot hold"


DATAFLOW = (
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
"""Columns of the reference implementation, in its order. Only here does the rewriting prompt have its names."""
_REWRITING = ("conversation", "prompt")
_USED = ["id", "video", "video_id", "category", "kind", "parsed_reasoning", "full_question", "reformatted_reasoning"]
_OPEN = ["id", "video", "category", "open_question", "open_answer", "reformatted_reasoning"]


def choices_only(make: Make) -> Make:
    """A format of multiple-choice questions: records of other kinds are not representable."""

    def made(record: TableRow) -> dict[str, Any] | None:
        return make(record) if (record.get("kind") or "choice") == "choice" else None

    return made


def dataflow(record: TableRow) -> dict[str, Any]:
    """Columns of the reference implementation, with the reasoning steps as a dictionary."""
    parsed = record["parsed_reasoning"]
    steps = {step["step"]: {"timestamp": step["timestamp"], "reasons": step["reasons"]} for step in parsed["REASONS"]}
    extra = {key: value for key, value in json.loads(record["extra"]).items() if key not in DATAFLOW}
    prompt = record["rewrite_prompt"]
    own = {"conversation": [{"from": "human", "value": prompt}], "prompt": prompt}
    own["parsed_reasoning"] = {**parsed, "REASONS": steps}
    return {key: own[key] if key in own else record[key] for key in DATAFLOW} | extra


def llava(record: TableRow) -> dict[str, Any]:
    """LLaVA ``conversations`` with one turn about a video; the correct letter is the last word.

    The placeholder is ``<image>`` for videos too: LLaVA-NeXT's trainer inserts frames only there.
    """
    return {"id": record["id"], "video": record["video"], "conversations": _turn(record, "<image>\n")}


def sharegpt(record: TableRow) -> dict[str, Any]:
    """ShareGPT messages with a separate list of videos, as LLaMA-Factory expects."""
    return {"conversations": _turn(record, "<video>"), "videos": [record["video"]]}


def long_rl(record: TableRow) -> dict[str, Any]:
    """Long-RL fields as in its own data: options in the problem, category as problem type, answer letter in a tag."""
    return {
        "problem_id": record["id"],
        "data_type": "video",
        "videos": record["video"],
        "problem": record["full_question"],
        "problem_type": record["category"] or "general",
        "reasoning": record["reformatted_reasoning"],
        "answer": f"<answer>{record['parsed_reasoning']['ANSWER']}</answer>",
    }


def open_ended(record: TableRow) -> dict[str, Any] | None:
    """Open-ended question: no options, the text of the correct one as answer, no sentence that names a letter.

    Returns:
        ``None`` for a question that needs its options, such as "Which of these ...?".
    """
    if record["open_question"] is None:
        return None
    return {
        "id": record["id"],
        "video": record["video"],
        "question": record["open_question"],
        "answer": record["open_answer"],
        "reasoning": without_letters(record["reformatted_reasoning"]),
        "category": record["category"],
    }


def _turn(record: TableRow, media: str) -> list[dict[str, str]]:
    from lvqa_ray.records.question_columns import training_messages  # noqa: PLC0415 - Arrow takes a second to import

    question, answer = training_messages(
        record["full_question"], record["reformatted_reasoning"], record["parsed_reasoning"]["ANSWER"]
    )
    return [{"from": "human", "value": f"{media}{question['content']}"}, {"from": "gpt", "value": answer["content"]}]


FORMATS: Mapping[str, ExportFormat] = {
    "dataflow-json": ExportFormat(
        make=choices_only(dataflow),
        columns=[*(name for name in DATAFLOW if name not in _REWRITING), "rewrite_prompt", "extra", "kind"],
        array=True,
    ),
    "llava": ExportFormat(make=choices_only(llava), columns=_USED),
    "sharegpt": ExportFormat(make=choices_only(sharegpt), columns=_USED),
    "long-rl": ExportFormat(make=choices_only(long_rl), columns=_USED),
    "open-ended": ExportFormat(make=open_ended, columns=_OPEN, lacks="which cannot do without their options"),
}
"""The built-in formats."""


def format_of(name: str) -> ExportFormat:
    """Look up a format, built in or from a package.

    Raises:
        PluginError: There is no such format, or its package cannot be used. The message is one sentence.
    """
    if name in FORMATS:
        return FORMATS[name]
    made = load("export_formats", name)
    if not isinstance(made, ExportFormat):
        raise PluginError(f"the export format {name} is no ExportFormat of lvqa_ray.report.export_formats")
    return made


def format_names() -> list[str]:
    """Names of all formats, those from packages last."""
    return [*FORMATS, *(name for name in installed("export_formats") if name not in FORMATS)]
