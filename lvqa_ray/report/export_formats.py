"""What a record is in another tool's words: one function a format, row in, JSON object out.

A package registers a format as an entry point of the group ``lvqa_ray.export_formats``: an `ExportFormat`.
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
    """A format of files with an object for each record.

    Attributes:
        make: Makes the object of a record, or ``None`` of one that the format cannot hold.
        columns: The columns of `data/` that it needs.
        array: Whether the file is one JSON array; else it has a line for each object.
        lacks: Why records are left out, as the end of a sentence.
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
"""The reference's columns in its order; here alone the rewriting prompt has the reference's names."""
_REWRITING = ("conversation", "prompt")
_USED = ["id", "video", "video_id", "category", "parsed_reasoning", "full_question", "reformatted_reasoning"]
_OPEN = ["id", "video", "category", "open_question", "open_answer", "reformatted_reasoning"]


def dataflow(record: TableRow) -> dict[str, Any]:
    """The reference's columns, with its steps as a dictionary."""
    parsed = record["parsed_reasoning"]
    steps = {step["step"]: {"timestamp": step["timestamp"], "reasons": step["reasons"]} for step in parsed["REASONS"]}
    extra = {key: value for key, value in json.loads(record["extra"]).items() if key not in DATAFLOW}
    prompt = record["rewrite_prompt"]
    own = {"conversation": [{"from": "human", "value": prompt}], "prompt": prompt}
    own["parsed_reasoning"] = {**parsed, "REASONS": steps}
    return {key: own[key] if key in own else record[key] for key in DATAFLOW} | extra


def llava(record: TableRow) -> dict[str, Any]:
    """One turn of LLaVA's ``conversations`` about a video; the right letter is the last word.

    ``<image>`` stands for the video too: LLaVA-NeXT's trainer puts frames there and nowhere else.
    """
    return {"id": record["id"], "video": record["video"], "conversations": _turn(record, "<image>\n")}


def sharegpt(record: TableRow) -> dict[str, Any]:
    """The same as ShareGPT messages, with the media beside them as LLaMA-Factory and its like expect."""
    return {"conversations": _turn(record, "<video>"), "videos": [record["video"]]}


def long_rl(record: TableRow) -> dict[str, Any]:
    """Long-RL's fields as its own data has them: options in the problem, the category as its type, a tagged letter."""
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
    """The question without its options, and the right one's text as the answer; sentences that name a letter are cut.

    Returns:
        Nothing for a question that cannot be asked without its options, such as "Which of these ...?".
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

    asked, told = training_messages(
        record["full_question"], record["reformatted_reasoning"], record["parsed_reasoning"]["ANSWER"]
    )
    return [{"from": "human", "value": f"{media}{asked['content']}"}, {"from": "gpt", "value": told["content"]}]


FORMATS: Mapping[str, ExportFormat] = {
    "dataflow-json": ExportFormat(
        make=dataflow,
        columns=[*(name for name in DATAFLOW if name not in _REWRITING), "rewrite_prompt", "extra"],
        array=True,
    ),
    "llava": ExportFormat(make=llava, columns=_USED),
    "sharegpt": ExportFormat(make=sharegpt, columns=_USED),
    "long-rl": ExportFormat(make=long_rl, columns=_USED),
    "open-ended": ExportFormat(make=open_ended, columns=_OPEN, lacks="which cannot do without their options"),
}
"""The formats that need no package."""


def format_of(name: str) -> ExportFormat:
    """A format, built in or of a package.

    Raises:
        PluginError: There is none of that name, or its package cannot be used; one sentence.
    """
    if name in FORMATS:
        return FORMATS[name]
    made = load("export_formats", name)
    if not isinstance(made, ExportFormat):
        raise PluginError(f"the export format {name} is no ExportFormat of lvqa_ray.report.export_formats")
    return made


def format_names() -> list[str]:
    """The formats that there are, those of packages at the end."""
    return [*FORMATS, *(name for name in installed("export_formats") if name not in FORMATS)]
