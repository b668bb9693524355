"""The names of videos: what a file's name gives, and what keeps those of the same name apart."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from posixpath import splitext
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import base_name
from lvqa_ray.storage.remote import is_remote

LONGEST_ID = 120
"""Bytes: with a hash and a clip's number, an id stays below what a file name may have."""
_PLAIN = re.compile(r"[a-z0-9]+://[\w.:-]+/(?:[\w./-]*/)?(\w[\w.-]*\w)", re.ASCII)
"""An address in which nothing is quoted, and no query follows."""
_SAFE = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{LONGEST_ID - 1}}}")


def safe(name: str) -> str:
    """The name with all that a file name had better not hold replaced."""
    if _SAFE.fullmatch(name):
        return name
    name = re.sub(r"[^\w.-]+", "_", name).lstrip(".")
    return name.encode()[:LONGEST_ID].decode(errors="ignore") or "video"


def safe_all(names: Any) -> Any:  # noqa: ANN401 - Arrow arrays have no types
    """A column of names, each made safe."""
    good = pc.match_substring_regex(names, f"^{_SAFE.pattern}$")
    if pc.all(good).as_py():
        return names
    return pa.array([safe(name) for name in names.to_pylist()], pa.string())


def unique(videos: Videos) -> Videos:
    """Where several videos would share an id, each gets a short hash of its own; the others keep theirs.

    What is listed twice counts once.
    """
    names = _folded(videos.ids)
    counts = pa.table({"name": names}).group_by("name").aggregate([([], "count_all")])
    if counts.num_rows == len(videos):
        return videos
    shared = pc.is_in(names, value_set=counts.filter(pc.greater(counts["count_all"], 1))["name"].combine_chunks())
    several = np.flatnonzero(shared.to_numpy())
    once = _first_of_each(videos.take(several))
    kept = np.ones(len(videos), dtype=np.bool_)
    kept[np.delete(several, once)] = False
    videos, several = videos.where(kept), (np.cumsum(kept) - 1)[several[once]]
    names, places = names.filter(pa.array(kept)).take(pa.array(several)), videos.places
    of_name = Counter(names.to_pylist())
    # One file that is listed twice, with other data beside it, is two rows.
    of_place = Counter(
        places.filter(pc.is_in(places, value_set=places.take(pa.array(several)).combine_chunks())).to_pylist()
    )
    ids = {}
    for at, name, place in zip(several, names.to_pylist(), places.take(pa.array(several)).to_pylist(), strict=True):
        if of_name[name] > 1:
            video = videos[int(at)]
            what = (
                redact_url(video.uri) if of_place[place] == 1 else f"{video.uri}\0{video.conversation}\0{video.extra}"
            )
            ids[int(at)] = apart(video.id, what)
    return videos.renamed(ids)


def _folded(ids: Any) -> Any:  # noqa: ANN401 - as above
    """Ids as a file system may take them for the same."""
    if pc.all(pc.string_is_ascii(ids)).as_py():
        return pc.ascii_lower(ids)
    return pa.chunked_array([[ident.casefold() for ident in chunk.to_pylist()] for chunk in ids.chunks], pa.string())


def _first_of_each(videos: Videos) -> npt.NDArray[np.int64]:
    """Places of the videos that are none listed before, in their order."""
    rows = videos.table.select(["id", "uri", "input_hash"]).append_column("at", pa.array(np.arange(len(videos))))
    first = rows.group_by(["id", "uri", "input_hash"]).aggregate([("at", "min")])
    return np.sort(first["at_min"].to_numpy())


def apart(ident: str, what: str) -> str:
    """An id with a short hash behind it: of what makes its video another than those of the same name."""
    return f"{ident}-{hashlib.sha256(what.encode(errors='surrogateescape')).hexdigest()[:8]}"


def named_after(uri: str) -> str:
    """The id that a file's name alone gives."""
    return safe(stem(uri) if is_remote(uri) else Path(uri).stem)


def stem(uri: str) -> str:
    """The name that an address ends in, without its suffix."""
    if found := _PLAIN.fullmatch(uri):  # in a tenth of the time
        return splitext(found[1])[0]
    return splitext(base_name(uri))[0]
