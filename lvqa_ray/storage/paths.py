"""A place for what a run writes: a folder or file on a disk that all nodes see, or on an object store.

`ObjectPath` says what a `pathlib.Path` says, as far as this room asks it: most code takes either, and a disk costs what
it did. A file is complete under its name or not there at all: a disk gets it under another name first, and a
store shows an object only when its upload has ended.
"""

from __future__ import annotations

import errno
import io
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import bucket_and_key, scheme_of
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.remote import RemoteFile, address, file_status, list_files, list_names, read_at
from lvqa_ray.storage.retries import code_of, retry_io

EXISTS = ("PreconditionFailed", "ConditionalRequestConflict", "412")
"""What S3 says where a condition does not hold."""
T = TypeVar("T")


class FileStatus(NamedTuple):
    """What `ObjectPath.stat` tells, named as by `os.stat`: bytes, and seconds since the epoch by the store's clock."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """A prefix or an object of a store. Each method does what the one of `Path` does, and raises `OSError`.

    Attributes:
        uri: Where, without a slash at its end.
        access: How the store is reached.
    """

    uri: str
    access: StorageOptions = field(default_factory=StorageOptions, compare=False)

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> Self:
        return type(self)(f"{self.uri}/{name}", self.access)

    @property
    def name(self) -> str:
        """The last part."""
        return self.uri.rpartition("/")[2]

    def with_name(self, name: str) -> Self:
        """A neighbour."""
        return type(self)(f"{self.uri.rpartition('/')[0]}/{name}", self.access)

    def exists(self) -> bool:
        """Whether it is an object, or there are objects below it."""
        try:
            self.stat()
        except FileNotFoundError:
            return self.is_dir()
        return True

    def is_dir(self) -> bool:
        """Whether there are objects below it."""
        return next(self.files(below=True), None) is not None

    def iterdir(self) -> Iterator[Self]:
        """The objects and the prefixes right below it, by name; they come page by page."""
        return (self / name for name in self._each(list_names(self.uri, self.access)))

    def glob(self, pattern: str) -> Iterator[Self]:
        """Objects right below it whose names match."""
        found = (type(self)(file.uri, self.access) for file in self.files())
        return (path for path in found if fnmatchcase(path.name, pattern))

    def files(self, *, below: bool = False) -> Iterator[RemoteFile]:
        """The objects right below it, or all below it, by name; they come page by page."""
        return self._each(list_files(self.uri, self.access, below=below))

    def stat(self) -> FileStatus:
        """Size and time."""
        found = self._told(lambda: file_status(self.uri, self.access))
        return FileStatus(found.size or 0, found.changed)

    def read_bytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """The content, or a stretch of it."""
        return bytes(self._asked(lambda: self.filesystem.cat_file(address(self.uri), start=start, end=end)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Put an object in its place, whole."""
        self._asked(lambda: self.filesystem.pipe_file(address(self.uri), data))

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Put an object in its place, whole."""
        self.write_bytes(text.encode(encoding))

    def create(self, data: bytes) -> None:
        """Put an object where there is none.

        Raises:
            FileExistsError: There is one, and the store heeds the condition.
        """

        def once() -> None:
            try:
                self.filesystem.pipe_file(address(self.uri), data, mode="create")
            except Exception as error:
                if code_of(error) in EXISTS:
                    raise FileExistsError from None
                if code_of(error) != "NotImplemented":
                    raise
                self.filesystem.pipe_file(address(self.uri), data)

        self._told(lambda: retry_io(self.uri, once, lasting=(FileExistsError,)))

    def upload(self, file: Path) -> None:
        """Put a local file in its place, whole."""
        self._asked(lambda: self.filesystem.put_file(str(file), address(self.uri)))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; S3 does not say whether there was one."""
        try:
            self._asked(lambda: self.filesystem.rm_file(address(self.uri)))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a store has no folders."""

    def open_input(self) -> Any:  # noqa: ANN401 - fsspec has no types
        """A file that reads just the stretches that it is asked for, and again where that may help."""
        file = self._asked(lambda: self.filesystem.open(address(self.uri), "rb", cache_type="none"))
        return _Input(file, lambda at, size: self._told(lambda: read_at(self.uri, file, at, size)))

    @property
    def filesystem(self) -> Any:  # noqa: ANN401 - as above
        """The file system behind it."""
        return self._told(lambda: retry_io(self.uri, lambda: self.access.filesystem(self.uri)))

    def abort_uploads(self) -> None:
        """Give up the uploads below it that a dead process has begun: nobody sees them, and they cost money."""
        if scheme_of(self.uri) != "s3":
            return
        bucket, prefix = bucket_and_key(self.uri)
        call = self.filesystem.call_s3
        page: dict[str, str] = {}
        while True:
            ask = partial(call, "list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/", **page)
            found = self._asked(ask)
            for upload in found.get("Uploads") or []:
                names = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._asked(partial(call, "abort_multipart_upload", Bucket=bucket, **names))
            if not found.get("IsTruncated"):
                return
            page = {"KeyMarker": found["NextKeyMarker"], "UploadIdMarker": found["NextUploadIdMarker"]}

    def _each(self, found: Iterator[T]) -> Iterator[T]:
        while (one := self._told(lambda: next(found, None))) is not None:
            yield one

    def _asked(self, call: Callable[[], T]) -> T:
        return self._told(lambda: retry_io(self.uri, call))

    def _told(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except FetchError as error:
            if error.kind == "missing_file":
                raise FileNotFoundError(errno.ENOENT, str(error).rstrip(".")) from error
            number = errno.EACCES if error.kind == "forbidden" else errno.EIO
            raise OSError(number, str(error).rstrip(".")) from error


class _Input(io.RawIOBase):
    """An object that is open for reading.

    Args:
        file: The object, as fsspec opens it; it gives no other version of it than the one that was there then.
        read_at: Reads so many bytes from an offset on.
    """

    def __init__(self, file: Any, read_at: Callable[[int, int], bytes]) -> None:  # noqa: ANN401 - as above
        super().__init__()
        self._size = int(file.size)
        self._read_at = read_at
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        size = left if size is None or size < 0 else min(size, left)
        found = self._read_at(self._at, size) if size else b""
        self._at += len(found)
        return found


StoragePath = Path | ObjectPath


def storage_path(uri: str, access: StorageOptions | None = None) -> StoragePath:
    """The place of a name; how stores are reached is what the environment says, if not given."""
    if is_store(uri):
        return ObjectPath(uri.rstrip("/"), StorageOptions.here() if access is None else access)
    return Path(uri)


def partial_of(place: StoragePath) -> Path:
    """Where a file is written before it is `complete`."""
    if isinstance(place, Path):
        return place.with_name(f".{place.name}.{os.getpid()}.partial")
    return Path(tempfile.gettempdir()) / f"lvqa-{uuid.uuid4().hex}-{place.name}"


def complete(partial: Path, place: StoragePath) -> None:
    """Put a file in its place, whole.

    Raises:
        OSError: It cannot be put there.
    """
    if isinstance(place, Path):
        partial.replace(place)
        return
    place.upload(partial)
    partial.unlink()


def write_whole(place: StoragePath, data: bytes) -> None:
    """Write a file that is complete under its name, or not there at all; errors as above."""
    if isinstance(place, ObjectPath):
        place.write_bytes(data)
        return
    partial = partial_of(place)
    try:
        partial.write_bytes(data)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def readable(place: StoragePath) -> Any:  # noqa: ANN401 - what pyarrow takes for a file
    """What a reader of Parquet is given; errors as above."""
    return place if isinstance(place, Path) else place.open_input()


def describe_os_error(error: OSError) -> str:
    """An unforeseen error of a disk or a store in one sentence, which quotes no server."""
    if isinstance(error.__cause__, FetchError):
        return str(error.__cause__)
    if error.errno is None or error.errno <= 0:
        return f"A file or a store could not be used ({type(error).__name__})."
    where = f"{redact_url(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{os.strerror(error.errno)}."


def holds_anything(place: StoragePath) -> bool:
    """Whether a place is taken."""
    return place.exists() and not (place.is_dir() and not any(True for _ in place.iterdir()))
