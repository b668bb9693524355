"""URI parsing: scheme, base name, suffix, and the redacted form for logs and tables.

Keys of an object store are opaque: every character behind the bucket belongs to the key, also ``#``, ``?``, ``%41`` and
``//``. A URL of http(s):// is percent-encoded and may end in a query. Only the sources of a job may be patterns (see
`corpus.manifest`); a manifest's ``video`` is always a literal name.
"""

from __future__ import annotations

import re
from posixpath import splitext
from urllib.parse import quote, unquote, urlsplit

STORES = ("s3", "gs", "gcs", "az", "abfs", "abfss")
"""Schemes of object stores, which can be listed and written; all but s3 depend on fsspec's packages for them."""
WEB = ("http", "https")
MAGIC = re.compile(r"[*?\[]")
"""Characters that turn a name that does not exist into a pattern."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_FILE_NAME = re.compile(r"\.(?:3gp|[A-Za-z][A-Za-z0-9]{1,6})$")
_SENT = "!#$%&'()*+,/:;=?@[]~"
"""Characters that are not percent-encoded in a URL."""


def scheme_of(uri: str) -> str:
    """The scheme of a URI in lower case; empty for a path."""
    found = _SCHEME.match(uri)
    return found[1].lower() if found else ""


def bucket_and_key(uri: str) -> tuple[str, str]:
    """The bucket of a store's URI, and the key: all characters behind the bucket."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    return bucket, key


def redact_url(uri: str) -> str:
    """Redact a path or URL: without the query, which may be a signature, and without user name and password."""
    if uri[:4].lower() != "http" or scheme_of(uri) not in WEB:
        return uri
    scheme, _, rest = without_fragment(uri).partition("://")
    host, slash, path = rest.partition("?")[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def without_fragment(url: str) -> str:
    """The URL without its fragment, which is never sent; a ``#`` in a file name is part of the name.

    A ``#`` begins a fragment if a complete file name is before it (``film.mp4#t=10``), or if no file name follows
    (``films/7#top``). It belongs to the name if only the text after it ends in a suffix: ``ep #1.mp4``.
    """
    before, mark, behind = url.partition("#")
    in_path = "/" in (before.partition("://")[2] or before)
    if (
        not mark
        or not in_path
        or "?" in before
        or _FILE_NAME.search(before)
        or not _FILE_NAME.search(behind.partition("?")[0])
    ):
        return before
    return f"{before}%23{without_fragment(behind)}"


def sent_url(url: str) -> str:
    """The URL of a request: no fragment, invalid characters percent-encoded, and the rest unchanged.

    A signature covers the URL as given, so existing encodings, also ``%41`` and ``%7E``, stay.
    """
    encoded = quote(without_fragment(url), safe=_SENT, errors="surrogateescape")
    return re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", encoded)


def is_address(uri: str) -> bool:
    """Whether a URL of http(s):// has a valid host and port; true for any other URI."""
    if scheme_of(uri) not in WEB:
        return True
    try:
        parts = urlsplit(uri)
        return bool((parts.hostname or "").encode("idna")) and parts.port != 0
    except ValueError:  # also for an empty or too long label of the host name
        return False


def base_name(uri: str) -> str:
    """The last part of a path, a key or a URL's path, as text without percent-encoding."""
    scheme = scheme_of(uri)
    if scheme in WEB:
        path = without_fragment(uri).partition("?")[0].partition("://")[2].partition("/")[2]
        return unquote(path, errors="surrogateescape").rstrip("/").rpartition("/")[2]
    name = bucket_and_key(uri)[1] if scheme else uri
    return name.rstrip("/").rpartition("/")[2]


def suffix_of(uri: str) -> str:
    """The suffix of a file name in lower case, with its dot; empty if there is none."""
    return splitext(base_name(uri))[1].lower()


def folder_of(uri: str) -> str:
    """The parent folder of a store's object or a URL, without a trailing slash."""
    whole = uri if scheme_of(uri) not in WEB else without_fragment(uri).partition("?")[0]
    return whole.rpartition("/")[0]


def path_of_file_url(url: str) -> str:
    """The path of a file:// URL; ``#`` and ``?`` in it are ordinary characters."""
    host, _, path = url.partition("://")[2].partition("/")
    return unquote(f"/{path}" if host in ("", "localhost") else f"{host}/{path}", errors="surrogateescape")
