"""What a server of http(s):// says of a file before it is fetched, with the status of its reply when that is an error.

fsspec answers this too, but takes every error for a missing file and sends a second request after each.
"""

from __future__ import annotations

from typing import Any

from lvqa_ray.errors import FetchError
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import sent_url

REFUSES_HEAD = frozenset({400, 401, 403, 404, 405, 410, 501})
"""Statuses after which GET is tried at once: a signature may be for GET only, and some servers know no HEAD."""


def info(files: Any, url: str, *, head: bool) -> dict[str, Any]:  # noqa: ANN401 - fsspec has no types
    """Size and version of a file, and whether its server says that it gives no parts.

    Args:
        files: The file system of fsspec, whose connections and settings are used.
        url: The file.
        head: Ask by HEAD first; else by GET, of which only the headers are read.

    Raises:
        FetchError: It is no address.
        Exception: What aiohttp raises, as `again` takes it.
    """
    from fsspec.asyn import sync  # noqa: PLC0415 - who has all on a disk need not load it

    try:
        _ = files.encode_url(sent_url(url)).port
    except ValueError:
        raise FetchError(
            "missing_file", f"{redact_url(url)} is no address that can be asked for; correct it."
        ) from None
    found: dict[str, Any] = sync(files.loop, _info, files, sent_url(url), head)
    return found


async def _info(files: Any, url: str, head: bool) -> dict[str, Any]:  # noqa: ANN401
    import aiohttp  # noqa: PLC0415 - as above

    if head:
        try:
            found = await _asked(files, "HEAD", url)
        except aiohttp.ClientResponseError as error:
            if error.status not in REFUSES_HEAD:
                raise
        else:
            if found["size"] is not None:
                return found
    return await _asked(files, "GET", url)


async def _asked(files: Any, method: str, url: str) -> dict[str, Any]:  # noqa: ANN401 - as above
    session = await files.set_session()
    options = dict(files.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}  # or the size is that of what is packed
    async with session.request(
        method, files.encode_url(url), headers=headers, allow_redirects=True, **options
    ) as reply:
        reply.raise_for_status()
        said = reply.headers
        length = said.get("Content-Length", "") if said.get("Content-Encoding", "identity") == "identity" else ""
        return {
            "size": int(length) if length.isdigit() else None,
            "ETag": said.get("ETag"),
            "partial": said.get("Accept-Ranges", "").strip().lower() != "none",
        }
