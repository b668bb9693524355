"""LLaMA-Factory data folder: ShareGPT rows and the ``dataset_info.json`` that registers them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.report.export_files import Exported, Selection, export_records, new_folder
from lvqa_ray.report.trainers.training_sample import SampleStyle

DATASET_COLUMNS = {"messages": "conversations", "videos": "videos"}


def export_llamafactory(output: OutputReader, to: Path, selection: Selection, style: SampleStyle) -> Exported:
    """Write a folder for ``dataset_dir``: ``dataset: lvqa``, or ``lvqa_train`` and ``lvqa_test`` with a split.

    Args:
        output: Output of a run.
        to: Folder to create; it must be empty if it exists.
        selection: Which records, and the split.
        style: How replies and video paths are written; relative paths are below LLaMA-Factory's ``media_dir``.

    Raises:
        ConfigError: There are no such records, or the folder is not empty or cannot be written.
    """
    with new_folder(to) as partial:
        made = export_records(output, partial / "lvqa.json", "sharegpt", selection, style)
        info: dict[str, Any] = {}
        for part, path in zip(selection.splits, made.paths, strict=True):
            name = "lvqa" if part == "all" else f"lvqa_{part}"
            info[name] = {"file_name": path.name, "formatting": "sharegpt", "columns": DATASET_COLUMNS}
        (partial / "dataset_info.json").write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    return Exported([to.absolute()], made.counts, made.left_out, notes=made.notes)
