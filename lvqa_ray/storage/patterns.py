"""Glob patterns among the sources of a job: splits a name into its literal part and its pattern.

One rule for disks and stores: from the left, each part of a name (between slashes) that exists is literal. The pattern
begins at the first part that does not exist and contains ``*``, ``?`` or ``[``. ``**`` matches any number of folders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lvqa_ray.records.uri import MAGIC, bucket_and_key
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import is_there


class UriPattern(NamedTuple):
    """A source of a job.

    Attributes:
        base: Its literal part.
        pattern: Glob pattern below the base; empty if the source exists literally, or is no pattern.
    """

    base: str
    pattern: str


def split(name: str, exists: Callable[[str], bool]) -> UriPattern:
    """Split a name into its literal part and its pattern.

    Args:
        name: A path or a key.
        exists: Whether a literal name exists.
    """
    parts = name.split("/")
    for number, part in enumerate(parts):
        if MAGIC.search(part) and not exists("/".join(parts[: number + 1])):
            return UriPattern("/".join(parts[:number]) or "/" * (number > 0), "/".join(parts[number:]))
    return UriPattern(name, "")


def split_uri(uri: str, access: StorageOptions) -> UriPattern:
    """Split the URI of a store.

    Raises:
        FetchError: The store cannot be listed.
    """
    scheme = uri.partition("://")[0]
    bucket, key = bucket_and_key(uri)
    found = split(key, lambda name: is_there(f"{scheme}://{bucket}/{name}", access))
    return UriPattern(f"{scheme}://{bucket}/{found.base}".rstrip("/") if found.pattern else uri, found.pattern)
