"""Records in the formats of other tools, divided into training and test data by video."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.report import export_formats

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        paths: The files, or the folder.
        counts: What is in them: ``train`` and ``test``, or ``all`` where nothing was divided.
        left_out: Records that the format cannot hold.
        what: What is counted.
    """

    paths: list[Path]
    counts: dict[str, int]
    left_out: int = 0
    what: str = "records"


def is_test(video_id: str, fraction: float) -> bool:
    """Whether a video belongs to the test data: drawn by its id alone, so it stays there when the corpus grows."""
    return int.from_bytes(hashlib.sha256(video_id.encode(errors="replace")).digest()[:8], "big") < fraction * 2**64


def split_of(video_id: str, fraction: float) -> str:
    """Name of the part that a video belongs to; all questions of a video belong to the same."""
    if not fraction:
        return "all"
    return "test" if is_test(video_id, fraction) else "train"


def records(output: OutputReader, columns: list[str]) -> Iterator[dict[str, Any]]:
    """The records of an output.

    Raises:
        ConfigError: There are none, or a shard cannot be read.
    """
    some = False
    for batch in output.batches("data", columns):
        some = True
        yield from batch.to_pylist()
    if not some:
        raise ConfigError(f"{output.folder} holds no records: {output.folder / 'data'} has no rows.")


def export_lines(output: OutputReader, to: Path, form: str, fraction: float = 0.0) -> Exported:
    """One file, or two, in one of `formats.FORMATS`.

    Args:
        output: Output of a run.
        to: The file; where it is divided, ``train`` and ``test`` are put before its suffix. One that ends in ``.json``
            holds an array, whatever the format usually is.
        form: The format.
        fraction: Share of the videos that become test data.

    Raises:
        ConfigError: There are no records, or a file cannot be written.
    """
    make, columns, array = export_formats.FORMATS[form]
    return _files(output, to, fraction, make, columns, array=array or to.suffix.lower() == ".json")


def _files(
    output: OutputReader,
    to: Path,
    fraction: float,
    make: Callable[[Row], dict[str, Any] | None],
    columns: list[str],
    *,
    array: bool,
) -> Exported:
    parts = ("train", "test") if fraction else ("all",)
    paths = {part: to.with_suffix(f".{part}{to.suffix}") if fraction else to for part in parts}
    counts, left_out = dict.fromkeys(parts, 0), 0
    with ExitStack() as stack:
        files = {part: stack.enter_context(writing(path)) for part, path in paths.items()}
        for record in records(output, list(dict.fromkeys([*columns, "video_id"]))):
            made = make(record)
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
    return Exported(list(paths.values()), counts, left_out)


@contextmanager
def writing(to: Path) -> Iterator[TextIO]:
    """A text file that appears when it is complete.

    Raises:
        ConfigError: It cannot be written.
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
