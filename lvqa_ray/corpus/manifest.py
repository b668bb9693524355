"""Input manifest: the sources of a job -> one `Video` each, with an id, a fingerprint and the manifest's data."""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from posixpath import splitext

import pyarrow as pa

from lvqa_ray.corpus import manifest_files
from lvqa_ray.corpus.fingerprints import all_out_of_reach, fingerprinted, of_remote
from lvqa_ray.corpus.manifest_files import check_remote, local
from lvqa_ray.corpus.video_ids import safe, stem, unique
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.records import Video, redact_url
from lvqa_ray.records.uri import folder_of, scheme_of, suffix_of
from lvqa_ray.storage.folders import files_below
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.paths import StoragePath
from lvqa_ray.storage.patterns import UriPattern, split, split_uri
from lvqa_ray.storage.remote import download, file_status, list_files

VIDEO_SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("3gp", "asf", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg"),
        *("mts", "mxf", "ogv", "ts", "vob", "webm", "wmv"),
    )
)


def read_manifest(
    sources: Sequence[str],
    limit: int | None = None,
    *,
    without: StoragePath | None = None,
    access: StorageOptions | None = None,
) -> Videos:
    """The videos of a job, in the order of its sources.

    Args:
        sources: Files, folders, glob patterns (see `patterns`) and manifests.
        limit: Maximum number of videos.
        without: A folder to skip: the output, which may hold clip files.
        access: Options of object stores; from the environment, if not given.

    Returns:
        Videos with ids that are unique among all sources, whatever the limit.

    Raises:
        ConfigError: A source does not exist, a manifest entry is invalid, there is no video, or all videos are in an
            unreachable bucket.
    """
    access = StorageOptions.here() if access is None else access
    try:
        found = Videos.joined(part for source in sources for part in _parts(source, without, access))
        if not found:
            raise ConfigError(f"there is no video in {', '.join(map(redact_url, sources))}.")
        videos = fingerprinted(unique(found)[:limit], access)
        if all_out_of_reach(videos):  # listing yields S3's error code
            next(list_files(videos[0].uri.rpartition("/")[0], access, below=False, page=1), None)
        return videos
    except FetchError as error:
        raise ConfigError(str(error)) from None
    except (OSError, ValueError, RuntimeError, csv.Error) as error:  # an invalid path or line
        raise ConfigError(f"{', '.join(map(redact_url, sources))} cannot be read: {error}.") from None


def _parts(source: str, without: StoragePath | None, access: StorageOptions) -> Iterator[pa.Table]:
    """The videos of a source, as tables."""
    if scheme_of(source) not in ("", "file"):
        check_remote(source, "videos")
        yield from _remote_parts(source, without, access)
        return
    path = local(source)
    if path.suffix.lower() in manifest_files.MANIFEST_SUFFIXES and path.is_file():
        yield from manifest_files.read_rows(path)
    else:
        yield Videos.of(_videos_of(source, path, without)).table


def _videos_of(source: str, path: Path, without: StoragePath | None) -> Iterator[Video]:
    skipped = without if isinstance(without, Path) else None
    if path.is_dir():
        files = files_below(path, VIDEO_SUFFIXES, without=skipped)
        if not files:
            raise ConfigError(f"the folder {source} holds no video; looked for {', '.join(sorted(VIDEO_SUFFIXES))}.")
    elif path.exists():
        files = [str(path)]
    else:
        base, pattern = split(str(path), os.path.lexists)
        if not pattern:
            raise ConfigError(f"{source} does not exist.")
        files = files_below(Path(base), VIDEO_SUFFIXES, pattern=pattern, without=skipped) if Path(base).is_dir() else []
        if not files:
            raise ConfigError(f"no file matches {source}.")
    yield from map(_plain, files)


def _remote_parts(source: str, without: StoragePath | None, access: StorageOptions) -> Iterator[pa.Table]:
    """The videos of a remote source; an http(s):// URL is a manifest or a video, never a pattern."""
    found = split_uri(source, access) if is_store(source) else UriPattern(source, "")
    suffix = "" if found.pattern or source.endswith("/") else suffix_of(source)
    if suffix in manifest_files.MANIFEST_SUFFIXES:
        yield from _remote_manifest(source, suffix, access)
    elif not is_store(source) or (not found.pattern and _is_object(source, suffix, access)):
        yield Videos.of([Video(id=safe(stem(source)), uri=source, fingerprint="")]).table
    else:
        yield Videos.of(_listed(source, found, without, access)).table


def _is_object(uri: str, suffix: str, access: StorageOptions) -> bool:
    """Whether a URI names an object and not a prefix; also true for a missing object with a video's suffix."""
    if uri.endswith("/"):  # a folder marker of some tools
        return False
    try:
        file_status(uri, access)
    except FetchError:
        if suffix not in VIDEO_SUFFIXES:
            return False
    else:
        return True
    try:
        return next(list_files(uri, access, page=1), None) is None
    except FetchError:  # listing may be forbidden while objects can be read
        return True


def _remote_manifest(source: str, suffix: str, access: StorageOptions) -> Iterator[pa.Table]:
    """The videos of a remote manifest; relative paths are relative to its folder."""
    with tempfile.NamedTemporaryFile(suffix=suffix) as copy:
        download(source, copy, sys.maxsize, access)
        try:
            yield from manifest_files.read_rows(Path(copy.name), base_uri=folder_of(source))
        except ConfigError as error:
            raise ConfigError(str(error).replace(copy.name, redact_url(source))) from None


def _listed(source: str, found: UriPattern, without: StoragePath | None, access: StorageOptions) -> Iterator[Video]:
    found_any = False
    # Up to millions of files: `PurePosixPath` takes 10 us for a suffix.
    for file in list_files(found.base, access, pattern=found.pattern):
        if splitext(file.uri)[1].lower() in VIDEO_SUFFIXES and not file.uri.startswith(f"{without}/"):
            found_any = True
            yield Video(id=safe(stem(file.uri)), uri=file.uri, fingerprint=of_remote(file))
    if not found_any:
        raise ConfigError(f"there is no video at {source}; looked for {', '.join(sorted(VIDEO_SUFFIXES))}.")


def _plain(path: str) -> Video:
    return Video(id=safe(Path(path).stem), uri=str(Path(path).absolute()), fingerprint="")
