"""lmms-eval task folder: the test split as Parquet, the task's YAML file and its scorer."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.report.export_files import Exported, Selection, VideoPlaces, new_folder, records
from lvqa_ray.report.trainers.training_sample import USED, SampleStyle, sample_of

LMMS_TASK = "lvqa"
_INSTRUCTIONS = {
    "choice": "Answer with the letter of the right option, as <answer>B</answer>.",
    "span": "Put the times into a tag, as <answer>12.0-25.5</answer>.",
    "number": "Put the number into a tag, as <answer>3</answer>.",
    "order": "Put the order into a tag, as <answer>2, 1, 3</answer>.",
    "open": "Put the answer into a tag, as <answer>a red car</answer>.",
}


def export_lmms_eval(output: OutputReader, to: Path, selection: Selection, style: SampleStyle) -> Exported:
    """Write a folder for lmms-eval's ``--include_path``; its task is ``lvqa``.

    Args:
        output: Output of a run.
        to: Folder to create; it must be empty if it exists.
        selection: Which records. Only the test split is written, so that no training data is evaluated on.
        style: How video paths are written; relative paths are below the environment variable ``LVQA_VIDEOS``.

    Raises:
        ConfigError: There is no split, the test split is empty, or the folder is not empty or cannot be written.
    """
    if not selection.fraction:
        raise ConfigError(
            "lmms-eval evaluates on the videos that training leaves out: name their share with --test-fraction."
        )
    places, rows = VideoPlaces(), []
    for record in records(output, list(dict.fromkeys([*_columns(), *selection.columns])), selection.where):
        if selection.split(record["video_id"]) == "test":
            places.see(record["video"])
            sample = sample_of(record, style)
            row = {name: record[name] for name in selection.columns} | {
                "id": sample.id,
                "video": sample.video,
                "category": sample.category,
                "kind": sample.kind,
                "prompt": f"{sample.prompt}\n{_INSTRUCTIONS[sample.kind]}",
                "answer": sample.answer,
                "record": json.dumps(sample.typed, ensure_ascii=False),
            }
            rows.append(row)
    if not rows:
        raise ConfigError(f"No video is in the test split of {selection.fraction:g}: name a larger --test-fraction.")
    with new_folder(to) as partial:
        pq.write_table(pa.Table.from_pylist(rows), partial / "test.parquet", compression="zstd")
        scorer = (files("lvqa_ray.report.trainers") / "lmms_eval_scorer.py.txt").read_text(encoding="utf-8")
        (partial / "utils.py").write_text(scorer, encoding="utf-8")
        (partial / f"{LMMS_TASK}.yaml").write_text(_task(to.absolute() / "test.parquet"), encoding="utf-8")
    return Exported([to.absolute()], {"test": len(rows)}, notes=places.notes)


def _columns() -> list[str]:
    from lvqa_ray.records.tables import SCHEMAS  # noqa: PLC0415

    return [name for name in USED if name in SCHEMAS["data"].names]


class _Function(str):
    """Name of a function of the scorer, written with lmms-eval's YAML tag."""


def _task(data: Path) -> str:
    def use(name: str) -> _Function:
        return _Function(f"utils.{name}")

    task = {
        "task": LMMS_TASK,
        "dataset_path": "parquet",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_visual": use("doc_to_visual"),
        "doc_to_text": use("doc_to_text"),
        "doc_to_target": "answer",
        "process_results": use("process_results"),
        "generation_kwargs": {"max_new_tokens": 1024, "temperature": 0, "do_sample": False},
        "metric_list": [{"metric": "reward", "aggregation": "mean", "higher_is_better": True}],
        "metadata": [{"version": 1.0}],
    }
    return yaml.dump(task, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """YAML writer that knows lmms-eval's tag for functions."""


_Dumper.add_representer(_Function, lambda dumper, name: dumper.represent_scalar("!function", str(name)))
