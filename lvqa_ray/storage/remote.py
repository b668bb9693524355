"""Remote files: status, listing, download and range reads on object stores and http(s)://, through fsspec."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import IO, TYPE_CHECKING, Any

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import MAGIC, bucket_and_key, scheme_of, sent_url
from lvqa_ray.storage import web
from lvqa_ray.storage.options import SCHEMES, StorageOptions, is_store
from lvqa_ray.storage.retries import code_of, not_wanted, retry_io
from lvqa_ray.storage.web_faults import refuse_web_page

if TYPE_CHECKING:  # not loaded by jobs with local files only
    from fsspec import AbstractFileSystem
    from fsspec.spec import AbstractBufferedFile

DOWNLOAD_BLOCK_BYTES = 2**24
PART, PARTS_HELD = 2**20, 32
SETTING = "engine.scratch_gb"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Status of a remote file.

    Attributes:
        uri: Its URI.
        size: Bytes, or ``None`` if the server does not say.
        version: Its ETag or modification time, or empty.
        changed: Modification time (s since the epoch) by the server's clock; 0 if unknown.
        in_parts: False if the server says that it does not support range requests.
    """

    uri: str
    size: int | None
    version: str
    changed: float = 0.0
    in_parts: bool = True


def is_remote(uri: str) -> bool:
    """Whether a name is the URI of a remote file."""
    return scheme_of(uri) in SCHEMES


def file_status(uri: str, access: StorageOptions) -> RemoteFile:
    """Status of a remote file, without reading it.

    Raises:
        FetchError: It does not exist, or the server does not answer.
    """
    scheme, attempts = scheme_of(uri), count()

    def once() -> RemoteFile:
        files = access.filesystem(uri)
        if scheme == "s3":
            return _remote(uri, _head(files, *bucket_and_key(uri)))
        info = files.info(address(uri)) if is_store(uri) else web.info(files, uri, head=next(attempts) == 0)
        if info.get("type") == "directory":
            raise FileNotFoundError
        return _remote(uri, info)

    return retry_io(uri, once, stopped=access.stopped)


def _head(files: AbstractFileSystem, bucket: str, key: str) -> dict[str, Any]:
    """S3's metadata of an object. Replies to HEAD have no error code, so on an error GET is sent to get the code."""
    try:
        found: dict[str, Any] = files.call_s3("head_object", Bucket=bucket, Key=key)
    except Exception as error:
        if not code_of(error).isdigit():
            raise
        files.call_s3("get_object", Bucket=bucket, Key=key, Range="bytes=0-0")
        raise
    return found


def list_files(
    uri: str, access: StorageOptions, *, pattern: str = "", below: bool = True, page: int = 1000
) -> Iterator[RemoteFile]:
    """The files of a store below a prefix, by name.

    S3 is listed lazily, page by page, so a prefix may hold millions.

    Args:
        uri: The prefix, read as a literal folder.
        access: Options of the store.
        pattern: Glob pattern for the names below the prefix.
        below: Include files at any depth.
        page: Page size for S3.

    Raises:
        FetchError: It cannot be listed.
    """
    from fsspec.utils import glob_translate  # noqa: PLC0415 - not loaded by jobs with local files only

    match = re.compile(glob_translate(pattern)).match if pattern else None
    bucket, key = bucket_and_key(uri)
    folder = f"{key.rstrip('/')}/" if key.rstrip("/") else ""
    prefix = folder + MAGIC.split(pattern)[0]
    found: Iterable[tuple[str, dict[str, Any]]]
    if scheme_of(uri) == "s3":
        pages = _s3_pages(uri, access, bucket, prefix, below=below, page=page)
        found = ((info["Key"], info) for each in pages for info in each.get("Contents", []))
    else:
        found = _all(uri, access, bucket, prefix, below=below)
    for name, info in found:
        if (match is None or match(name[len(folder) :])) and not name.endswith("/"):
            yield _remote(f"{uri.partition('://')[0]}://{bucket}/{name}", info)


def is_there(uri: str, access: StorageOptions) -> bool:
    """Whether a store has an object of exactly this name, or objects below it; errors as in `file_status`."""
    try:
        file_status(uri, access)
    except FetchError as error:
        if error.kind != "missing_file":
            raise
        return next(list_files(uri, access, page=1), None) is not None
    return True


def list_names(uri: str, access: StorageOptions, *, page: int = 1000) -> Iterator[str]:
    """The names of the files and folders directly below a prefix of a store, in order.

    S3 does not list the contents of the folders.

    Args:
        uri: The prefix.
        access: Options of the store.
        page: Page size for S3.

    Raises:
        FetchError: It cannot be listed.
    """
    bucket, key = bucket_and_key(uri)
    prefix = f"{key.rstrip('/')}/" if key.rstrip("/") else ""
    if scheme_of(uri) != "s3":
        folder = f"{bucket}/{prefix}"
        found = retry_io(uri, lambda: access.filesystem(uri).ls(folder, detail=False))
        yield from sorted(name.rstrip("/").rpartition("/")[2] for name in found)
        return
    for each in _s3_pages(uri, access, bucket, prefix, below=False, page=page):
        keys = [info["Key"] for info in each.get("Contents", [])]
        folders = [info["Prefix"] for info in each.get("CommonPrefixes", [])]
        yield from filter(None, (key[len(prefix) :].rstrip("/") for key in sorted(keys + folders)))


def _s3_pages(
    uri: str, access: StorageOptions, bucket: str, prefix: str, *, below: bool, page: int
) -> Iterator[dict[str, Any]]:
    options: dict[str, Any] = {"MaxKeys": page} | ({} if below else {"Delimiter": "/"})
    while True:
        found: dict[str, Any] = retry_io(
            uri,
            lambda: access.filesystem(uri).call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **options),
        )
        yield found
        if not found.get("IsTruncated"):
            return
        options["ContinuationToken"] = found["NextContinuationToken"]


def _all(
    uri: str, access: StorageOptions, bucket: str, prefix: str, *, below: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = f"{bucket}/{prefix.rpartition('/')[0]}"
    found: dict[str, Any] = retry_io(
        uri, lambda: access.filesystem(uri).find(folder, maxdepth=None if below else 1, detail=True)
    )
    for name in sorted(found):
        key = name.partition("/")[2]
        if found[name]["type"] == "file" and key.startswith(prefix):
            yield key, found[name]


def download(
    uri: str,
    out: IO[bytes],
    most_bytes: int,
    access: StorageOptions,
    *,
    setting: str = SETTING,
    stopped: Callable[[], bool] = bool,
) -> None:
    """Download a file; starts again from the beginning when the connection is lost.

    Args:
        uri: The file.
        out: The local file.
        most_bytes: Maximum size.
        access: Options of object stores.
        setting: Name of the setting with that size, for the message.
        stopped: Returns true when the file is no longer needed.

    Raises:
        FetchError: The download failed, or the file is longer than ``most_bytes``.
    """

    def once() -> None:
        out.seek(0)
        copied, promised = 0, None
        with _opened(uri, access) as file:
            promised = file.size
            while chunk := file.read(DOWNLOAD_BLOCK_BYTES):
                if not copied and not is_store(uri):
                    refuse_web_page(redact_url(uri), chunk)
                copied += len(chunk)
                if copied > most_bytes:
                    raise too_large(uri, copied, most_bytes, setting)
                if stopped():
                    raise not_wanted(uri)
                out.write(chunk)
        if promised is not None and copied < promised:
            raise ConnectionError
        out.truncate()
        out.flush()

    retry_io(uri, once, stopped=stopped)


def _opened(uri: str, access: StorageOptions) -> AbstractBufferedFile:
    files = access.filesystem(uri)
    if is_store(uri):
        return files.open(address(uri), "rb", block_size=DOWNLOAD_BLOCK_BYTES)
    # Block size 0 is one plain request for the whole file; a given size saves the request for it.
    return files.open(address(uri), "rb", block_size=0, size=1)


def open_in_parts(uri: str, access: StorageOptions) -> AbstractBufferedFile:
    """A seekable remote file: reads fetch only the needed blocks, 1 MiB each.

    Raises:
        FetchError: It does not exist, or its server has no range requests (``not_in_parts``) or sends a web page.
    """
    files, found = access.filesystem(uri), file_status(uri, access)
    if not found.size or not found.in_parts:
        raise _not_in_parts(uri)
    held = {"maxblocks": PARTS_HELD}
    size = {} if is_store(uri) else {"size": found.size}
    file = retry_io(
        uri,
        lambda: files.open(address(uri), "rb", block_size=PART, cache_type="blockcache", cache_options=held, **size),
        stopped=access.stopped,
    )
    if size:
        refuse_web_page(redact_url(uri), read_at(uri, file, 0, min(found.size, 512), access.stopped))
        file.seek(0)
    return file


def read_at(uri: str, file: AbstractBufferedFile, at: int, size: int, stopped: Callable[[], bool] = bool) -> bytes:
    """Read bytes of an open file, with retries when the connection is lost.

    Raises:
        FetchError: All attempts failed, or the file is no longer needed.
    """

    def once() -> bytes:
        try:
            file.seek(at)
            found = bytes(file.read(size))
        except ValueError:  # the server sent the whole file instead of the range
            raise _not_in_parts(uri) from None
        if not found and size and at < (file.size or 0):  # status 416 for a valid range
            raise _not_in_parts(uri)
        return found

    return retry_io(uri, once, stopped=stopped)


def too_large(uri: str, size: int, most_bytes: int, setting: str = SETTING) -> FetchError:
    """The error for a file that is larger than a setting allows."""
    return FetchError(
        "too_large",
        f"{redact_url(uri)} has {size / 2**30:.2f} GB or more, and {setting} is {most_bytes / 2**30:.2f}; "
        "raise it, or leave the file out.",
    )


def address(uri: str) -> str:
    """A URI as its file system takes it: for S3 without the scheme, so that the key stays literal."""
    if scheme_of(uri) == "s3":
        return uri.partition("://")[2]
    return uri if is_store(uri) else sent_url(uri)


def _remote(uri: str, info: dict[str, Any]) -> RemoteFile:
    when = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("last_modified")
    size = info.get("Size", info.get("ContentLength", info.get("size")))
    changed = when.timestamp() if isinstance(when, datetime) else 0.0
    return RemoteFile(
        uri, size, str(info.get("ETag") or info.get("etag") or when or ""), changed, info.get("partial", True)
    )


def _not_in_parts(uri: str) -> FetchError:
    return FetchError("not_in_parts", f"The server of {redact_url(uri)} does not support range requests.")
