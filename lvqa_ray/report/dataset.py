"""Hugging Face data set: a folder of Parquet files for the hub and ``datasets``, with a dataset card."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lvqa_ray.config import in_order
from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.output_statistics import count
from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.book import Book
from lvqa_ray.journal.costs import total
from lvqa_ray.records.tables import SCHEMAS, no_rows
from lvqa_ray.report import overview
from lvqa_ray.report.export_files import Exported, Selection, new_folder
from lvqa_ray.report.trainers.training_sample import SampleStyle

ROWS_PER_FILE = 20_000
NO_LICENCE = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetOptions:
    """What the data set shows.

    Attributes:
        columns: Columns of `data/`, in order.
        video_root: Folder or URL prefix that ``video`` is written relative to; empty to write it unchanged.
        file_names: Whether ``video`` is only the file name.
        licence: Licence name of the hub, such as ``cc-by-4.0``; the user chooses it.
        published: Remove local paths and the texts of errors from the names of models and the reasons of checks.
    """

    columns: tuple[str, ...] = tuple(SCHEMAS["data"].names)
    video_root: str = ""
    file_names: bool = False
    licence: str = ""
    published: bool = False

    @property
    def schema(self) -> pa.Schema:
        """Schema of the Parquet files."""
        return pa.schema([SCHEMAS["data"].field(name) for name in self.columns])

    def shown(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Rows with these columns, and videos at their published places."""
        kept = rows.select(list(self.columns))
        if self.published:
            kept = _without_private_texts(kept)
        if "video" not in self.columns or not (self.video_root or self.file_names):
            return kept
        style = SampleStyle(video_root=self.video_root)
        places = [
            video.rstrip("/").rpartition("/")[2] if self.file_names else style.place(video)
            for video in kept["video"].to_pylist()
        ]
        return kept.set_column(self.columns.index("video"), "video", pa.array(places, pa.string()))


def _without_private_texts(rows: pa.RecordBatch) -> pa.RecordBatch:
    values = rows.to_pylist()
    for row in values:
        if row.get("models"):
            row["models"] = json.dumps(
                {stage: public_name(str(name)) for stage, name in json.loads(row["models"]).items()}
            )
        for check in row.get("checks") or []:
            if check["reason"]:
                check["reason"] = _public_reason(check["reason"])
    return pa.RecordBatch.from_pylist(values, schema=rows.schema)


def public_name(model: str) -> str:
    """Name of a model without the folders of a local path."""
    return model.rstrip("/").rpartition("/")[2] if model.startswith(("/", "~", ".")) else model


def _public_reason(reason: str) -> str:
    """A reason without the text of an error, which may name an address, and without the folders of paths."""
    begun, failed, _ = reason.partition("could not be checked")
    return _FOLDERS_OF_PATH.sub("", begun + failed)


_FOLDERS_OF_PATH = re.compile(r"(?<![\w/])(?:~|\.{1,2})?/(?:[^\s/:'\"]+/)+")


def export_dataset(
    output: OutputReader, to: Path, selection: Selection | None = None, options: DatasetOptions | None = None
) -> Exported:
    """Write the records as Parquet, and a dataset card.

    Args:
        output: Output of a run.
        to: Folder to create; it must be empty if it exists.
        selection: Which records, and the split; all records by default.
        options: Columns, places of videos and licence; all columns unchanged by default.

    Raises:
        ConfigError: There are no such records, or the folder is not empty or cannot be written.
    """
    chosen, shown = selection or Selection(), options or DatasetOptions()
    with new_folder(to) as partial:
        (partial / "data").mkdir()
        counts = _tables(output, partial / "data", chosen, shown)
        if not sum(counts.values()):
            why = (
                f"no record fulfils --where {chosen.where}" if chosen.where else f"{output.folder / 'data'} has no rows"
            )
            raise ConfigError(f"{output.folder} holds no records: {why}.")
        (partial / "README.md").write_text(_card(output, counts, shown), encoding="utf-8", errors="replace")
    return Exported([to.absolute()], counts)


def _tables(output: OutputReader, folder: Path, selection: Selection, options: DatasetOptions) -> dict[str, int]:
    parts = selection.splits if selection.fraction else ("train",)
    counts = dict.fromkeys(parts, 0)
    for part in parts:
        for number, rows in enumerate(_pieces(map(options.shown, _of_part(output, part, selection)))):
            pq.write_table(rows, folder / f"{part}-{number:05d}.parquet", compression="zstd")
            counts[part] += rows.num_rows
        if not counts[part]:  # an empty file still gives readers the columns
            (folder / f"{part}-00000.parquet").write_bytes(no_rows(options.schema))
    return counts


def _of_part(output: OutputReader, part: str, selection: Selection) -> Iterator[pa.RecordBatch]:
    for batch in output.batches("data", SCHEMAS["data"].names):
        kept = selection.where(batch) if selection.where else batch
        if selection.fraction:
            kept = kept.filter(pa.array([selection.split(video) == part for video in kept["video_id"].to_pylist()]))
        if kept.num_rows:
            yield kept


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(one.num_rows for one in held) >= ROWS_PER_FILE:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _card(output: OutputReader, counts: dict[str, int], options: DatasetOptions) -> str:
    numbers, book = count(output), Book(output.journal)
    size = next(
        name
        for name, most in (("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6), ("n>1M", 1e18))
        if numbers.questions.kept < most
    )
    head: dict[str, Any] = {
        "license": options.licence or NO_LICENCE,
        "task_categories": ["video-text-to-text", "question-answering"],
        "tags": ["video", "reasoning", "synthetic", "lvqa-ray"],
        "size_categories": [size],
        "configs": [
            {
                "config_name": "default",
                # `datasets` fails on a split without rows, and then loads no split at all.
                "data_files": [{"split": part, "path": f"data/{part}-*.parquet"} for part in counts if counts[part]],
            }
        ],
    }
    templates = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    card = templates.from_string((files("lvqa_ray.report") / "card.md.j2").read_text(encoding="utf-8"))
    return card.render(
        head=yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        name=output.name,
        numbers=numbers,
        counts=counts,
        licence=options.licence,
        local=not (options.video_root or options.file_names),
        models=[
            (stage, public_name(model) if options.published else model, spent)
            for stage in in_order(book.spent)
            for model, spent in book.spent[stage].items()
        ],
        bill=total(spent for models in book.spent.values() for spent in models.values()),
        dollars=overview.dollars,
        versions=(output.run.get("summary") or {}).get("versions") or {},
        job_hash=output.run.get("job_hash") or "not known",
    )
