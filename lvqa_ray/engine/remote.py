"""Reading files in other places: object stores and http(s)://, through fsspec."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from lvqa_ray.engine.access import SCHEMES, Access, is_store, scheme_of
from lvqa_ray.engine.again import again
from lvqa_ray.errors import FetchError
from lvqa_ray.records import shown

BLOCK = 2**24
PART, PARTS_HELD = 2**20, 32
SETTING = "engine.scratch_gb"
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What is known of a file without reading it.

    Attributes:
        uri: Where it is.
        size: Bytes, or ``None`` if the server does not say.
        version: Its ETag or time, or empty.
        changed: When it was written (s since the epoch), by the server's clock; 0 if it does not say.
    """

    uri: str
    size: int | None
    version: str
    changed: float = 0.0


def is_remote(uri: str) -> bool:
    """Whether a name is that of a file in another place."""
    return scheme_of(uri) in SCHEMES


def look(uri: str, access: Access) -> RemoteFile:
    """What is known of a file.

    Raises:
        FetchError: It is not there, or nothing can be found out.
    """

    def once() -> RemoteFile:
        info = access.filesystem(uri).info(_address(uri))
        if info.get("type") == "directory":
            raise FileNotFoundError
        return _remote(uri, info)

    return again(uri, once)


def listing(uri: str, access: Access, *, below: bool = True, page: int = 1000) -> Iterator[RemoteFile]:
    """The files of a store below a prefix, or those that match a pattern, by name.

    S3's come page by page as they are asked for, so a prefix may hold millions.

    Args:
        uri: The prefix, taken for a folder; or a pattern.
        access: How the store is reached.
        below: Also the files in folders of it.
        page: How many S3 is asked for at a time.

    Raises:
        FetchError: It cannot be listed.
    """
    scheme, _, path = uri.partition("://")
    from fsspec.utils import glob_translate  # noqa: PLC0415 - who has all on a disk need not load it

    match = re.compile(glob_translate(path)).match if _MAGIC.search(path) else None
    plain = _MAGIC.split(path)[0] if match else f"{path.rstrip('/')}/"
    bucket, _, prefix = plain.partition("/")
    found: Iterable[tuple[str, dict[str, Any]]]
    if scheme_of(uri) == "s3":
        pages = _s3_pages(uri, access, bucket, prefix, below=below, page=page)
        found = ((info["Key"], info) for each in pages for info in each.get("Contents", []))
    else:
        found = _all(uri, access, bucket, prefix, below=below)
    for name, info in found:
        if (match is None or match(f"{bucket}/{name}")) and not name.endswith("/"):
            yield _remote(f"{scheme}://{bucket}/{name}", info)


def names(uri: str, access: Access, *, page: int = 1000) -> Iterator[str]:
    """The names of the files and folders right below a prefix of a store, in order.

    S3 is not asked for what is in the folders, however much that is.

    Args:
        uri: The prefix.
        access: How the store is reached.
        page: How many S3 is asked for at a time.

    Raises:
        FetchError: It cannot be listed.
    """
    folder = f"{uri.partition('://')[2].rstrip('/')}/"
    bucket, _, prefix = folder.partition("/")
    if scheme_of(uri) != "s3":
        found = again(uri, lambda: access.filesystem(uri).ls(folder, detail=False))
        yield from sorted(name.rstrip("/").rpartition("/")[2] for name in found)
        return
    for each in _s3_pages(uri, access, bucket, prefix, below=False, page=page):
        keys = [info["Key"] for info in each.get("Contents", [])]
        folders = [info["Prefix"] for info in each.get("CommonPrefixes", [])]
        yield from filter(None, (key[len(prefix) :].rstrip("/") for key in sorted(keys + folders)))


def _s3_pages(
    uri: str, access: Access, bucket: str, prefix: str, *, below: bool, page: int
) -> Iterator[dict[str, Any]]:
    options: dict[str, Any] = {"MaxKeys": page} | ({} if below else {"Delimiter": "/"})
    while True:
        found: dict[str, Any] = again(
            uri,
            lambda: access.filesystem(uri).call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **options),
        )
        yield found
        if not found.get("IsTruncated"):
            return
        options["ContinuationToken"] = found["NextContinuationToken"]


def _all(uri: str, access: Access, bucket: str, prefix: str, *, below: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    folder = f"{bucket}/{prefix.rpartition('/')[0]}"
    found: dict[str, Any] = again(
        uri, lambda: access.filesystem(uri).find(folder, maxdepth=None if below else 1, detail=True)
    )
    for name in sorted(found):
        key = name.partition("/")[2]
        if found[name]["type"] == "file" and key.startswith(prefix):
            yield key, found[name]


def fetch(
    uri: str,
    out: IO[bytes],
    most_bytes: int,
    access: Access,
    *,
    setting: str = SETTING,
    stopped: Callable[[], bool] = bool,
) -> None:
    """Write a file's bytes into a local one, from its start; begins anew when the connection is lost.

    Args:
        uri: The file.
        out: Where to.
        most_bytes: It may have no more than these.
        access: How stores are reached.
        setting: What says how many these are.
        stopped: Whether it is not wanted any more.

    Raises:
        FetchError: It did not come, or is longer than ``most_bytes``.
    """

    def once() -> None:
        out.seek(0)
        copied, promised = 0, None
        # A block size of 0 is one plain request for all of it.
        with access.filesystem(uri).open(_address(uri), "rb", block_size=BLOCK if is_store(uri) else 0) as file:
            promised = file.size
            while chunk := file.read(BLOCK):
                copied += len(chunk)
                if copied > most_bytes:
                    raise too_large(uri, copied, most_bytes, setting)
                if stopped():
                    raise FetchError("stopped", f"{shown(uri)} is not wanted any more.", retryable=True)
                out.write(chunk)
        if promised is not None and copied < promised:
            raise ConnectionError
        out.truncate()
        out.flush()

    again(uri, once)


def open_in_parts(uri: str, access: Access) -> Any:  # noqa: ANN401 - fsspec has no types
    """A file that can be sought in, of which only what is read is fetched, in blocks of a megabyte.

    Raises:
        FetchError: It is not there, or its server gives no parts of files (``not_in_parts``).
    """
    files, address = access.filesystem(uri), _address(uri)
    info = again(uri, lambda: files.info(address))
    if not info.get("size") or not info.get("partial", True):
        raise _not_in_parts(uri)
    held = {"maxblocks": PARTS_HELD}
    return again(uri, lambda: files.open(address, "rb", block_size=PART, cache_type="blockcache", cache_options=held))


def read_at(uri: str, file: Any, at: int, size: int) -> bytes:  # noqa: ANN401 - as above
    """Bytes of an open file, asked for again when the connection is lost.

    Raises:
        FetchError: They did not come.
    """

    def once() -> bytes:
        try:
            file.seek(at)
            return bytes(file.read(size))
        except ValueError:  # fsspec asked for a part, and was given all
            raise _not_in_parts(uri) from None

    return again(uri, once)


def too_large(uri: str, size: int, most_bytes: int, setting: str = SETTING) -> FetchError:
    """The error for a file that is larger than a setting allows."""
    return FetchError(
        "too_large",
        f"{shown(uri)} has {size / 2**30:.2f} GB or more, and {setting} is {most_bytes / 2**30:.2f}; "
        "raise it, or leave the file out.",
    )


def _address(uri: str) -> str:
    """The address without what fsspec takes for a chain of file systems, and without what no server is sent."""
    return uri.partition("#")[0]


def _remote(uri: str, info: dict[str, Any]) -> RemoteFile:
    when = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("last_modified")
    size = info.get("Size", info.get("size"))
    changed = when.timestamp() if isinstance(when, datetime) else 0.0
    return RemoteFile(uri, size, str(info.get("ETag") or info.get("etag") or when or ""), changed)


def _not_in_parts(uri: str) -> FetchError:
    return FetchError("not_in_parts", f"The server of {shown(uri)} gives no parts of files.")
