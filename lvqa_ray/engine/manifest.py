"""What the job names as its videos -> one `Video` each, with an id, a fingerprint and what came along."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from lvqa_ray.engine.access import Access, is_store
from lvqa_ray.engine.ids import safe, stem, unique
from lvqa_ray.engine.place import Place
from lvqa_ray.engine.remote import RemoteFile, fetch, is_remote, listing, look
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.records import Turn, Video, shown

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg"),
        *("mts", "mxf", "ogv", "ts", "vob", "webm", "wmv"),
    )
)
MANIFEST_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".parquet", ".csv"})
LOOKS_AT_ONCE = 16
"""Groups of files that are looked at at the same time, of which many may be in other places."""
A_LOOK = 64
"""Files of a group."""
csv.field_size_limit(2**31 - 1)


def read_manifest(
    sources: Sequence[str], limit: int | None = None, *, without: Place | None = None, access: Access | None = None
) -> list[Video]:
    """The videos of a job, in the order in which they are named.

    Args:
        sources: Files, folders, glob patterns and manifests.
        limit: Take only the first so many.
        without: A folder that no folder or pattern is searched in: the output, which may hold clip files.
        access: How stores are reached; as the environment says, if not given.

    Returns:
        Videos with ids that are unique among all of them, whatever the limit.

    Raises:
        ConfigError: A source does not exist, a line cannot be read, or there is no video at all.
    """
    access = Access.here() if access is None else access
    look_at = partial(_look, access=access)
    try:
        found = [video for source in sources for video in _videos_of(source, without, access)]
        if not found:
            raise ConfigError(f"there is no video in {', '.join(map(shown, sources))}.")
        videos = unique(found)[:limit]
        del found
        with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
            for start in range(0, len(videos), LOOKS_AT_ONCE * A_LOOK):
                group = [videos[at : at + A_LOOK] for at in range(start, start + LOOKS_AT_ONCE * A_LOOK, A_LOOK)]
                videos[start : start + LOOKS_AT_ONCE * A_LOOK] = chain.from_iterable(pool.map(look_at, group))
        return videos
    except FetchError as error:
        raise ConfigError(str(error)) from None
    except (OSError, ValueError, RuntimeError, csv.Error) as error:  # a path or a line that cannot be
        raise ConfigError(f"{', '.join(map(shown, sources))} cannot be read: {error}.") from None


def _look(videos: Sequence[Video], access: Access) -> list[Video]:
    return [
        video
        if video.fingerprint
        else Video(  # `replace` takes three times as long
            id=video.id,
            uri=video.uri,
            fingerprint=fingerprint(video.uri, access),
            conversation=video.conversation,
            extra=video.extra,
        )
        for video in videos
    ]


def fingerprint(uri: str, access: Access) -> str:
    """16 hex digits that change with the file's place, size or time; empty if there is no file."""
    if is_remote(uri):
        try:
            return _fingerprint(look(uri, access))
        except FetchError:  # the worker that meets it says why
            return ""
    try:
        stat = os.stat(uri)  # noqa: PTH116 - a million times
    except OSError:
        return ""
    # The path as the bytes that it is: a name in another encoding than UTF-8 is a name too.
    what = os.fsencode(uri) + f"\0{stat.st_size}\0{stat.st_mtime_ns}".encode()
    return hashlib.sha256(what).hexdigest()[:16]


def _fingerprint(file: RemoteFile) -> str:
    # A signature is another one every day; the file it leads to is the same.
    place = shown(file.uri) if file.version else file.uri
    return hashlib.sha256(f"{place}\0{file.size}\0{file.version}".encode()).hexdigest()[:16]


def _videos_of(source: str, without: Place | None, access: Access) -> Iterator[Video]:
    if "://" in source and not source.startswith("file://"):
        yield from _remote_videos(source, without, access)
        return
    path = Path(_local(source)).expanduser()
    if path.is_dir():
        entries = (entry for entry in path.rglob("*") if entry.suffix.lower() in VIDEO_SUFFIXES)
        files = sorted(entry for entry in entries if entry.is_file() and not _inside(entry, without))
        if not files:
            raise ConfigError(f"the folder {source} holds no video; looked for {', '.join(sorted(VIDEO_SUFFIXES))}.")
        yield from (_plain(str(file)) for file in files)
    elif path.exists():
        yield from _manifest(path) if path.suffix.lower() in MANIFEST_SUFFIXES else [_plain(str(path))]
    elif glob.has_magic(source):
        pattern = str(path.relative_to(path.anchor)) if path.anchor else str(path)
        files = sorted(
            file for file in Path(path.anchor).glob(pattern) if file.is_file() and not _inside(file, without)
        )
        if not files:
            raise ConfigError(f"no file matches {source}.")
        yield from (_plain(str(file)) for file in files)
    else:
        raise ConfigError(f"{source} does not exist.")


def _remote_videos(source: str, without: Place | None, access: Access) -> Iterator[Video]:
    _check_remote(source, "videos")
    suffix = PurePosixPath(urlsplit(source).path).suffix.lower()
    if suffix in MANIFEST_SUFFIXES:
        yield from _remote_manifest(source, suffix, access)
        return
    if not is_store(source) or (suffix in VIDEO_SUFFIXES and not glob.has_magic(source)):
        yield _remote_plain(source)
        return
    found = False
    for file in listing(source, access):
        if PurePosixPath(file.uri).suffix.lower() in VIDEO_SUFFIXES and not file.uri.startswith(f"{without}/"):
            found = True
            yield replace(_remote_plain(file.uri), fingerprint=_fingerprint(file))
    if not found:
        raise ConfigError(f"there is no video at {source}; looked for {', '.join(sorted(VIDEO_SUFFIXES))}.")


def _remote_manifest(source: str, suffix: str, access: Access) -> Iterator[Video]:
    """The videos of a manifest in another place; those that it names without a full path are beside it."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        fetch(source, copy, sys.maxsize, access)
        try:
            for where, row in _lines(Path(copy.name)):
                yield _row(row, where.replace(copy.name, shown(source)), source.rpartition("/")[0])
        except ConfigError as error:
            raise ConfigError(str(error).replace(copy.name, shown(source))) from None


def _check_remote(uri: str, where: str) -> None:
    if not is_remote(uri):
        raise ConfigError(f"{where}: {shown(uri)}: only files, s3:// and http(s):// are read.")


def _local(name: str) -> str:
    """The path that a file:// URI means; other names as they are."""
    return unquote(urlsplit(name).path) if name.startswith("file://") else name


def _remote_plain(uri: str) -> Video:
    return Video(id=safe(stem(uri)), uri=uri, fingerprint="")


def _inside(file: Path, folder: Place | None) -> bool:
    return isinstance(folder, Path) and file.absolute().is_relative_to(folder)


def _plain(path: str) -> Video:
    return Video(id=safe(Path(path).stem), uri=str(Path(path).absolute()), fingerprint="")


def _manifest(path: Path) -> Iterator[Video]:
    folder = path.parent
    for where, row in _lines(path):
        yield _row(row, where, folder)


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """Rows of a manifest, each with the place to name in an error."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        try:
            rows = pq.read_table(path).to_pylist()
        except (pa.ArrowException, OSError) as error:
            raise ConfigError(f"{path} is no readable Parquet file: {error}.") from None
        yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, start=1))
        return
    try:
        with path.open(encoding="utf-8-sig") as file:
            if suffix == ".csv":
                reader = csv.DictReader(io.StringIO(file.read()))
                yield from ((f"{path}, line {reader.line_num}", row) for row in reader)
            elif suffix == ".json":
                yield from _json_rows(path, file.read())
            else:
                name = str(path)
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        where = f"{name}, line {number}"
                        yield where, _json(line, where)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as UTF-8 text: {error}.") from None


def _json_rows(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}, line {error.lineno} is not valid JSON: {error.msg}.") from None
    rows = rows if isinstance(rows, list) else [rows]
    yield from ((f"{path}, entry {number}", row) for number, row in enumerate(rows, start=1))


def _json(line: str, where: str) -> Any:  # noqa: ANN401 - whatever the line holds
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not valid JSON, at column {error.colno}: {error.msg}.") from None


def _row(row: Any, where: str, folder: Path | str) -> Video:  # noqa: ANN401 - whatever the line holds
    if not isinstance(row, Mapping):
        raise ConfigError(f"{where} is not an object with a `video` field.")
    given = row.get("video")
    name = given[0] if isinstance(given, list) and given else given
    if not isinstance(name, str) or not name.strip():
        raise ConfigError(f"{where} names no video: `video` must be a path, or a list whose first item is one.")
    uri, called = _place(name, where, folder)
    ident = row.get("id")
    if ident is not None and (not isinstance(ident, str | int) or isinstance(ident, bool)):
        raise ConfigError(f"{where}: `id` must be a text or a whole number.")
    ident = str(ident).strip() if ident is not None else ""
    extra = {key: value for key, value in row.items() if key not in {"video", "id", "conversation"} and key is not None}
    if ident and ident != safe(ident):
        extra["id"] = ident  # or it could not be joined with what it comes from
    return Video(
        id=safe(ident or called),
        uri=uri,
        fingerprint="",
        conversation=_conversation(row.get("conversation"), where),
        extra=json.dumps(_without_nan(extra), ensure_ascii=False, sort_keys=True, default=str) if extra else "{}",
    )


_PLAIN = re.compile(r"(/[^/~.][^/]*)+(?<!\.)")
"""A full path with nothing in it to make out."""


def _place(name: str, where: str, folder: Path | str) -> tuple[str, str]:
    """Where a video of a manifest is, and what it is called."""
    if "://" in name and not name.startswith("file://"):
        _check_remote(name, where)
        return name, stem(name)
    if isinstance(folder, str) and not name.startswith(("/", "~", "file://")):
        return f"{folder}/{name}", stem(name)
    if _PLAIN.fullmatch(name):
        return name, os.path.splitext(name)[0].rpartition("/")[2]  # noqa: PTH122 - a million times
    path = Path(_local(name)).expanduser()
    beside = Path(folder) / path
    if not path.is_absolute() and beside.exists():
        if path.exists() and not path.samefile(beside):
            raise ConfigError(
                f"{where}: {name} is there twice, in this folder and beside the manifest; give a full path."
            )
        path = beside
    return str(path.absolute()), path.stem


def _without_nan(value: Any) -> Any:  # noqa: ANN401 - whatever the line holds
    """The value with null for the numbers that JSON cannot say, such as a missing number in a Parquet column."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _without_nan(inner) for key, inner in value.items()}
    return [_without_nan(inner) for inner in value] if isinstance(value, list) else value


def _conversation(given: Any, where: str) -> tuple[Turn, ...]:  # noqa: ANN401 - whatever the line holds
    if isinstance(given, str) and given.strip():
        given = _json(given, f"{where}, conversation")
    if not given:
        return ()
    turns = given if isinstance(given, list) else [given]
    for turn in turns:
        if not isinstance(turn, Mapping) or not isinstance(turn.get("value", ""), str):
            raise ConfigError(f'{where}: `conversation` must be a list of {{"from": ..., "value": ...}}.')
    return tuple(Turn(speaker=str(turn.get("from", "human")), value=turn.get("value", "")) for turn in turns)
