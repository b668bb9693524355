"""Manifest file parser: rows of JSON, JSON Lines, CSV and Parquet -> columns, in batches."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lvqa_ray.corpus.video_ids import safe, safe_all, stem
from lvqa_ray.corpus.video_table import VIDEOS_AT_ONCE, columns
from lvqa_ray.errors import ConfigError
from lvqa_ray.records import redact_url
from lvqa_ray.records.safe_text import SUSPECT, safe_text
from lvqa_ray.records.uri import path_of_file_url, scheme_of
from lvqa_ray.storage.remote import is_remote

MANIFEST_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".parquet", ".csv"})
Rows = Iterator[tuple[int, Any]]
"""Rows with their numbers."""
Where = Callable[[int], str]
"""Describes the position of a row by its number, for messages."""
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, default=str, allow_nan=False)
_PARSE = json.JSONDecoder()
_ESCAPED_OR_SUSPECT = re.compile(rf"\\|{SUSPECT}|[\ud800-\udfff]")
"""Matches every encoded object with a text that `safe_text` may change."""
csv.field_size_limit(2**31 - 1)


def read_rows(path: Path, *, base_uri: str = "") -> Iterator[pa.Table]:
    """The videos of a manifest, as tables for `Videos`.

    Args:
        path: A local file.
        base_uri: Folder of the remote manifest that the file is a copy of; relative paths are relative to it.

    Raises:
        ConfigError: An entry is invalid or names no video; the message says which.
        OSError, ValueError: An entry has an invalid path.
    """
    word, rows = _rows(path)

    def where(number: int) -> str:
        return f"{path}, {word} {number}"

    while some := list(islice(rows, VIDEOS_AT_ONCE)):
        numbers = [number for number, _ in some]
        if names := _plain_names(some):
            uris, stems = _locate(names, numbers, where, base_uri or path.parent)
            nothing: list[str | None] = [None] * len(names)
            yield columns(safe_all(stems), uris, nothing, nothing)
            continue
        names = [_name(row, number, where) for number, row in some]
        idents = [_ident(row, number, where) if "id" in row else "" for number, row in some]
        turns = [_turns(row["conversation"], number, where) if "conversation" in row else None for number, row in some]
        extras = [_extra(row, ident) if len(row) > 1 else None for (_, row), ident in zip(some, idents, strict=True)]
        uris, stems = _locate(names, numbers, where, base_uri or path.parent)
        yield columns(_ids(idents, stems), uris, turns, extras, [bool(ident) for ident in idents])


def _plain_names(some: Sequence[tuple[int, Any]]) -> list[str]:
    """The video names of rows that have no other field; else an empty list."""
    try:
        names = [row["video"] for _, row in some if len(row) == 1]
    except (TypeError, KeyError, IndexError):
        return []
    return names if len(names) == len(some) and set(map(type, names)) == {str} and all(map(str.strip, names)) else []


def _rows(path: Path) -> tuple[str, Rows]:
    """The format's word for a row, and the rows."""
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
        batches = pq.ParquetFile(path).iter_batches(VIDEOS_AT_ONCE)
        yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"{path} is no readable Parquet file: {error}.") from None


def _csv(path: Path) -> Rows:
    with _text(path) as file:
        reader = csv.DictReader(file)
        yield from ((reader.line_num, row) for row in reader)


def _json_list(path: Path) -> Rows:
    try:
        with _text(path) as file:
            rows = json.load(file)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {error.lineno} is not valid JSON: {error.msg}.") from None
    yield from enumerate(rows if isinstance(rows, list) else [rows], start=1)


def _json_lines(path: Path) -> Rows:
    with _text(path) as file:
        number = 1
        while lines := list(islice(file, VIDEOS_AT_ONCE)):
            yield from _parse_batch(lines, number) or _parse_each(lines, number, path)
            number += len(lines)


def _parse_batch(lines: list[str], number: int) -> Rows | None:
    """Parse lines in one call, in a third of the time; ``None`` if not every line is one JSON object."""
    objects = [line.strip() for line in lines]
    # A line that continues an object does not begin with a brace.
    if not all(each.startswith("{") and each.endswith("}") for each in objects):
        return None
    try:
        rows = _PARSE.decode(f"[{','.join(objects)}]")
    except json.JSONDecodeError:
        return None
    return enumerate(rows, start=number) if len(rows) == len(lines) else None


def _parse_each(lines: list[str], number: int, path: Path) -> Rows:
    for at, line in enumerate(lines, start=number):
        if line.strip():
            yield at, _json(line, f"{path}, line {at}")


@contextmanager
def _text(path: Path) -> Iterator[TextIO]:
    """Open a file as UTF-8 text."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield file
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}.") from None


def _json(text: str, where: str) -> object:
    try:
        return _PARSE.decode(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not valid JSON, at column {error.colno}: {error.msg}.") from None


def _name(row: object, number: int, where: Where) -> str:
    """The video of a row, as the manifest names it."""
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


def _turns(given: object, number: int, where: Where) -> str | None:
    if isinstance(given, str) and given.strip():
        given = _json(given, f"{where(number)}, conversation")
    if not given:
        return None
    turns: list[Any] = given if isinstance(given, list) else [given]
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("value", ""), str):
            raise ConfigError(f'{where(number)}: `conversation` must be a list of {{"from": ..., "value": ...}}.')
    return json.dumps([[safe_text(str(turn.get("from", "human"))), safe_text(turn.get("value", ""))] for turn in turns])


def _extra(row: Mapping[str, Any], ident: str) -> str | None:
    """The further columns as one JSON object; ``None`` if there are none."""
    extra = {key: value for key, value in row.items() if key not in {"video", "id", "conversation"} and key is not None}
    if ident and ident != safe(ident):
        extra["id"] = ident  # the original id, for joins with the source
    if not extra:
        return None
    with suppress(ValueError):  # NaN or infinity, which JSON lacks
        encoded = _JSON.encode(extra)
        if not _ESCAPED_OR_SUSPECT.search(encoded):  # `_storable` would change nothing
            return encoded
    return _JSON.encode(_storable(extra))


def _storable(value: object) -> object:
    """The value with safe texts, and with null for NaN (a missing number in Parquet) and infinity."""
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {safe_text(str(key)): _storable(inner) for key, inner in value.items()}
    return [_storable(inner) for inner in value] if isinstance(value, list) else value


def _ids(given: Sequence[str], stems: pa.Array) -> pa.Array:
    if any(given):
        stems = pa.array([ident or name for ident, name in zip(given, stems.to_pylist(), strict=True)])
    return safe_all(stems)


_PLAIN = r"^(/[^/~.][^/]*)*/[^/~.]([^/]*[^/.])?$"
"""An absolute path that needs no normalization."""
_STEM = r"(?P<name>[^/]*?)(?:\.[^./]*)?$"


def _locate(
    names: list[str], numbers: Sequence[int], where: Where, folder: Path | str
) -> tuple[list[str] | pa.Array, pa.Array]:
    """The URIs and the file stems of videos."""
    try:
        paths = pa.array(names, pa.string())
    except UnicodeEncodeError:
        found = [_locate_one(name, where(number), folder) for name, number in zip(names, numbers, strict=True)]
        return [uri for uri, _ in found], pa.array([safe(name) for _, name in found], pa.string())
    stems = pc.struct_field(pc.extract_regex(paths, _STEM), "name")
    others = np.flatnonzero(~pc.match_substring_regex(paths, _PLAIN).to_numpy(zero_copy_only=False))
    if not len(others):
        return paths.cast(pa.binary()), stems
    uris, all_stems = list(names), stems.to_pylist()
    for at in map(int, others):
        uris[at], all_stems[at] = _locate_one(names[at], where(numbers[at]), folder)
    return uris, pa.array([safe(name) for name in all_stems], pa.string())


def _locate_one(name: str, where: str, folder: Path | str) -> tuple[str, str]:
    """The URI and the file stem of a video."""
    if scheme_of(name) not in ("", "file"):
        check_remote(name, where)
        return name, stem(name)
    if isinstance(folder, str) and not name.startswith(("/", "~/")) and not scheme_of(name):
        return (uri := f"{folder}/{name}"), stem(uri)
    path = local(name)
    by_manifest = Path(folder) / path
    if not path.is_absolute() and by_manifest.exists():
        if path.exists() and not path.samefile(by_manifest):
            raise ConfigError(
                f"{where}: {name} is there twice, in this folder and beside the manifest; give a full path."
            )
        path = by_manifest
    return str(path.absolute()), path.stem


def check_remote(uri: str, where: str) -> None:
    """Refuse unsupported URI schemes.

    Raises:
        ConfigError: The message names the supported ones.
    """
    if not is_remote(uri):
        raise ConfigError(f"{where}: {redact_url(uri)}: only files, s3:// and http(s):// are read.")


def local(name: str) -> Path:
    """The path of a local file: decodes file:// URLs, and expands ``~/`` to the home folder."""
    if scheme_of(name) == "file":
        return Path(path_of_file_url(name))
    return Path(name).expanduser() if name == "~" or name.startswith("~/") else Path(name)
