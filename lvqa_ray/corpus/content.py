"""The content of a video file as a hash: of its size, and of its head, middle and tail."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from lvqa_ray.errors import FetchError
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import is_remote, open_in_parts, read_at

WINDOW = 2**16
"""Bytes of the head, of the middle and of the tail that are hashed."""
WHOLE = 2**20
"""A file of at most so many bytes is hashed as a whole."""
FORMAT = b"content-1"
LOCAL_AT_ONCE, REMOTE_AT_ONCE = 16, 64
"""Files that are read at the same time: from disks, and from stores and servers, where a read mostly waits."""
ReadAt = Callable[[int, int], bytes]
"""Reads bytes of a file: from an offset, a number of them."""


def contents(uris: Sequence[bytes], access: StorageOptions) -> list[str]:
    """The content hash of each file; empty for a file that is empty or cannot be read in parts."""
    remote = any(b"://" in uri and is_remote(os.fsdecode(uri)) for uri in uris)
    with ThreadPoolExecutor(REMOTE_AT_ONCE if remote else LOCAL_AT_ONCE) as pool:
        return list(pool.map(lambda uri: content(uri, access), uris))


def content(uri: bytes, access: StorageOptions) -> str:
    """16 hex digits that name the content of a file, wherever it is stored; empty as for `contents`."""
    name = os.fsdecode(uri)
    try:
        with _opened_remote(name, access) if b"://" in uri and is_remote(name) else _opened(uri) as (size, read):
            return _hash(size, read) if size else ""
    except (OSError, FetchError):  # the worker that opens the file reports why
        return ""


def _hash(size: int, read: ReadAt) -> str:
    digest = hashlib.sha256(b"%b\0%d\0" % (FORMAT, size))
    for start, count in _windows(size):
        part = read(start, count)
        if len(part) < count:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        digest.update(part)
    return digest.hexdigest()[:16]


def _windows(size: int) -> list[tuple[int, int]]:
    if size <= WHOLE:
        return [(0, size)]
    middle = (size - WINDOW) // 2 // WHOLE * WHOLE  # within one block of a remote file
    return [(start, WINDOW) for start in (0, middle, size - WINDOW)]


@contextmanager
def _opened(path: bytes) -> Iterator[tuple[int, ReadAt]]:
    # Without waiting for a writer, in case the file is a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield os.fstat(descriptor).st_size, lambda start, count: _pread(descriptor, start, count)
    finally:
        os.close(descriptor)


def _pread(descriptor: int, start: int, count: int) -> bytes:
    """All bytes of a stretch: one read of a network disk may return fewer."""
    parts: list[bytes] = []
    while count and (part := os.pread(descriptor, count, start)):
        parts.append(part)
        start, count = start + len(part), count - len(part)
    return b"".join(parts)


@contextmanager
def _opened_remote(uri: str, access: StorageOptions) -> Iterator[tuple[int, ReadAt]]:
    with closing(open_in_parts(uri, access)) as file:
        yield int(file.size), lambda start, count: read_at(uri, file, start, count)
