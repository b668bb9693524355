"""HTTP metadata of a file: size, ETag and range support, with the status of error replies.

fsspec has this too, but reports every error as a missing file and sends a second request after each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import sent_url

if TYPE_CHECKING:
    from fsspec.implementations.http import HTTPFileSystem

REFUSES_HEAD = frozenset({400, 401, 403, 404, 405, 410, 501})
"""Statuses after which GET is tried at once: a signature may be for GET only, and some servers lack HEAD."""


def info(files: HTTPFileSystem, url: str, *, head: bool) -> dict[str, Any]:
    """Size, ETag and range support of a file.

    Args:
        files: The file system of fsspec, whose connections and settings are used.
        url: The file.
        head: Send HEAD first; else GET, of which only the headers are read.

    Raises:
        FetchError: The URL is invalid.
        Exception: Whatever aiohttp raises; `retry_io` classifies it.
    """
    from fsspec.asyn import sync  # noqa: PLC0415 - not loaded by jobs with local files only

    try:
        _ = files.encode_url(sent_url(url)).port
    except ValueError:
        raise FetchError("missing_file", f"{redact_url(url)} is not a valid address; correct it.") from None
    found: dict[str, Any] = sync(files.loop, _info, files, sent_url(url), head)
    return found


async def _info(files: HTTPFileSystem, url: str, head: bool) -> dict[str, Any]:
    import aiohttp  # noqa: PLC0415 - as above

    if head:
        try:
            found = await _request(files, "HEAD", url)
        except aiohttp.ClientResponseError as error:
            if error.status not in REFUSES_HEAD:
                raise
        else:
            if found["size"] is not None:
                return found
    return await _request(files, "GET", url)


async def _request(files: HTTPFileSystem, method: str, url: str) -> dict[str, Any]:
    session = await files.set_session()
    options = dict(files.kwargs)
    headers = {
        **options.pop("headers", {}),
        "Accept-Encoding": "identity",
    }  # else the size is that of the compressed body
    async with session.request(
        method, files.encode_url(url), headers=headers, allow_redirects=True, **options
    ) as reply:
        reply.raise_for_status()
        plain = reply.headers.get("Content-Encoding", "identity") == "identity"
        length = reply.headers.get("Content-Length", "") if plain else ""
        return {
            "size": int(length) if length.isdigit() else None,
            "ETag": reply.headers.get("ETag"),
            "partial": reply.headers.get("Accept-Ranges", "").strip().lower() != "none",
        }
