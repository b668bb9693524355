"""Export dispatch: writes an output in the format that a request names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.report.dataset import DatasetOptions, export_dataset
from lvqa_ray.report.export_files import Exported, Selection, export_records
from lvqa_ray.report.row_filter import RowFilter
from lvqa_ray.report.subtitle_export import export_subtitles
from lvqa_ray.report.trainers.llamafactory import export_llamafactory
from lvqa_ray.report.trainers.lmms_eval import export_lmms_eval
from lvqa_ray.report.trainers.preference import export_dpo
from lvqa_ray.report.trainers.training_sample import SampleStyle
from lvqa_ray.report.trainers.webdataset import export_webdataset

_FOLDERS: Mapping[str, Callable[[OutputReader, Path, Selection, SampleStyle], Exported]] = {
    "dpo": export_dpo,
    "dpo-llamafactory": partial(export_dpo, form="llamafactory"),
    "dpo-ms-swift": partial(export_dpo, form="ms-swift"),
    "llamafactory": export_llamafactory,
    "lmms-eval": export_lmms_eval,
    "webdataset": export_webdataset,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to export, and how.

    Attributes:
        form: Name of the format.
        style: How replies and video paths are written.
        where: Condition on the records, in the syntax of `RowFilter`; empty for all records.
        columns: Columns of `data/` that every row also has.
        fraction: Share of the videos for the test split.
        licence: Licence in the dataset card.
    """

    form: str
    style: SampleStyle
    where: str = ""
    columns: tuple[str, ...] = ()
    fraction: float = 0.0
    licence: str = ""


def write_export(output: OutputReader, to: Path, request: Request) -> Exported:
    """Write an output in a format.

    Args:
        output: Output of a run.
        to: File or folder to write.
        request: What to write.

    Raises:
        ConfigError: A condition or column is wrong, there is nothing to export, or a file cannot be written.
    """
    form = request.form
    if form in {"srt", "vtt", "speech-srt", "speech-vtt"}:
        return export_subtitles(output, to, form.removeprefix("speech-"), speech=form.startswith("speech-"))
    where = RowFilter(request.where) if request.where.strip() else None
    selection = Selection(where=where, columns=request.columns, fraction=request.fraction)
    if form == "hf":
        return export_dataset(output, to, selection, DatasetOptions(licence=request.licence))
    if form in _FOLDERS:
        return _FOLDERS[form](output, to, selection, request.style)
    return export_records(output, to, form, selection, request.style)
