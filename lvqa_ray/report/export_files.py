"""Export of records to JSON files in other tools' formats, with a train/test split by video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.dataset.statistics.preference_pairs import TRACE_KEYS, TRACE_TEXTS, pair_of, questions, with_lengths
from lvqa_ray.errors import ConfigError
from lvqa_ray.report.export_formats import format_of


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of an export.

    Attributes:
        paths: The files, or the folder.
        counts: Number of items by split: ``train`` and ``test``, or ``all`` without a split.
        left_out: Number of records that the format cannot hold.
        what: Name of the counted items.
    """

    paths: list[Path]
    counts: dict[str, int]
    left_out: int = 0
    what: str = "records"


def split_of(video_id: str, fraction: float) -> str:
    """Split of a video: ``all``, ``test`` or ``train``.

    A hash of the id decides, so a video stays in its split when the corpus grows.
    """
    if not fraction:
        return "all"
    number = int.from_bytes(hashlib.sha256(video_id.encode(errors="replace")).digest()[:8], "big")
    return "test" if number < fraction * 2**64 else "train"


def records(output: OutputReader, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the records of an output as dictionaries.

    Raises:
        ConfigError: There are no records, or a shard cannot be read.
    """
    some = False
    for batch in output.batches("data", columns):
        some = True
        yield from batch.to_pylist()
    if not some:
        raise ConfigError(f"{output.folder} holds no records: {output.folder / 'data'} has no rows.")


def preference_pairs(output: OutputReader, columns: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the preference pair of each record with traces, as ``chosen`` and ``rejected``; both ``None`` for none.

    Raises:
        ConfigError: There are no traces, or a shard cannot be read.
    """
    wanted = list(dict.fromkeys([*TRACE_KEYS, *columns]))

    def rows() -> Iterator[dict[str, Any]]:
        for batch in output.batches("traces", list(dict.fromkeys([*wanted, *TRACE_TEXTS]))):
            yield from with_lengths(batch, wanted)

    some = False
    for traces in questions(rows()):
        some = True
        chosen, rejected = pair_of(traces) or (None, None)
        yield {"video_id": traces[0]["video_id"], "chosen": chosen, "rejected": rejected}
    if not some:
        raise ConfigError(
            f"{output.folder} holds no traces: run the job with checks.watch.policy set to mark or drop (checks.solve "
            "makes some too)."
        )


def export_lines(output: OutputReader, to: Path, form: str, fraction: float = 0.0) -> Exported:
    """Write one JSON object per record, to one file or one per split.

    Args:
        output: Output of a run.
        to: The file; with a split, ``.train`` and ``.test`` are inserted before its suffix. A file that ends in
            ``.json`` always holds an array.
        form: Name of the format, built in or from a package.
        fraction: Share of the videos for the test split.

    Raises:
        ConfigError: There are no records, or a file cannot be written.
    """
    made_by = format_of(form)
    array = made_by.array or to.suffix.lower() == ".json"
    parts = ("train", "test") if fraction else ("all",)
    paths = {part: to.with_suffix(f".{part}{to.suffix}") if fraction else to for part in parts}
    counts, left_out = dict.fromkeys(parts, 0), 0
    with ExitStack() as stack:
        files = {part: stack.enter_context(writing(path)) for part, path in paths.items()}
        rows = preference_pairs if made_by.pairs else records
        for record in rows(output, list(dict.fromkeys([*made_by.columns, "video_id"]))):
            made = made_by.make(record)
            if made is None:
                left_out += 1
                continue
            part = split_of(record["video_id"], fraction)
            if array:
                files[part].write("[\n" if counts[part] == 0 else ",\n")
                files[part].write(json.dumps(made, ensure_ascii=False, indent=4))
            else:
                files[part].write(json.dumps(made, ensure_ascii=False) + "\n")
            counts[part] += 1
        for part, file in files.items() if array else ():
            file.write("\n]\n" if counts[part] else "[]\n")
    return Exported(list(paths.values()), counts, left_out, made_by.what)


@contextmanager
def writing(to: Path) -> Iterator[TextIO]:
    """Atomic write of a text file: it appears under its name when it is complete.

    Raises:
        ConfigError: The file cannot be written.
    """
    if to.is_dir():
        raise ConfigError(f"{to} is a folder; name a file in it.")
    partial = to.with_name(f".{to.name}.partial")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", errors="replace") as file:
            yield file
        partial.replace(to)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
