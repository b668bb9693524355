"""File identities of an output: maps file stamps to content fingerprints, so that known files are not read again.

A stamp is a hash of location, size and time (`fingerprints`). A file with a known stamp is not read. Of any other file
three windows are hashed (`content`): a known content has a fingerprint already, wherever the file is; the hash of a new
content is its fingerprint. Releases before this table used the stamp as the fingerprint. Such files keep it, so that
the cache keys of their paid replies stay the same.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from posixpath import basename

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.corpus.content import content, contents
from lvqa_ray.corpus.fingerprints import fingerprint, out_of_reach, stamp_elsewhere
from lvqa_ray.corpus.video_table import VIDEO_COLUMNS, Videos
from lvqa_ray.dataset.current_rows import row_groups
from lvqa_ray.dataset.outcomes import OUTCOME, find, flat, numbers
from lvqa_ray.dataset.shards import read_shard, replace_shard
from lvqa_ray.dataset.stored_manifest import MANIFEST_FILE, OUTCOME_TABLES
from lvqa_ray.records import Video, redact_url
from lvqa_ray.records.tables import VIDEO_ID
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.paths import StoragePath
from lvqa_ray.storage.remote import is_remote

IDENTITIES_FILE = "fingerprints.parquet"
IDENTITIES_SCHEMA = pa.schema([(name, pa.string()) for name in ("stamp", "content", "fingerprint")])
"""``content`` is null if it was never read: for files that an earlier release processed."""
FILES_AT_ONCE = 2**16
"""Batch size: files that are hashed before their contents are looked up."""


def identified(video: Video, folder: StoragePath, access: StorageOptions) -> Video:
    """One video with its content fingerprint, as in the runs of an output; nothing is written."""
    given = Videos.of([replace(video, fingerprint=fingerprint(video.uri, access))])
    return replace(video, fingerprint=Identities(folder, OUTCOME.empty_table()).identify(given, access)[0].fingerprint)


class Identities:
    """The table of stamps, contents and fingerprints of an output.

    Args:
        folder: The output folder.
        done: Its outcomes, as `outcomes` gives them.
    """

    def __init__(self, folder: StoragePath, done: pa.Table) -> None:
        self._folder = folder
        self._done = done
        path = folder / IDENTITIES_FILE
        empty = IDENTITIES_SCHEMA.empty_table()
        # The content column is read only for new files.
        self._known = read_shard(path, ["stamp", "fingerprint"]) if path.exists() else empty.select([0, 2])
        self._new: list[pa.Table] = []

    def identify(self, videos: Videos, access: StorageOptions) -> Videos:
        """The videos with their content fingerprints; an unreadable file keeps its stamp.

        Args:
            videos: Videos with their stamps in the fingerprint column.
            access: Options of object stores.

        Raises:
            ConfigError: The output cannot be read.
        """
        stamps = flat(videos.fingerprints)
        first = self._known.slice(0, len(stamps))
        if flat(first["stamp"]).equals(stamps):  # the common case: the same manifest as in the last run
            return _with(videos, first["fingerprint"])
        at = find(stamps, self._known["stamp"])
        unknown = at < 0
        prints = stamps
        if not unknown.all():
            known = flat(self._known["fingerprint"]).take(pa.array(np.where(unknown, 0, at)))
            prints = pc.if_else(pa.array(unknown), stamps, known) if unknown.any() else known
        if unknown.any():
            old = self._before()
            unknown &= ~numbers(pc.or_(pc.equal(stamps, ""), pc.is_in(stamps, value_set=old)))
            self._import(old)
        if unknown.any():
            prints = self._found(videos, np.flatnonzero(unknown), prints, access)
        return _with(videos, prints)

    def store(self) -> None:
        """Write new identities to the table.

        Raises:
            OSError: It cannot be written.
        """
        if self._new:
            table = pa.concat_tables([self._table, *self._new])
            self._new = []
            replace_shard(table, self._folder / IDENTITIES_FILE)
            self._known = table.select(self._known.column_names)

    @property
    def _table(self) -> pa.Table:
        path = self._folder / IDENTITIES_FILE
        return (
            read_shard(path).select(IDENTITIES_SCHEMA.names).cast(IDENTITIES_SCHEMA)
            if path.exists()
            else IDENTITIES_SCHEMA.empty_table()
        )

    def _before(self) -> pa.Array:
        """Fingerprints of this output that are stamps: of an earlier release, or of unreadable files."""
        parts = [self._done["fingerprint"]]
        if (path := self._folder / MANIFEST_FILE).exists():
            parts.append(read_shard(path, ["fingerprint"])["fingerprint"])
        prints = pc.unique(pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string()))
        return prints.filter(pc.invert(pc.is_in(prints, value_set=flat(self._known["fingerprint"]))))

    def _import(self, old: pa.Array) -> None:
        old = old.filter(pc.invert(pc.equal(old, "")))
        if len(old):
            self._new.append(pa.table([old, pa.nulls(len(old), pa.string()), old], schema=IDENTITIES_SCHEMA))

    def _found(
        self, videos: Videos, places: npt.NDArray[np.int64], prints: pa.ChunkedArray, access: StorageOptions
    ) -> pa.Array:
        """The fingerprints, replaced at some indexes by those of the hashed contents."""
        table = pa.concat_tables([self._table, *self._new])
        read = table.filter(pc.is_valid(table["content"]))
        wanted = {basename(where) for where in videos.take(places).places.to_pylist()}
        before = _Before(self._folder, table.filter(pc.is_null(table["content"]))["fingerprint"], wanted, access)
        fresh: dict[str, str] = {}
        found: list[str] = []
        for start in range(0, len(places), FILES_AT_ONCE):
            some = videos.take(places[start : start + FILES_AT_ONCE]).table
            uris, stamps = some["uri"].to_pylist(), some["fingerprint"].to_pylist()
            reachable = [b"" if out_of_reach(os.fsdecode(uri), s) else uri for uri, s in zip(uris, stamps, strict=True)]
            hashes = contents(reachable, access)
            at = find(pa.array(hashes, pa.string()), read["content"])
            known = read["fingerprint"].take(pa.array(at[at >= 0])).to_pylist()
            fresh |= dict(zip((hashes[place] for place in np.flatnonzero(at >= 0)), known, strict=True))
            learned = []
            for uri, stamp, hashed in zip(uris, stamps, hashes, strict=True):
                if not hashed:
                    found.append(stamp)
                    continue
                if hashed not in fresh:
                    fresh[hashed] = before.of(os.fsdecode(uri), hashed) or hashed
                found.append(fresh[hashed])
                learned.append((stamp, hashed, found[-1]))
            if learned:
                columns = [pa.array(column, pa.string()) for column in zip(*learned, strict=True)]
                self._new.append(pa.table(columns, schema=IDENTITIES_SCHEMA))
        mask = np.zeros(len(videos), dtype=np.bool_)
        mask[places] = True
        return pc.replace_with_mask(flat(prints), pa.array(mask), pa.array(found, pa.string()))


def _with(videos: Videos, prints: pa.Array) -> Videos:
    column = VIDEO_COLUMNS.get_field_index("fingerprint")
    return Videos(videos.table.set_column(column, VIDEO_COLUMNS.field(column), prints))


class _Before:
    """Files that an earlier release processed and that were moved or copied since: found by name, size and time.

    Args:
        folder: The output folder.
        prints: The fingerprints of that release.
        wanted: File names to look for.
        access: Options of object stores.
    """

    def __init__(self, folder: StoragePath, prints: pa.ChunkedArray, wanted: Set[str], access: StorageOptions) -> None:
        self._access = access
        self._named: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for where, fingerprint_ in _located(folder, prints) if len(prints) else ():
            if (name := basename(where)) in wanted:
                self._named[name].append((where, fingerprint_))

    def of(self, uri: str, hashed: str) -> str:
        """The fingerprint that an earlier release gave to this file at another location; empty if none."""
        named: Sequence[tuple[str, str]] = self._named.get(basename(redact_url(uri)), ())
        for where, before in named:
            if stamp_elsewhere(uri, where, self._access) == before:
                return before
        for where, before in named:
            there = not is_remote(where) and where != uri and fingerprint(where) == before
            if there and content(os.fsencode(where), self._access) == hashed:
                return before
        return ""


def _located(folder: StoragePath, prints: pa.ChunkedArray) -> Iterator[tuple[str, str]]:
    """Locations of the files with these fingerprints, with the fingerprints."""
    prints, parts = flat(prints), []
    if (path := folder / MANIFEST_FILE).exists():
        parts.append(read_shard(path, ["video", "fingerprint"]))
    for table in OUTCOME_TABLES:
        for _, rows in row_groups(folder, table, [VIDEO_ID[table], "video", "fingerprint"]):
            parts.append(rows.select(["video", "fingerprint"]))
    for rows in parts:
        found = rows.filter(pc.and_(pc.is_in(rows["fingerprint"], value_set=prints), pc.is_valid(rows["video"])))
        once = found.group_by(["video", "fingerprint"]).aggregate([])
        yield from zip(once["video"].to_pylist(), once["fingerprint"].to_pylist(), strict=True)
