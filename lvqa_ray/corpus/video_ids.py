"""Video ids: made from file names, and made unique by a hash suffix."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from pathlib import Path
from posixpath import splitext

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.records import redact_url
from lvqa_ray.records.uri import base_name
from lvqa_ray.storage.remote import is_remote

LONGEST_ID = 120
"""Bytes: with a hash and a clip number, an id stays below the maximum length of a file name."""
_PLAIN = re.compile(r"[a-z0-9]+://[\w.:-]+/(?:[\w./-]*/)?(\w[\w.-]*\w)", re.ASCII)
"""A URL without percent-encoding and without query."""
_SAFE = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.-]{{0,{LONGEST_ID - 1}}}")


def safe(name: str) -> str:
    """The name with characters that are unsafe in file names replaced."""
    if _SAFE.fullmatch(name):
        return name
    name = re.sub(r"[^\w.-]+", "_", name).lstrip(".")
    return name.encode()[:LONGEST_ID].decode(errors="ignore") or "video"


def safe_all(names: pa.Array) -> pa.Array:
    """`safe` for a column of names."""
    good = pc.match_substring_regex(names, f"^{_SAFE.pattern}$")
    if pc.all(good).as_py():
        return names
    return pa.array([safe(name) for name in names.to_pylist()], pa.string())


def unique(videos: Videos) -> Videos:
    """Make ids unique: videos that share an id each get a hash suffix; duplicate entries are removed."""
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
    # A file that is listed twice with different data is two videos.
    of_place = Counter(
        places.filter(pc.is_in(places, value_set=places.take(pa.array(several)).combine_chunks())).to_pylist()
    )
    ids = {}
    for at, name, place in zip(several, names.to_pylist(), places.take(pa.array(several)).to_pylist(), strict=True):
        if of_name[name] > 1:
            video = videos[int(at)]
            source = (
                redact_url(video.uri) if of_place[place] == 1 else f"{video.uri}\0{video.conversation}\0{video.extra}"
            )
            ids[int(at)] = apart(video.id, source)
    return videos.renamed(ids)


def _folded(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids with case folded: some file systems ignore case."""
    if pc.all(pc.string_is_ascii(ids)).as_py():
        return pc.ascii_lower(ids)
    return pa.chunked_array([[ident.casefold() for ident in chunk.to_pylist()] for chunk in ids.chunks], pa.string())


def _first_of_each(videos: Videos) -> npt.NDArray[np.int64]:
    """Indexes of the first occurrence of each video, ascending."""
    rows = videos.table.select(["id", "uri", "input_hash"]).append_column("at", pa.array(np.arange(len(videos))))
    first = rows.group_by(["id", "uri", "input_hash"]).aggregate([("at", "min")])
    return np.sort(first["at_min"].to_numpy())


def apart(ident: str, source: str) -> str:
    """An id with a hash suffix of the text that distinguishes its video from others of the same name."""
    return f"{ident}-{hashlib.sha256(source.encode(errors='surrogateescape')).hexdigest()[:8]}"


def named_after(uri: str) -> str:
    """The id made from a file name alone."""
    return safe(stem(uri) if is_remote(uri) else Path(uri).stem)


def stem(uri: str) -> str:
    """The last component of a URI, without its suffix."""
    if found := _PLAIN.fullmatch(uri):  # ten times faster
        return splitext(found[1])[0]
    return splitext(base_name(uri))[0]
