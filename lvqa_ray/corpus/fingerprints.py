"""File stamp: a hash of location, size and modification time, which shows changes without reading the file.

`read_manifest` puts stamps into the fingerprint column; `Identities` replaces them by content hashes.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import chain

import pyarrow as pa

from lvqa_ray.corpus.video_table import VIDEO_COLUMNS, Videos
from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.remote import RemoteFile, file_status, is_remote

LOOKS_AT_ONCE = 16
"""Groups of files whose status is requested in parallel if that is slow: on a network, or in a bucket."""
A_LOOK = 64
"""Files in a group."""
SLOW_S = 2e-4
"""Time of one status request (s) above which threads help; below it, they only compete for the GIL."""


def fingerprinted(videos: Videos, access: StorageOptions) -> Videos:
    """The videos with their stamps in the fingerprint column; empty if there is no file.

    Args:
        videos: The videos.
        access: Options of object stores.

    Raises:
        ValueError: A path is invalid (it contains a null byte).
    """
    parts, slow = [], False
    stamps_of = partial(_fingerprints, access=access)
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        for start in range(0, len(videos), LOOKS_AT_ONCE * A_LOOK):
            part = videos.table.slice(start, LOOKS_AT_ONCE * A_LOOK)
            files = list(zip(part["uri"].to_pylist(), part["fingerprint"].to_pylist(), strict=True))
            groups = [files[at : at + A_LOOK] for at in range(0, len(files), A_LOOK)]
            begun = time.monotonic()
            found = list(chain.from_iterable((pool.map if slow else map)(stamps_of, groups)))
            slow = slow or time.monotonic() - begun > SLOW_S * len(files)
            at = VIDEO_COLUMNS.get_field_index("fingerprint")
            parts.append(part.set_column(at, VIDEO_COLUMNS.field(at), pa.array(found, pa.string())))
    return Videos.joined(parts)


def _fingerprints(files: Sequence[tuple[bytes, str]], access: StorageOptions) -> list[str]:
    return [known or _fingerprint(uri, access) for uri, known in files]


def fingerprint(uri: str, access: StorageOptions | None = None) -> str:
    """The stamp of a file: 16 hex digits that change with its location, size or time; empty if there is no file."""
    # As bytes: file names need not be UTF-8.
    return _fingerprint(os.fsencode(uri), StorageOptions.here() if access is None else access)


def _fingerprint(uri: bytes, access: StorageOptions) -> str:
    if b"://" in uri and is_remote(os.fsdecode(uri)):
        try:
            return of_remote(file_status(os.fsdecode(uri), access))
        except FetchError as error:  # the worker that opens the file reports why
            # An empty stamp would make all unreachable files look the same.
            return "" if error.kind == "missing_file" else _unknown(os.fsdecode(uri))
    try:
        stat = os.stat(uri)  # noqa: PTH116 - called a million times
    except OSError:
        return ""
    return _local(uri, stat)


def stamp_elsewhere(uri: str, before: str, access: StorageOptions) -> str:
    """The stamp that a file would have at another location: if that stamp is known, the file was moved.

    Args:
        uri: Location of the file.
        before: The other location, as in the tables.
        access: Options of object stores.
    """
    if is_remote(uri) != is_remote(before):
        return ""
    if not is_remote(uri):
        try:
            return _local(os.fsencode(before), os.stat(uri))  # noqa: PTH116 - a path of any bytes
        except (OSError, ValueError):
            return ""
    try:
        return of_remote(replace(file_status(uri, access), uri=before))
    except FetchError:
        return ""


def _local(uri: bytes, stat: os.stat_result) -> str:
    return _short(b"%b\0%d\0%d" % (uri, stat.st_size, stat.st_mtime_ns))


def all_out_of_reach(videos: Videos) -> bool:
    """Whether all videos are in object stores, and the status of none is known."""
    return all(is_store(video.uri) and video.fingerprint in ("", _unknown(video.uri)) for video in videos)


def of_remote(file: RemoteFile) -> str:
    """The stamp of a file in a store or on a server."""
    # Signatures in URLs change while the file stays the same.
    location = redact_url(file.uri) if file.version else file.uri
    return _short(f"{location}\0{file.size}\0{file.version}".encode())


def out_of_reach(uri: str, stamp: str) -> bool:
    """Whether a stamp means that the status of a remote file is unknown."""
    return stamp == _unknown(uri)


def _unknown(uri: str) -> str:
    return _short(f"unknown\0{redact_url(uri)}".encode())


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
