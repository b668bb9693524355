"""Export formats of other tools: one function per format maps a table row to a JSON object.

A package registers an `ExportFormat` as an entry point of the group ``lvqa_ray.export_formats``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lvqa_ray.plugins import PluginError, installed, load
from lvqa_ray.qa.report_letters import without_letters
from lvqa_ray.report.trainers.formats import TRAINER_FORMATS, TrainerFormat
from lvqa_ray.report.trainers.training_sample import SampleStyle

if TYPE_CHECKING:  # a help page loads no rows
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

    @property
    def schema(self) -> None:
        """No Arrow schema: the file holds JSON."""
        return

    def convert(self, record: TableRow, style: SampleStyle) -> dict[str, Any] | None:
        """The object for a record, or ``None``; of the style, only the place of the video matters."""
        return self.make({**record, "video": style.place(record["video"])} if "video" in record else record)


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


FORMATS: Mapping[str, ExportFormat | TrainerFormat] = {
    "dataflow-json": ExportFormat(
        make=choices_only(dataflow),
        columns=[*(name for name in DATAFLOW if name not in _REWRITING), "rewrite_prompt", "extra", "kind"],
        array=True,
    ),
    "open-ended": ExportFormat(make=open_ended, columns=_OPEN, lacks="which cannot do without their options"),
    **TRAINER_FORMATS,
}
"""The built-in formats."""


def format_of(name: str) -> ExportFormat | TrainerFormat:
    """Look up a format, built in or from a package.

    Raises:
        PluginError: There is no such format, or its package cannot be used. The message is one sentence.
    """
    if name in FORMATS:
        return FORMATS[name]
    made = load("export_formats", name)
    if not isinstance(made, ExportFormat | TrainerFormat):
        raise PluginError(f"the export format {name} is no ExportFormat of lvqa_ray.report.export_formats")
    return made


def format_names() -> list[str]:
    """Names of all formats, those from packages last."""
    return [*FORMATS, *(name for name in installed("export_formats") if name not in FORMATS)]
