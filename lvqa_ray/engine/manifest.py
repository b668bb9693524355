"""What the job names as its videos -> one `Video` each, with an id, a fingerprint and what came along."""

from __future__ import annotations

import csv
import glob
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from posixpath import splitext
from urllib.parse import urlsplit

import pyarrow as pa

from lvqa_ray.engine import manifest_rows
from lvqa_ray.engine.access import Access, is_store
from lvqa_ray.engine.fingerprints import all_out_of_reach, fingerprinted, of_remote
from lvqa_ray.engine.ids import safe, stem, unique
from lvqa_ray.engine.manifest_rows import check_remote, local
from lvqa_ray.engine.place import Place
from lvqa_ray.engine.remote import fetch, listing
from lvqa_ray.engine.videos import Videos
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.records import Video, shown

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg"),
        *("mts", "mxf", "ogv", "ts", "vob", "webm", "wmv"),
    )
)


def read_manifest(
    sources: Sequence[str], limit: int | None = None, *, without: Place | None = None, access: Access | None = None
) -> Videos:
    """The videos of a job, in the order in which they are named.

    Args:
        sources: Files, folders, glob patterns and manifests.
        limit: Take only the first so many.
        without: A folder that no folder or pattern is searched in: the output, which may hold clip files.
        access: How stores are reached; as the environment says, if not given.

    Returns:
        Videos with ids that are unique among all of them, whatever the limit.

    Raises:
        ConfigError: A source does not exist, a line cannot be read, there is no video at all, or all are in a bucket
            that cannot be reached.
    """
    access = Access.here() if access is None else access
    try:
        found = Videos.joined(part for source in sources for part in _parts(source, without, access))
        if not found:
            raise ConfigError(f"there is no video in {', '.join(map(shown, sources))}.")
        videos = fingerprinted(unique(found)[:limit], access)
        if all_out_of_reach(videos):  # S3 says why only where it is asked for a list
            next(listing(videos[0].uri.rpartition("/")[0], access, below=False, page=1), None)
        return videos
    except FetchError as error:
        raise ConfigError(str(error)) from None
    except (OSError, ValueError, RuntimeError, csv.Error) as error:  # a path or a line that cannot be
        raise ConfigError(f"{', '.join(map(shown, sources))} cannot be read: {error}.") from None


def _parts(source: str, without: Place | None, access: Access) -> Iterator[pa.Table]:
    """The videos of a source, as tables."""
    if "://" in source and not source.startswith("file://"):
        check_remote(source, "videos")
        if PurePosixPath(urlsplit(source).path).suffix.lower() in manifest_rows.SUFFIXES:
            yield from _remote_manifest(source, access)
        else:
            yield Videos.of(_remote_videos(source, without, access)).table
        return
    path = Path(local(source)).expanduser()
    if path.suffix.lower() in manifest_rows.SUFFIXES and path.is_file():
        yield from manifest_rows.read_rows(path)
    else:
        yield Videos.of(_videos_of(source, path, without)).table


def _videos_of(source: str, path: Path, without: Place | None) -> Iterator[Video]:
    if path.is_dir():
        entries = (entry for entry in path.rglob("*") if entry.suffix.lower() in VIDEO_SUFFIXES)
        files = sorted(entry for entry in entries if entry.is_file() and not _inside(entry, without))
        if not files:
            raise ConfigError(f"the folder {source} holds no video; looked for {', '.join(sorted(VIDEO_SUFFIXES))}.")
        yield from (_plain(str(file)) for file in files)
    elif path.exists():
        yield _plain(str(path))
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


def _remote_manifest(source: str, access: Access) -> Iterator[pa.Table]:
    """The videos of a manifest in another place; those that it names without a full path are beside it."""
    with tempfile.NamedTemporaryFile(suffix=PurePosixPath(urlsplit(source).path).suffix) as copy:
        fetch(source, copy, sys.maxsize, access)
        try:
            yield from manifest_rows.read_rows(Path(copy.name), beside=re.split("[?#]", source)[0].rpartition("/")[0])
        except ConfigError as error:
            raise ConfigError(str(error).replace(copy.name, shown(source))) from None


def _remote_videos(source: str, without: Place | None, access: Access) -> Iterator[Video]:
    suffix = PurePosixPath(urlsplit(source).path).suffix.lower()
    if not is_store(source) or (suffix in VIDEO_SUFFIXES and not glob.has_magic(source)):
        yield Video(id=safe(stem(source)), uri=source, fingerprint="")
        return
    found = False
    for file in listing(source, access):  # a million of them: `PurePosixPath` takes 10 us for a suffix
        if splitext(file.uri)[1].lower() in VIDEO_SUFFIXES and not file.uri.startswith(f"{without}/"):
            found = True
            yield Video(id=safe(stem(file.uri)), uri=file.uri, fingerprint=of_remote(file))
    if not found:
        raise ConfigError(f"there is no video at {source}; looked for {', '.join(sorted(VIDEO_SUFFIXES))}.")


def _inside(file: Path, folder: Place | None) -> bool:
    return isinstance(folder, Path) and file.absolute().is_relative_to(folder)


def _plain(path: str) -> Video:
    return Video(id=safe(Path(path).stem), uri=str(Path(path).absolute()), fingerprint="")
