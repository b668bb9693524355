"""Patterns among the sources of a job: which part of a name is literal, and which is to be matched.

One rule for disks and stores: from the left, each part of a name (between slashes) that exists under its literal name
is that name; from the first part on that does not exist and holds ``*``, ``?`` or ``[``, the rest is a pattern. ``**``
stands for any number of folders.
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
        pattern: What is matched below that; empty where the source exists as it is written, or is no pattern.
    """

    base: str
    pattern: str


def split(name: str, exists: Callable[[str], bool]) -> UriPattern:
    """The literal part of a name and its pattern.

    Args:
        name: A path or a key.
        exists: Whether there is something of that literal name.
    """
    parts = name.split("/")
    for number, part in enumerate(parts):
        if MAGIC.search(part) and not exists("/".join(parts[: number + 1])):
            return UriPattern("/".join(parts[:number]) or "/" * (number > 0), "/".join(parts[number:]))
    return UriPattern(name, "")


def split_uri(uri: str, access: StorageOptions) -> UriPattern:
    """The same of a store's URI.

    Raises:
        FetchError: The store does not say what exists.
    """
    scheme = uri.partition("://")[0]
    bucket, key = bucket_and_key(uri)
    found = split(key, lambda name: is_there(f"{scheme}://{bucket}/{name}", access))
    return UriPattern(f"{scheme}://{bucket}/{found.base}".rstrip("/") if found.pattern else uri, found.pattern)
