"""Files in other places: s3:// and http(s)://, through fsspec. What a server says in an error is never quoted.

S3's endpoint and credentials are those of the usual AWS environment variables, profile or instance role.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import fsspec

from lvqa_ray.errors import FetchError
from lvqa_ray.records import shown

SCHEMES = ("s3", "http", "https")
ATTEMPTS = 4
FIRST_WAIT_S = 0.5
BLOCK = 2**24
PART, PARTS_HELD = 2**20, 32
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What is known of a file without reading it.

    Attributes:
        uri: Where it is.
        size: Bytes, or ``None`` if the server does not say.
        version: Its ETag or time, or empty.
    """

    uri: str
    size: int | None
    version: str


def is_remote(uri: str) -> bool:
    """Whether a name is that of a file in another place."""
    return uri.partition("://")[0].lower() in SCHEMES


def look(uri: str) -> RemoteFile:
    """What is known of a file.

    Raises:
        FetchError: It is not there, or nothing can be found out.
    """
    return _again(uri, lambda: _remote(uri, _filesystem(uri).info(_address(uri))))


def listing(uri: str) -> Iterator[RemoteFile]:
    """The files of a bucket below a prefix, or those that match a pattern, by name.

    Raises:
        FetchError: The bucket cannot be listed.
    """
    files = _filesystem(uri)
    find = files.glob if any(sign in uri for sign in "*?[") else files.find
    found: dict[str, Any] = _again(uri, lambda: find(uri, detail=True))
    for name in sorted(found):
        if found[name]["type"] == "file":
            yield _remote(f"{uri.partition('://')[0]}://{name}", found[name])


def fetch(uri: str, out: IO[bytes], most_bytes: int) -> None:
    """Write a file's bytes into a local one, from its start; begins anew when the connection is lost.

    Raises:
        FetchError: It did not come, or is longer than ``most_bytes``.
    """

    def once() -> None:
        out.seek(0)
        copied, promised = 0, None
        # A block size of 0 is one plain request for all of it.
        with _filesystem(uri).open(_address(uri), "rb", block_size=BLOCK if uri.startswith("s3:") else 0) as file:
            promised = file.size
            while chunk := file.read(BLOCK):
                copied += len(chunk)
                if copied > most_bytes:
                    raise too_large(uri, copied, most_bytes)
                out.write(chunk)
        if promised is not None and copied < promised:
            raise ConnectionError
        out.truncate()
        out.flush()

    _again(uri, once)


def open_in_parts(uri: str) -> Any:  # noqa: ANN401 - fsspec has no types
    """A file that can be sought in, of which only what is read is fetched, in blocks of a megabyte.

    Raises:
        FetchError: It is not there, or its server gives no parts of files (``not_in_parts``).
    """
    files, address = _filesystem(uri), _address(uri)
    info = _again(uri, lambda: files.info(address))
    if not info.get("size") or not info.get("partial", True):
        raise _not_in_parts(uri)
    held = {"maxblocks": PARTS_HELD}
    return _again(uri, lambda: files.open(address, "rb", block_size=PART, cache_type="blockcache", cache_options=held))


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

    return _again(uri, once)


def too_large(uri: str, size: int, most_bytes: int) -> FetchError:
    """The error for a file that the scratch folder has no room for."""
    return FetchError(
        "too_large",
        f"{shown(uri)} has {size / 2**30:.2f} GB or more, and engine.scratch_gb is {most_bytes / 2**30:.2f}; "
        "raise it, or leave the file out.",
    )


def _not_in_parts(uri: str) -> FetchError:
    return FetchError("not_in_parts", f"The server of {shown(uri)} gives no parts of files.")


def _filesystem(uri: str) -> Any:  # noqa: ANN401 - fsspec has no types
    scheme = uri.partition("://")[0].lower()
    if scheme == "s3":
        waits = {"connect_timeout": 30, "read_timeout": 60}
        return fsspec.filesystem("s3", use_listings_cache=False, config_kwargs=waits)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=60)
    # `encoded`: a signature is over the address as it was given.
    return fsspec.filesystem("http", encoded=True, client_kwargs={"timeout": timeout}, use_listings_cache=False)


def _address(uri: str) -> str:
    """The address without what fsspec takes for a chain of file systems, and without what no server is sent."""
    return uri.partition("#")[0]


def _remote(uri: str, info: dict[str, Any]) -> RemoteFile:
    version = info.get("ETag") or info.get("LastModified") or info.get("mtime") or ""
    return RemoteFile(uri, info.get("size"), str(version))


def _again(uri: str, call: Callable[[], T]) -> T:
    """The answer of a call that is made up to four times, where making it again may help."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except FetchError:
            raise
        except Exception as error:
            fault = _fault(uri, error)
            if fault.kind != "not_fetched" or attempt == ATTEMPTS:
                raise fault from None
        time.sleep(FIRST_WAIT_S * 2 ** (attempt - 1))
    raise AssertionError


def _fault(uri: str, error: Exception) -> FetchError:
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return FetchError("missing_file", f"There is no file {shown(uri)}; check the address.")
    if isinstance(error, PermissionError) or status in (401, 403) or "Credentials" in type(error).__name__:
        return FetchError(
            "forbidden", f"{shown(uri)} may not be read; check the credentials or the signature.", retryable=True
        )
    how = f"status {status}" if status else type(error).__name__
    host = urlsplit(uri).hostname or uri
    return FetchError(
        "not_fetched",
        f"{shown(uri)} could not be fetched in {ATTEMPTS} attempts ({how}); see whether {host} can be reached.",
        retryable=True,
    )
