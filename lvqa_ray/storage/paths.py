"""Storage paths of output: a folder or file on a shared disk, or on an object store.

`ObjectPath` implements the methods of `pathlib.Path` that this package uses, so most code takes either. Files appear
complete or not at all: on a disk they are written under another name and renamed, and a store shows an object only
after its upload.
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
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import bucket_and_key, scheme_of
from lvqa_ray.storage.options import StorageOptions, is_store
from lvqa_ray.storage.remote import RemoteFile, address, file_status, list_files, list_names, read_at
from lvqa_ray.storage.retries import code_of, retry_io

if TYPE_CHECKING:  # not loaded by jobs with local files only
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

EXISTS = ("PreconditionFailed", "ConditionalRequestConflict", "412")
"""S3's error codes for a failed condition."""
T = TypeVar("T")


class FileStatus(NamedTuple):
    """Result of `ObjectPath.stat`, named as in `os.stat`: bytes, and seconds since the epoch by the store's clock."""

    st_size: int
    st_mtime: float


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """A prefix or an object of a store. Methods behave like those of `Path`, and raise `OSError`.

    Attributes:
        uri: The URI, without a trailing slash.
        access: Options of the store.
    """

    uri: str
    access: StorageOptions = field(default_factory=StorageOptions, compare=False)

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> Self:
        return type(self)(f"{self.uri}/{name}", self.access)

    @property
    def name(self) -> str:
        """The last component."""
        return self.uri.rpartition("/")[2]

    def with_name(self, name: str) -> Self:
        """The path with another last component."""
        return type(self)(f"{self.uri.rpartition('/')[0]}/{name}", self.access)

    def exists(self) -> bool:
        """Whether it is an object, or a prefix of objects."""
        try:
            self.stat()
        except FileNotFoundError:
            return self.is_dir()
        return True

    def is_dir(self) -> bool:
        """Whether there are objects below it."""
        return next(self.files(below=True), None) is not None

    def iterdir(self) -> Iterator[Self]:
        """The objects and prefixes directly below it, by name; listed page by page."""
        return (self / name for name in self._each(list_names(self.uri, self.access)))

    def glob(self, pattern: str) -> Iterator[Self]:
        """Objects directly below it whose names match."""
        found = (type(self)(file.uri, self.access) for file in self.files())
        return (path for path in found if fnmatchcase(path.name, pattern))

    def files(self, *, below: bool = False) -> Iterator[RemoteFile]:
        """The objects directly below it, or at any depth, by name; listed page by page."""
        return self._each(list_files(self.uri, self.access, below=below))

    def stat(self) -> FileStatus:
        """Size and modification time."""
        found = self._as_os_error(lambda: file_status(self.uri, self.access))
        return FileStatus(found.size or 0, found.changed)

    def read_bytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """The content, or a byte range of it."""
        return bytes(self._retried(lambda: self.filesystem.cat_file(address(self.uri), start=start, end=end)))

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> None:
        """Write the whole object."""
        self._retried(lambda: self.filesystem.pipe_file(address(self.uri), data))

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Write the whole object."""
        self.write_bytes(text.encode(encoding))

    def create(self, data: bytes) -> None:
        """Create an object by a conditional write (If-None-Match).

        Raises:
            FileExistsError: It exists, and the store supports the condition.
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

        self._as_os_error(lambda: retry_io(self.uri, once, lasting=(FileExistsError,)))

    def upload(self, file: Path) -> None:
        """Upload a local file."""
        self._retried(lambda: self.filesystem.put_file(str(file), address(self.uri)))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object; S3 does not say whether there was one."""
        try:
            self._retried(lambda: self.filesystem.rm_file(address(self.uri)))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: a store has no folders."""

    def open_input(self) -> io.RawIOBase:
        """A seekable file that fetches only the byte ranges that are read, with retries."""
        file = self._retried(lambda: self.filesystem.open(address(self.uri), "rb", cache_type="none"))
        return _Input(file, lambda at, size: self._as_os_error(lambda: read_at(self.uri, file, at, size)))

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The fsspec file system."""
        return self._as_os_error(lambda: retry_io(self.uri, lambda: self.access.filesystem(self.uri)))

    def abort_uploads(self) -> None:
        """Abort multipart uploads that dead processes left below it: they are invisible, and cost money."""
        if scheme_of(self.uri) != "s3":
            return
        bucket, prefix = bucket_and_key(self.uri)
        call = self.filesystem.call_s3
        page: dict[str, str] = {}
        while True:
            ask = partial(call, "list_multipart_uploads", Bucket=bucket, Prefix=f"{prefix}/", **page)
            found = self._retried(ask)
            for upload in found.get("Uploads") or []:
                names = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                self._retried(partial(call, "abort_multipart_upload", Bucket=bucket, **names))
            if not found.get("IsTruncated"):
                return
            page = {"KeyMarker": found["NextKeyMarker"], "UploadIdMarker": found["NextUploadIdMarker"]}

    def _each(self, found: Iterator[T]) -> Iterator[T]:
        while (one := self._as_os_error(lambda: next(found, None))) is not None:
            yield one

    def _retried(self, call: Callable[[], T]) -> T:
        return self._as_os_error(lambda: retry_io(self.uri, call))

    def _as_os_error(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except FetchError as error:
            if error.kind == "missing_file":
                raise FileNotFoundError(errno.ENOENT, str(error).rstrip(".")) from error
            number = errno.EACCES if error.kind == "forbidden" else errno.EIO
            raise OSError(number, str(error).rstrip(".")) from error


class _Input(io.RawIOBase):
    """An object opened for reading.

    Args:
        file: The object as fsspec opened it, always at the version of that time.
        read_at: Reads from an offset a number of bytes.
    """

    def __init__(self, file: AbstractBufferedFile, read_at: Callable[[int, int], bytes]) -> None:
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
    """The path of a URI or file name; without ``access``, the store options come from the environment."""
    if is_store(uri):
        return ObjectPath(uri.rstrip("/"), StorageOptions.here() if access is None else access)
    return Path(uri)


def partial_of(path: StoragePath) -> Path:
    """Local temporary path of a file until `complete` moves it into place."""
    if isinstance(path, Path):
        return path.with_name(f".{path.name}.{os.getpid()}.partial")
    return Path(tempfile.gettempdir()) / f"lvqa-{uuid.uuid4().hex}-{path.name}"


def complete(partial: Path, path: StoragePath) -> None:
    """Move or upload a finished file to its final path.

    Raises:
        OSError: It cannot be written.
    """
    if isinstance(path, Path):
        partial.replace(path)
        return
    path.upload(partial)
    partial.unlink()


def write_whole(path: StoragePath, data: bytes) -> None:
    """Write a file atomically: it appears complete or not at all; errors as above."""
    if isinstance(path, ObjectPath):
        path.write_bytes(data)
        return
    partial = partial_of(path)
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def readable(path: StoragePath) -> Path | io.RawIOBase:
    """A path or an open file, for Parquet readers; errors as above."""
    return path if isinstance(path, Path) else path.open_input()


def describe_os_error(error: OSError) -> str:
    """Describe an unexpected I/O error in one sentence, which never quotes a server."""
    if isinstance(error.__cause__, FetchError):
        return str(error.__cause__)
    if error.errno is None or error.errno <= 0:
        return f"A file or a store could not be used ({type(error).__name__})."
    where = f"{redact_url(os.fsdecode(error.filename))}: " if isinstance(error.filename, str | bytes) else ""
    return f"{where}{os.strerror(error.errno)}."


def holds_anything(path: StoragePath) -> bool:
    """Whether a path is a file or a folder that is not empty."""
    return path.exists() and not (path.is_dir() and not any(True for _ in path.iterdir()))
