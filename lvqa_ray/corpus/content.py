"""Content hash of a video file: of its size, and of its head, middle and tail."""

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

HASHED_WINDOW_BYTES = 2**16
"""Bytes hashed at each of the head, the middle and the tail."""
WHOLE_FILE_BYTES = 2**20
"""Files up to this size are hashed whole."""
CONTENT_FORMAT = b"content-1"
LOCAL_AT_ONCE, REMOTE_AT_ONCE = 16, 64
"""Files read in parallel: from disks, and from stores and servers, where a read mostly waits."""
ReadAt = Callable[[int, int], bytes]
"""Reads a file: (offset, number of bytes) -> bytes."""


def contents(uris: Sequence[bytes], access: StorageOptions) -> list[str]:
    """The content hash of each file; empty if the file is empty or cannot be read by ranges."""
    remote = any(b"://" in uri and is_remote(os.fsdecode(uri)) for uri in uris)
    with ThreadPoolExecutor(REMOTE_AT_ONCE if remote else LOCAL_AT_ONCE) as pool:
        return list(pool.map(lambda uri: content(uri, access), uris))


def content(uri: bytes, access: StorageOptions) -> str:
    """The content hash of a file (16 hex digits), wherever it is stored; empty as for `contents`."""
    name = os.fsdecode(uri)
    try:
        with _opened_remote(name, access) if b"://" in uri and is_remote(name) else _opened(uri) as (size, read):
            return _hash(size, read) if size else ""
    except (OSError, FetchError):  # the worker that opens the file reports why
        return ""


def _hash(size: int, read: ReadAt) -> str:
    digest = hashlib.sha256(b"%b\0%d\0" % (CONTENT_FORMAT, size))
    for start, count in _windows(size):
        part = read(start, count)
        if len(part) < count:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        digest.update(part)
    return digest.hexdigest()[:16]


def _windows(size: int) -> list[tuple[int, int]]:
    if size <= WHOLE_FILE_BYTES:
        return [(0, size)]
    # Aligned, so that it is within one block of a remote file.
    middle = (size - HASHED_WINDOW_BYTES) // 2 // WHOLE_FILE_BYTES * WHOLE_FILE_BYTES
    return [(start, HASHED_WINDOW_BYTES) for start in (0, middle, size - HASHED_WINDOW_BYTES)]


@contextmanager
def _opened(path: bytes) -> Iterator[tuple[int, ReadAt]]:
    # Non-blocking: opening a pipe would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield os.fstat(descriptor).st_size, lambda start, count: _pread(descriptor, start, count)
    finally:
        os.close(descriptor)


def _pread(descriptor: int, start: int, count: int) -> bytes:
    """All bytes of a range: a single read on a network file system may return fewer."""
    parts: list[bytes] = []
    while count and (part := os.pread(descriptor, count, start)):
        parts.append(part)
        start, count = start + len(part), count - len(part)
    return b"".join(parts)


@contextmanager
def _opened_remote(uri: str, access: StorageOptions) -> Iterator[tuple[int, ReadAt]]:
    with closing(open_in_parts(uri, access)) as file:
        yield int(file.size), lambda start, count: read_at(uri, file, start, count, access.stopped)
