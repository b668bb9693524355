"""Export of records to files in other tools' formats, with a train/test split by video."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.export_formats import ExportFormat, format_of
from lvqa_ray.report.row_filter import RowFilter
from lvqa_ray.report.trainers.formats import TrainerFormat
from lvqa_ray.report.trainers.training_sample import SampleStyle

Split = str
Write = Callable[[Mapping[str, Any]], None]
ROWS_PER_WRITE = 1000
"""Rows of a Parquet file that are written at once."""


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export.

    Attributes:
        paths: The files, or the folder.
        counts: Number of items by split: ``train`` and ``test``, or ``all`` without a split.
        left_out: Number of records that the format cannot hold.
        what: Name of the counted items.
        notes: What the user should know about the videos, one sentence each.
    """

    paths: list[Path]
    counts: dict[str, int]
    left_out: int = 0
    what: str = "records"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which records are exported, and what is added to them.

    Attributes:
        where: Condition on the records; ``None`` for all.
        columns: Columns of `data/` that every row of the export also has.
        fraction: Share of the videos for the test split; 0 for no split.
    """

    where: RowFilter | None = None
    columns: tuple[str, ...] = ()
    fraction: float = 0.0

    def __post_init__(self) -> None:
        """Check the names of the columns.

        Raises:
            ConfigError: `data/` has no such column.
        """
        if unknown := [name for name in self.columns if name not in SCHEMAS["data"].names]:
            raise ConfigError(f"--columns: data/ has no column {unknown[0]}.")

    @property
    def splits(self) -> tuple[Split, ...]:
        """Names of the splits."""
        return ("train", "test") if self.fraction else ("all",)

    def split(self, video_id: str) -> Split:
        """Split of a video."""
        return split_of(video_id, self.fraction)


@dataclass
class VideoPlaces:
    """Counts videos that a trainer cannot open at the path that the records give."""

    known: dict[str, str] = field(default_factory=dict)

    def see(self, video: str) -> None:
        """Look a video up, once."""
        if video not in self.known:
            here = "remote" if "://" in video else "there" if Path(video).exists() else "missing"
            self.known[video] = here

    @property
    def notes(self) -> tuple[str, ...]:
        """One sentence for each kind of problem."""
        of, states = len(self.known), list(self.known.values())
        made = []
        if missing := states.count("missing"):
            made.append(f"{missing:,} of {of:,} videos are not at their path on this machine.")
        if remote := states.count("remote"):
            made.append(
                f"{remote:,} of {of:,} videos are URLs, which most trainers do not open: copy the videos and name "
                "their prefix with --video-root, so that the rows hold relative paths."
            )
        return tuple(made)


def split_of(video_id: str, fraction: float) -> Split:
    """Split of a video: ``all``, ``test`` or ``train``.

    A hash of the id decides, so a video stays in its split when the corpus grows.
    """
    if not fraction:
        return "all"
    number = int.from_bytes(hashlib.sha256(video_id.encode(errors="replace")).digest()[:8], "big")
    return "test" if number < fraction * 2**64 else "train"


def records(output: OutputReader, columns: list[str], where: RowFilter | None = None) -> Iterator[dict[str, Any]]:
    """Yield the records of an output as dictionaries.

    Raises:
        ConfigError: There are no records, no record fulfils the condition, or a shard cannot be read.
    """
    some = chosen = False
    for batch in output.batches("data", list(dict.fromkeys([*columns, *(where.columns if where else ())]))):
        some = True
        kept = where(batch) if where else batch
        chosen = chosen or bool(kept.num_rows)
        yield from kept.to_pylist()
    if not some:
        raise ConfigError(f"{output.folder} holds no records: {output.folder / 'data'} has no rows.")
    if not chosen:
        raise ConfigError(f"No record of {output.folder} fulfils --where {where}.")


def export_records(
    output: OutputReader, to: Path, form: str, selection: Selection | None = None, style: SampleStyle | None = None
) -> Exported:
    """Write one object per record, to one file or one per split.

    Args:
        output: Output of a run.
        to: The file; with a split, ``.train`` and ``.test`` are inserted before its suffix. A file that ends in
            ``.json`` always holds an array; a format with an Arrow schema is written as Parquet.
        form: Name of the format, built in or from a package.
        selection: Which records, which columns besides, and the split; all records by default.
        style: How replies and video paths are written.

    Raises:
        ConfigError: There are no such records, a video is not below ``style.video_root``, or a file cannot be written.
    """
    made_by, chosen = format_of(form), selection or Selection()
    paths = {part: to.with_suffix(f".{part}{to.suffix}") if chosen.fraction else to for part in chosen.splits}
    counts, left_out, places = dict.fromkeys(chosen.splits, 0), 0, VideoPlaces()
    with ExitStack() as stack:
        writers = {part: stack.enter_context(_writer(made_by, path, chosen.columns)) for part, path in paths.items()}
        for made, record in converted(output, made_by, chosen, style or SampleStyle()):
            if made is None:
                left_out += 1
                continue
            if "video" in made_by.columns:
                places.see(record["video"])
            part = chosen.split(record["video_id"])
            writers[part](made)
            counts[part] += 1
    return Exported(list(paths.values()), counts, left_out, notes=places.notes)


def converted(
    output: OutputReader, made_by: ExportFormat | TrainerFormat, selection: Selection, style: SampleStyle
) -> Iterator[tuple[dict[str, Any] | None, dict[str, Any]]]:
    """Yield the object that a format makes of each record, or ``None``, and the record."""
    there = SCHEMAS["data"].names
    columns = [name for name in dict.fromkeys([*made_by.columns, *selection.columns, "video_id"]) if name in there]
    for record in records(output, columns, selection.where):
        made = made_by.convert(record, style)
        more = {name: record[name] for name in selection.columns}
        yield (made if made is None else {**more, **made}), record


@contextmanager
def _writer(made_by: ExportFormat | TrainerFormat, path: Path, columns: tuple[str, ...]) -> Iterator[Write]:
    if made_by.schema is not None:
        with _parquet(path, made_by.schema(), columns) as write:
            yield write
        return
    array, first = made_by.array or path.suffix.lower() == ".json", True
    with writing(path) as file:

        def write(made: Mapping[str, Any]) -> None:
            nonlocal first
            if array:
                file.write("[\n" if first else ",\n")
                file.write(json.dumps(made, ensure_ascii=False, indent=4))
            else:
                file.write(json.dumps(made, ensure_ascii=False) + "\n")
            first = False

        yield write
        if array:
            file.write("[]\n" if first else "\n]\n")


@contextmanager
def _parquet(path: Path, schema: pa.Schema, columns: tuple[str, ...]) -> Iterator[Write]:
    more = [SCHEMAS["data"].field(name) for name in columns if name not in schema.names]
    whole = pa.schema([*schema, *more])
    held: list[Mapping[str, Any]] = []
    with partial_file(path) as partial, pq.ParquetWriter(partial, whole, compression="zstd") as writer:

        def write(made: Mapping[str, Any]) -> None:
            held.append(made)
            if len(held) >= ROWS_PER_WRITE:
                flush()

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(held, whole))
            held.clear()

        yield write
        flush()


@contextmanager
def writing(to: Path) -> Iterator[TextIO]:
    """Atomic write of a text file: it appears under its name when it is complete.

    Raises:
        ConfigError: The file cannot be written.
    """
    with partial_file(to) as partial, partial.open("w", encoding="utf-8", errors="replace") as file:
        yield file


@contextmanager
def partial_file(to: Path) -> Iterator[Path]:
    """Atomic write of a file: the path of a temporary file that is renamed when the block ends.

    Raises:
        ConfigError: The file cannot be written.
    """
    if to.is_dir():
        raise ConfigError(f"{to} is a folder; name a file in it.")
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(to)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def new_folder(to: Path) -> Iterator[Path]:
    """Atomic creation of a folder: the path of a temporary folder that is renamed when the block ends.

    Args:
        to: Folder to create; it must be empty if it exists.

    Raises:
        ConfigError: The folder is not empty, or cannot be written.
    """
    to = to.absolute()
    # An empty folder is replaced by the new one; the working directory and a root cannot be replaced.
    if to.name in {"", ".."} or to.resolve() == Path.cwd():
        raise ConfigError(f"{to} cannot be replaced by the data set; name a folder that does not exist.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"{to} holds something already; name a folder that does not exist.")
    partial = to.with_name(f".{to.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        if to.exists():
            to.rmdir()
        partial.replace(to)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror or error}.") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(partial, ignore_errors=True)
