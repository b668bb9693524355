"""Probes remote files by range requests, without downloading them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from lvqa_ray.errors import FetchError
from lvqa_ray.records import Failure, Video, redact_url
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import open_in_parts, read_at
from lvqa_ray.video.reader.container import files_opened_by


def probe_by_ranges(
    name: str, call: Callable[[Video], Iterable[Any]], access: StorageOptions, video: Video
) -> Iterator[Any]:
    """Run a stage on a remote video, fetching only the byte ranges that it reads.

    Args:
        name: Name of the stage, for a failure.
        call: The stage.
        access: Options of object stores.
        video: The video.

    Yields:
        The rows of the stage, or a failure; its kind is ``not_in_parts`` if the server does not support ranges.
    """
    opened: list[_Ranges] = []

    def open_file(uri: str) -> _Ranges:
        opened.append(_Ranges(uri, access))
        return opened[-1]

    try:
        with files_opened_by(open_file):
            rows = list(call(video))
        fault = next((file.fault for file in opened if file.fault), None)
    except FetchError as error:
        fault = error
    if fault:
        yield Failure(video=video, stage=name, kind=fault.kind, message=str(fault), retryable=fault.retryable)
    else:
        for row in rows:  # a message may contain the address of the file, and the address a signature
            failed = isinstance(row, Failure)
            yield replace(row, message=row.message.replace(video.uri, redact_url(video.uri))) if failed else row


class _Ranges(io.RawIOBase):
    """File object for FFmpeg, which swallows Python exceptions: the first is kept in `fault`, and reading ends."""

    def __init__(self, uri: str, access: StorageOptions) -> None:
        super().__init__()
        self.fault: FetchError | None = None
        self._uri = uri
        self._file = open_in_parts(uri, access)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def read(self, size: int = -1) -> bytes:
        if self.fault:
            return b""
        try:
            return read_at(self._uri, self._file, self.tell(), size)
        except FetchError as error:
            self.fault = error
            return b""
