"""Allowlist and SSRF check of video addresses: schemes, hosts, folders and buckets."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from lvqa_ray.config import Serve
from lvqa_ray.records import STORES, redact_url
from lvqa_ray.records.uri import WEB, scheme_of, without_fragment
from lvqa_ray.serve.invalid import invalid
from lvqa_ray.storage.ssrf import SsrfGuard

LONGEST_ADDRESS_CHARS = 8192
"""Maximum characters of an address; signed URLs are long."""
Resolve = Callable[..., Sequence[Any]]


def checked(uri: str, settings: Serve, resolve: Resolve = socket.getaddrinfo) -> str:
    """Validate the address of a video, and resolve symbolic links of a local file.

    This check gives early error messages only: the SSRF guard checks the address of each connection again.

    Args:
        uri: Address from the request.
        settings: The allowed networks, folders and prefixes.
        resolve: DNS lookup with the signature of `socket.getaddrinfo`.

    Raises:
        RefusedError: The address is not allowed.
    """
    if len(uri) > LONGEST_ADDRESS_CHARS or not uri.isprintable() or " " in uri or "\\" in uri:
        raise invalid(
            f"videoUrl is no address: it has blanks, backslashes or more than {LONGEST_ADDRESS_CHARS} characters."
        )
    scheme, sep, rest = uri.partition("://")
    scheme = scheme.lower()
    if not sep or scheme == "file":
        return _in_folder(rest if sep else uri, settings)
    if scheme in STORES:
        return _in_store(uri, settings)
    if scheme not in ("http", "https"):
        raise invalid("videoUrl has to begin with http:// or https://.")
    parts = _split(uri)
    if not parts.hostname:
        raise invalid("videoUrl names no host.")
    if parts.username is not None or parts.password is not None:
        raise invalid("videoUrl holds a user name or a password; use a signed address instead.")
    guard = SsrfGuard(settings.networks)
    port = parts.port or {"http": 80, "https": 443}[scheme]
    try:
        found = {str(each[4][0]) for each in resolve(parts.hostname, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise invalid(f"videoUrl: there is no host {parts.hostname}.") from None
    if any(guard.refuses(address) for address in found):
        raise invalid(
            f"videoUrl: {redact_url(uri)} leads to an address that is not public, which serve.networks does not allow."
        )
    return uri


def address_hash(uri: str) -> str:
    """Hash of an address with its query (16 hex digits), by which a request is compared with an earlier one."""
    whole = without_fragment(uri) if scheme_of(uri) in WEB else uri
    return hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:16]


def _split(uri: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port, parts.hostname
    except ValueError:
        raise invalid("videoUrl is no address that can be read.") from None
    return parts


def _in_folder(path: str, settings: Serve) -> str:
    """The file with symbolic links resolved, if it is in an allowed folder."""
    if not path.startswith("/"):
        raise invalid("videoUrl has to begin with http:// or https://.")
    real = Path(path).resolve()
    folders = [Path(folder).expanduser().resolve() for folder in settings.allow if "://" not in folder]
    if not any(real.is_relative_to(folder) for folder in folders):
        raise invalid("videoUrl names a file of the server in no folder of serve.allow.")
    return str(real)


def _in_store(uri: str, settings: Serve) -> str:
    steps = uri.split("/")
    if ".." in steps or "." in steps or not any(_below(uri, prefix) for prefix in settings.allow if "://" in prefix):
        raise invalid("videoUrl names an object under no prefix of serve.allow.")
    return uri


def _below(uri: str, prefix: str) -> bool:
    return uri.startswith(prefix if prefix.endswith("/") else f"{prefix}/")
