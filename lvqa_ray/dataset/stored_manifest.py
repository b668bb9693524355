"""Stored manifest of an output, and stable ids: a video keeps the id of its existing rows."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Set

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.corpus.video_ids import apart
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.dataset.current_rows import row_groups
from lvqa_ray.dataset.outcomes import find, flat, numbers
from lvqa_ray.dataset.shards import read_shard, replace_shard
from lvqa_ray.records import Video, redact_url
from lvqa_ray.records.tables import VIDEO_ID, TableName
from lvqa_ray.storage.paths import StoragePath
from lvqa_ray.storage.remote import is_remote

MANIFEST_FILE = "manifest.parquet"
OUTCOME_TABLES: tuple[TableName, ...] = ("failures", "analysis", "data")


def with_stable_ids(videos: Videos, done: pa.Table, folder: StoragePath) -> Videos:
    """The videos, each with the id of its existing rows in the output.

    A moved file keeps the id of its content. If a second file of the same name is added, the file with rows keeps its
    id and the new file gets another. The id of a deleted file passes to the file of the same name that replaced it.
    Ids given in the manifest do not change.

    Args:
        videos: The videos of the manifest, with the ids that it alone yields.
        done: The outcomes of the output, as `outcomes` gives them.
        folder: The output folder.
    """
    if not done.num_rows:
        return videos
    at = find(videos.ids, done["id"])
    same = pc.equal(done["fingerprint"].take(pa.array(np.where(at < 0, 0, at))), videos.fingerprints)
    strange = (at < 0) | ~numbers(same)
    strangers = np.flatnonzero(strange)
    if not len(strangers):
        return videos
    rows = videos.take(strangers)
    owner, known = _rows_of(rows, folder)
    owned = pa.array(list(owner), pa.string())
    alike = _by_content(rows, done)
    # The others have no rows.
    about = numbers(
        pc.or_(
            pc.or_(
                pc.is_in(rows.ids, value_set=owned),
                pc.is_in(rows.places, value_set=pa.array(list(known), pa.string())),
            ),
            pc.is_in(rows.fingerprints, value_set=pa.array(list(alike), pa.string())),
        )
    )
    settled = set(videos.ids.filter(pa.array(~strange)).to_pylist()) if alike else set()
    strangers, rows = strangers[about], rows.where(about)
    places, given = rows.places.to_pylist(), rows.ids_given.to_pylist()
    settled.update(rows.ids.filter(rows.ids_given).to_pylist())
    renamed: dict[int, str] = {}
    left: list[tuple[int, Video, str]] = []
    for index, video, where, is_given in zip(strangers, rows, places, given, strict=True):
        if is_given:
            continue
        if ident := _moved(video, alike.get(video.fingerprint, {}), settled):
            settled.add(ident)
            renamed[int(index)] = ident
        else:
            left.append((int(index), video, where))
    at_place = Counter(places)
    taken = set(videos.ids.filter(pc.is_in(videos.ids, value_set=owned)).to_pylist()) | settled
    for index, video, where in left:
        before = _before(video, known.get(where, {}), single=at_place[where] == 1)
        ident = video.id
        if before and before not in taken:
            ident = before
        elif ident in settled or (not before and owner.get(ident, where) != where and _is_there(owner[ident])):
            ident = apart(ident, redact_url(video.uri))
        taken.add(ident)
        if ident != video.id:
            renamed[index] = ident
    return videos.renamed({index: ident for index, ident in renamed.items() if ident})


def _by_content(videos: Videos, done: pa.Table) -> dict[str, dict[str, str]]:
    """By content fingerprint of the videos: ids with outcomes, and the input hash of each."""
    known = done.filter(pc.is_in(done["fingerprint"], value_set=flat(videos.fingerprints)))
    found: dict[str, dict[str, str]] = {}
    columns = (known[name].to_pylist() for name in ("fingerprint", "id", "input_hash"))
    for content, ident, input_hash in zip(*columns, strict=True):
        if content:
            found.setdefault(content, {})[ident] = input_hash
    return found


def _moved(video: Video, alike: Mapping[str, str], settled: Set[str]) -> str:
    """The id of a moved video in the output: one with the same content, preferably with the same input hash."""
    free = [ident for ident in alike if ident not in settled]
    own = [ident for ident in free if alike[ident] == video.input_hash]
    return next(iter([*(ident for ident in own if ident == video.id), *own, *free]), "")


def _rows_of(videos: Videos, folder: StoragePath) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The location in the rows of each of these ids; and, by location, the ids with rows and their input hashes."""
    ids, where = flat(videos.ids), flat(videos.places)
    owner: dict[str, str] = {}
    known: dict[str, dict[str, str]] = {}
    for table in OUTCOME_TABLES:
        for _, rows in row_groups(folder, table, [VIDEO_ID[table], "video", "input_hash"]):
            named = rows.rename_columns(["id", "video", "input_hash"])
            found = pc.or_(pc.is_in(named["id"], value_set=ids), pc.is_in(named["video"], value_set=where))
            for row in named.filter(found).to_pylist():
                owner[row["id"]] = row["video"]
                known.setdefault(row["video"], {})[row["id"]] = row["input_hash"]
    return owner, known


def _before(video: Video, rows: Mapping[str, str], *, single: bool) -> str:
    """The id of a video in the output; empty if there is none, or more than one candidate.

    Args:
        video: The video.
        rows: Ids with rows of its file, and their input hashes.
        single: Whether it is the only video of the manifest with that file.
    """
    alike = [ident for ident, input_hash in rows.items() if input_hash == video.input_hash]
    if len(alike) == 1:
        return alike[0]
    return next(iter(rows)) if len(rows) == 1 and single else ""


def _is_there(uri: str) -> bool:
    """Whether a file still exists; assumed for remote files."""
    return is_remote(uri) or os.path.exists(uri)  # noqa: PTH110 - a path of any bytes


def store_manifest(folder: StoragePath, videos: Videos, job_hash: str) -> None:
    """Write the manifest of a run: one row for each video, and the job hash.

    Raises:
        OSError: It cannot be written.
    """
    _store(folder, _rows(videos), job_hash)


def update_manifest(folder: StoragePath, videos: Videos, job_hash: str) -> None:
    """Replace the rows of some videos in the stored manifest.

    Raises:
        ConfigError: The manifest cannot be read.
        OSError: It cannot be written.
    """
    rows = _rows(videos)
    if stored := stored_manifest(folder):
        others = stored[0].filter(pc.invert(pc.is_in(stored[0]["id"], value_set=flat(rows["id"]))))
        rows = pa.concat_tables([others, rows.select(others.column_names)])
    _store(folder, rows, job_hash)


def _rows(videos: Videos) -> pa.Table:
    columns = {
        "id": videos.ids,
        "video": videos.places,
        "fingerprint": videos.fingerprints,
        "input_hash": videos.input_hashes,
        "conversation": videos.table["conversation"],
    }
    return pa.table(columns)


def _store(folder: StoragePath, rows: pa.Table, job_hash: str) -> None:
    replace_shard(rows.replace_schema_metadata({"job_hash": job_hash}), folder / MANIFEST_FILE)


def manifest_time(folder: StoragePath) -> float:
    """Modification time of the manifest (s since the epoch), by the clock of its disk or store."""
    try:
        return (folder / MANIFEST_FILE).stat().st_mtime
    except OSError:
        return 0.0


def stored_manifest(folder: StoragePath) -> tuple[pa.Table, str] | None:
    """The manifest of the last run and its job hash; ``None`` if there was no run.

    Raises:
        ConfigError: It cannot be read.
    """
    if not (folder / MANIFEST_FILE).exists():
        return None
    table = read_shard(folder / MANIFEST_FILE)
    metadata: Mapping[bytes, bytes] = table.schema.metadata or {}
    return table, metadata.get(b"job_hash", b"").decode()
