"""The names of videos: what a file's name gives, and what keeps those of the same name apart."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.engine.remote import is_remote
from lvqa_ray.records import Video, shown

LONGEST_ID = 120
"""Bytes: with a hash and a clip's number, an id stays below what a file name may have."""
_SAFE = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{LONGEST_ID - 1}}}")


def safe(name: str) -> str:
    """The name with all that a file name had better not hold replaced."""
    if _SAFE.fullmatch(name):
        return name
    name = re.sub(r"[^\w.-]+", "_", name).lstrip(".")
    return name.encode()[:LONGEST_ID].decode(errors="ignore") or "video"


def unique(videos: list[Video]) -> list[Video]:
    """Where several videos would share an id, each gets a short hash of its own; the others keep theirs.

    What is listed twice counts once.
    """
    names = pa.array([video.id.casefold() for video in videos])
    if pc.count_distinct(names).as_py() == len(videos):
        return videos
    counts = names.value_counts()
    repeated = set(counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist())
    several = dict.fromkeys(video for video in videos if video.id.casefold() in repeated)
    shared = Counter(video.id.casefold() for video in several)
    where = {shown(video.uri) for video in several}
    taken = Counter(shown(video.uri) for video in several)
    taken.update(
        place for video in videos if video.id.casefold() not in repeated and (place := shown(video.uri)) in where
    )
    kept = []
    for video in videos:
        if video.id.casefold() not in repeated:
            kept.append(video)
        elif several.pop(video, several) is None:  # the first time that it comes by
            # One file that is listed twice, with other data beside it, is two rows.
            place = shown(video.uri)
            what = place if taken[place] == 1 else f"{video.uri}\0{video.conversation}\0{video.extra}"
            kept.append(video if shared[video.id.casefold()] == 1 else apart(video, what))
    return kept


def apart(video: Video, what: str) -> Video:
    """The video with a short hash behind its id: of what makes it another than those of the same name."""
    digest = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:8]
    return replace(video, id=f"{video.id}-{digest}")


def named_after(uri: str) -> str:
    """The id that a file's name alone gives."""
    return safe(stem(uri) if is_remote(uri) else Path(uri).stem)


def stem(uri: str) -> str:
    """The name that an address ends in, without its suffix."""
    return PurePosixPath(unquote(urlsplit(uri).path)).stem
