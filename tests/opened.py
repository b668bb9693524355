"""Which files are opened while a block runs, by any process: an inotify watch."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENED = 0x20
_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def watched(*files: Path) -> Iterator[set[str]]:
    """Collects the names of those of these files that are opened; complete once the block has ended.

    Args:
        files: Files that exist.
    """
    seen: set[str] = set()
    descriptor = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    assert descriptor >= 0, os.strerror(ctypes.get_errno())
    try:
        names = {_libc.inotify_add_watch(descriptor, bytes(file), _OPENED): file.name for file in files}
        assert min(names) > 0
        yield seen
        try:
            events = os.read(descriptor, 2**16)
        except BlockingIOError:
            events = b""
        at = 0
        while at < len(events):
            watch, _, _, length = _EVENT.unpack_from(events, at)
            seen.add(names[watch])
            at += _EVENT.size + length
    finally:
        os.close(descriptor)
