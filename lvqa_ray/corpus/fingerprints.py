"""The stamp of a file: a hash of its location, size and time, which tells without a read whether it is unchanged.

`read_manifest` puts stamps into the column of fingerprints; `Identities` replaces them by what names the content.
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

from lvqa_ray.corpus.video_table import COLUMNS, Videos
from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.remote import RemoteFile, file_status, is_remote

LOOKS_AT_ONCE = 16
"""Groups of files that are looked at at the same time, where a look takes long: on a network, or in a bucket."""
A_LOOK = 64
"""Files of a group."""
SLOW_S = 2e-4
"""Time of a look from which threads gain something; below, they only take turns at Python's lock."""


def fingerprinted(videos: Videos, access: StorageOptions) -> Videos:
    """The videos, each with its stamp in the column of fingerprints; it stays empty where there is no file.

    Args:
        videos: The videos.
        access: How stores are reached.

    Raises:
        ValueError: A path holds what no path can.
    """
    parts, slow = [], False
    look_at = partial(_fingerprints, access=access)
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        for start in range(0, len(videos), LOOKS_AT_ONCE * A_LOOK):
            part = videos.table.slice(start, LOOKS_AT_ONCE * A_LOOK)
            looks = list(zip(part["uri"].to_pylist(), part["fingerprint"].to_pylist(), strict=True))
            groups = [looks[at : at + A_LOOK] for at in range(0, len(looks), A_LOOK)]
            begun = time.monotonic()
            found = list(chain.from_iterable((pool.map if slow else map)(look_at, groups)))
            slow = slow or time.monotonic() - begun > SLOW_S * len(looks)
            at = COLUMNS.get_field_index("fingerprint")
            parts.append(part.set_column(at, COLUMNS.field(at), pa.array(found, pa.string())))
    return Videos.joined(parts)


def _fingerprints(looks: Sequence[tuple[bytes, str]], access: StorageOptions) -> list[str]:
    return [known or _fingerprint(uri, access) for uri, known in looks]


def fingerprint(uri: str, access: StorageOptions | None = None) -> str:
    """The stamp of a file: 16 hex digits that change with its location, size or time; empty if there is no file."""
    # The path as the bytes that it is: a name in another encoding than UTF-8 is a name too.
    return _fingerprint(os.fsencode(uri), StorageOptions.here() if access is None else access)


def _fingerprint(uri: bytes, access: StorageOptions) -> str:
    if b"://" in uri and is_remote(os.fsdecode(uri)):
        try:
            return of_remote(file_status(os.fsdecode(uri), access))
        except FetchError as error:  # the worker that meets it says why
            # Empty would make all files that could not be reached one and the same.
            return "" if error.kind == "missing_file" else _unknown(os.fsdecode(uri))
    try:
        stat = os.stat(uri)  # noqa: PTH116 - a million times
    except OSError:
        return ""
    return _local(uri, stat)


def stamp_elsewhere(uri: str, before: str, access: StorageOptions) -> str:
    """The stamp that a file would have in another location: equal to one of there, it is the same file, moved.

    Args:
        uri: Where the file is.
        before: The other location, as the tables show it.
        access: How stores are reached.
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
    """Whether all are in stores, and of none anything could be found out."""
    return all(is_store(video.uri) and video.fingerprint in ("", _unknown(video.uri)) for video in videos)


def of_remote(file: RemoteFile) -> str:
    """The stamp of a file in a store or on a server."""
    # A signature is another one every day; the file it leads to is the same.
    place = redact_url(file.uri) if file.version else file.uri
    return _short(f"{place}\0{file.size}\0{file.version}".encode())


def out_of_reach(uri: str, stamp: str) -> bool:
    """Whether a stamp says that nothing could be found out about a remote file."""
    return stamp == _unknown(uri)


def _unknown(uri: str) -> str:
    return _short(f"unknown\0{redact_url(uri)}".encode())


def _short(what: bytes) -> str:
    return hashlib.sha256(what).hexdigest()[:16]
