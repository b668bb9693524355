"""The rows of a manifest file -> columns, some thousands of rows at a time."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvqa_ray.corpus.video_ids import safe, safe_all, stem
from lvqa_ray.corpus.video_table import AT_ONCE, columns
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import redact_url
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.records.uri import path_of_file_url, scheme_of
from lvqa_ray.storage.remote import is_remote

SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".parquet", ".csv"})
Rows = Iterator[tuple[int, Any]]
"""Rows, each with its number."""
Where = Callable[[int], str]
"""Names the place of a row by its number, for an error."""
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str)
_PARSE = json.JSONDecoder()
_ONLY_VIDEO = re.compile(r'^\{"video": ?"([^"\\\x00-\x1f]+)"\}$', re.MULTILINE)
"""A line that names a video without any escapes, and says nothing else."""
csv.field_size_limit(2**31 - 1)


def read_rows(path: Path, *, beside: str = "") -> Iterator[pa.Table]:
    """The videos of a manifest, as tables for `Videos`.

    Args:
        path: A local file.
        beside: Address of the folder of the manifest, if it is a copy of one in another place: there the videos are
            that it names without a full path.

    Raises:
        ConfigError: A line cannot be read, or names no video: says which.
        OSError, ValueError: It names a place that cannot be.
    """
    word, rows = _rows(path)

    def where(number: int) -> str:
        return f"{path}, {word} {number}"

    while some := list(islice(rows, AT_ONCE)):
        numbers = [number for number, _ in some]
        if names := _plain_names(some):
            uris, called = _places(names, numbers, where, beside or path.parent)
            nothing: list[str | None] = [None] * len(names)
            yield columns(safe_all(called), uris, nothing, nothing)
            continue
        names = [_name(row, number, where) for number, row in some]
        idents = [_ident(row, number, where) if "id" in row else "" for number, row in some]
        turns = [_turns(row["conversation"], number, where) if "conversation" in row else None for number, row in some]
        extras = [_extra(row, ident) if len(row) > 1 else None for (_, row), ident in zip(some, idents, strict=True)]
        uris, called = _places(names, numbers, where, beside or path.parent)
        yield columns(_ids(idents, called), uris, turns, extras, [bool(ident) for ident in idents])


def _plain_names(some: Sequence[tuple[int, Any]]) -> list[str]:
    """What rows call their videos, if that is all that they say, as texts; else nothing."""
    try:
        names = [row["video"] for _, row in some if len(row) == 1]
    except (TypeError, KeyError, IndexError):
        return []
    return names if len(names) == len(some) and set(map(type, names)) == {str} and all(map(str.strip, names)) else []


def _rows(path: Path) -> tuple[str, Rows]:
    """What a manifest calls its rows, and these."""
    match path.suffix.lower():
        case ".parquet":
            return "row", _parquet(path)
        case ".csv":
            return "line", _csv(path)
        case ".json":
            return "entry", _json_list(path)
        case _:
            return "line", _json_lines(path)


def _parquet(path: Path) -> Rows:
    try:
        batches = pq.ParquetFile(path).iter_batches(AT_ONCE)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} is no readable Parquet file: {error}.") from None


def _csv(path: Path) -> Rows:
    reader = csv.DictReader(io.StringIO(_text(path)))
    yield from ((reader.line_num, row) for row in reader)


def _json_list(path: Path) -> Rows:
    try:
        rows = json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {error.lineno} is not valid JSON: {error.msg}.") from None
    yield from enumerate(rows if isinstance(rows, list) else [rows], start=1)


def _json_lines(path: Path) -> Rows:
    try:
        with path.open(encoding="utf-8-sig") as file:
            number = 1
            while lines := list(islice(file, AT_ONCE)):
                yield from _at_once(lines, number) or _one_by_one(lines, number, path)
                number += len(lines)
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _at_once(lines: list[str], number: int) -> Rows | None:
    """The rows of lines that are an object each, in a third of the time; ``None`` where they are not."""
    names = _ONLY_VIDEO.findall("".join(lines))
    if len(names) == len(lines):
        return enumerate(({"video": name} for name in names), start=number)
    objects = [line.strip() for line in lines]
    # An object that goes on in the next line would have a name there, and no brace.
    if not all(each.startswith("{") and each.endswith("}") for each in objects):
        return None
    try:
        rows = _PARSE.decode(f"[{','.join(objects)}]")
    except json.JSONDecodeError:
        return None
    return enumerate(rows, start=number) if len(rows) == len(lines) else None


def _one_by_one(lines: list[str], number: int, path: Path) -> Rows:
    for at, line in enumerate(lines, start=number):
        if line.strip():
            yield at, _json(line, f"{path}, line {at}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path} cannot be read as UTF-8 text: {error}.")


def _json(text: str, where: str) -> Any:  # noqa: ANN401 - whatever the line holds
    try:
        return _PARSE.decode(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not valid JSON, at column {error.colno}: {error.msg}.") from None


def _name(row: Any, number: int, where: Where) -> str:  # noqa: ANN401 - whatever the line holds
    """What a row calls its video."""
    if not isinstance(row, dict):
        raise ConfigError(f"{where(number)} is not an object with a `video` field.")
    given = row.get("video")
    name = given[0] if isinstance(given, list) and given else given
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{where(number)} names no video: `video` must be a path, or a list whose first item is one.")
    return name


def _ident(row: Mapping[str, Any], number: int, where: Where) -> str:
    ident = row.get("id")
    if ident is None:
        return ""
    if not isinstance(ident, str | int) or isinstance(ident, bool):
        raise ConfigError(f"{where(number)}: `id` must be a text or a whole number.")
    return str(ident).strip()


def _turns(given: Any, number: int, where: Where) -> str | None:  # noqa: ANN401 - whatever the line holds
    if isinstance(given, str) and given.strip():
        given = _json(given, f"{where(number)}, conversation")
    if not given:
        return None
    turns = given if isinstance(given, list) else [given]
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("value", ""), str):
            raise ConfigError(f'{where(number)}: `conversation` must be a list of {{"from": ..., "value": ...}}.')
    return json.dumps([[safe_text(str(turn.get("from", "human"))), safe_text(turn.get("value", ""))] for turn in turns])


def _extra(row: Mapping[str, Any], ident: str) -> str | None:
    """The further columns as one JSON object."""
    extra = {key: value for key, value in row.items() if key not in {"video", "id", "conversation"} and key is not None}
    if ident and ident != safe(ident):
        extra["id"] = ident  # or it could not be joined with what it comes from
    return _JSON.encode(_storable(extra)) if extra else None


def _storable(value: Any) -> Any:  # noqa: ANN401 - whatever the line holds
    """The value with null for numbers that JSON cannot say, such as a missing one in Parquet, and with safe texts."""
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {safe_text(str(key)): _storable(inner) for key, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def _ids(given: Sequence[str], called: Any) -> Any:  # noqa: ANN401 - Arrow arrays have no types
    if any(given):
        called = pa.array([ident or name for ident, name in zip(given, called.to_pylist(), strict=True)])
    return safe_all(called)


_PLAIN = r"^(/[^/~.][^/]*)*/[^/~.]([^/]*[^/.])?$"
"""A full path with nothing in it to make out."""
_CALLED = r"(?P<name>[^/]*?)(?:\.[^./]*)?$"


def _places(names: list[str], numbers: Sequence[int], where: Where, folder: Path | str) -> tuple[Any, Any]:
    """Where videos are, and what they are called."""
    try:
        said = pa.array(names, pa.string())
    except UnicodeEncodeError:
        found = [_place(name, where(number), folder) for name, number in zip(names, numbers, strict=True)]
        return [uri for uri, _ in found], pa.array([safe(called) for _, called in found], pa.string())
    called = pc.struct_field(pc.extract_regex(said, _CALLED), "name")
    others = np.flatnonzero(~pc.match_substring_regex(said, _PLAIN).to_numpy(zero_copy_only=False))
    if not len(others):
        return said.cast(pa.binary()), called
    names, calls = list(names), called.to_pylist()
    for at in map(int, others):
        names[at], calls[at] = _place(names[at], where(numbers[at]), folder)
    return names, pa.array([safe(name) for name in calls], pa.string())


def _place(name: str, where: str, folder: Path | str) -> tuple[str, str]:
    """Where a video is, and what it is called."""
    if scheme_of(name) not in ("", "file"):
        check_remote(name, where)
        return name, stem(name)
    if isinstance(folder, str) and not name.startswith(("/", "~/")) and not scheme_of(name):
        return (uri := f"{folder}/{name}"), stem(uri)
    path = local(name)
    beside = Path(folder) / path
    if not path.is_absolute() and beside.exists():
        if path.exists() and not path.samefile(beside):
            raise ConfigError(
                f"{where}: {name} is there twice, in this folder and beside the manifest; give a full path."
            )
        path = beside
    return str(path.absolute()), path.stem


def check_remote(uri: str, where: str) -> None:
    """Refuse an address of a kind that is not read.

    Raises:
        ConfigError: Says which are.
    """
    if not is_remote(uri):
        raise ConfigError(f"{where}: {redact_url(uri)}: only files, s3:// and http(s):// are read.")


def local(name: str) -> Path:
    """The path that a name of a local file means: file:// is decoded, and ``~/`` at its start is the home folder."""
    if scheme_of(name) == "file":
        return Path(path_of_file_url(name))
    return Path(name).expanduser() if name == "~" or name.startswith("~/") else Path(name)
