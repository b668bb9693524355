"""Videos of a corpus as Arrow columns: a million take about 200 MB, and would take 1 GB as objects."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.records import Turn, Video, redact_url

VIDEO_COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("uri", pa.binary()),  # paths need not be valid UTF-8
        ("fingerprint", pa.string()),
        ("conversation", pa.string()),  # as JSON; null where there is none
        ("extra", pa.binary()),  # null for no further columns; may contain lone surrogates
        ("input_hash", pa.string()),
        ("id_given", pa.bool_()),  # whether the manifest names the id
    ]
)
VIDEOS_AT_ONCE = 10_000
"""Batch size: videos that are Python objects at the same time."""
_NOTHING = Video(id="", uri="", fingerprint="").input_hash


class Videos(Sequence[Video]):
    """Sequence of videos backed by an Arrow table; items become objects on access, and slices are `Videos`.

    Args:
        table: A table with `VIDEO_COLUMNS`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def of(cls, videos: Iterable[Video]) -> Videos:
        """The videos of an iterable, consumed in batches."""
        left = iter(videos)
        parts = []
        while some := list(islice(left, VIDEOS_AT_ONCE)):
            turns = [
                json.dumps([[turn.speaker, turn.value] for turn in video.conversation]) if video.conversation else None
                for video in some
            ]
            extras = [None if video.extra == "{}" else video.extra for video in some]
            part = columns([video.id for video in some], [video.uri for video in some], turns, extras)
            prints = pa.array([video.fingerprint for video in some], pa.string())
            parts.append(
                part.set_column(
                    VIDEO_COLUMNS.get_field_index("fingerprint"), VIDEO_COLUMNS.field("fingerprint"), prints
                )
            )
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Iterable[pa.Table]) -> Videos:
        """Concatenate several tables."""
        return cls(pa.concat_tables([VIDEO_COLUMNS.empty_table(), *parts]))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Video: ...
    @overload
    def __getitem__(self, index: slice) -> Videos: ...
    def __getitem__(self, index: int | slice) -> Video | Videos:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step == 1:
                return Videos(self.table.slice(start, max(0, stop - start)))
            return self.take(range(start, stop, step))
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(index)
        return next(iter(self[at : at + 1]))

    def __iter__(self) -> Iterator[Video]:
        for start in range(0, len(self), VIDEOS_AT_ONCE):
            part = self.table.slice(start, VIDEOS_AT_ONCE)
            named = (part[name].to_pylist() for name in VIDEO_COLUMNS.names[:5])
            for ident, uri, fingerprint, turns, extra in zip(*named, strict=True):
                yield Video(
                    id=ident,
                    uri=os.fsdecode(uri),
                    fingerprint=fingerprint,
                    conversation=_turns(turns),
                    extra="{}" if extra is None else extra.decode(errors="surrogatepass"),
                )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Videos) and bool(self.table.equals(other.table))

    __hash__ = None  # type: ignore[assignment]  # as of a list

    @property
    def ids(self) -> pa.ChunkedArray:
        """The column of ids."""
        return self.table["id"]

    @property
    def fingerprints(self) -> pa.ChunkedArray:
        """The column of fingerprints."""
        return self.table["fingerprint"]

    @property
    def input_hashes(self) -> pa.ChunkedArray:
        """The column of input hashes (see `Video.input_hash`)."""
        return self.table["input_hash"]

    @property
    def ids_given(self) -> pa.ChunkedArray:
        """Whether the manifest names the id, as a column."""
        return self.table["id_given"]

    @property
    def places(self) -> pa.ChunkedArray:
        """Locations as the output tables show them: redacted, with a question mark for invalid characters."""
        return pa.chunked_array([_shown(chunk) for chunk in self.table["uri"].chunks], pa.string())

    @property
    def talked_about(self) -> Videos:
        """The videos with a conversation in the manifest."""
        return Videos(self.table.filter(pc.is_valid(self.table["conversation"])))

    def where(self, chosen: npt.NDArray[np.bool_]) -> Videos:
        """The videos for which a boolean mask of the same length is true."""
        return Videos(self.table.filter(pa.array(chosen)))

    def take(self, places: Iterable[int]) -> Videos:
        """The videos at some indexes, in that order."""
        return Videos(self.table.take(pa.array(places, pa.int64())))

    def renamed(self, ids: Mapping[int, str]) -> Videos:
        """The same videos with other ids at some indexes."""
        if not ids:
            return self
        at = np.zeros(len(self), dtype=np.bool_)
        at[list(ids)] = True
        # `replace_with_mask` needs a single chunk.
        column = pc.replace_with_mask(
            self.ids.combine_chunks(), pa.array(at), pa.array([ids[index] for index in sorted(ids)], pa.string())
        )
        return Videos(self.table.set_column(0, VIDEO_COLUMNS.field("id"), column))


def columns(
    ids: Sequence[str] | pa.Array,
    uris: Sequence[str] | pa.Array,
    turns: Sequence[str | None],
    extras: Sequence[str | None],
    ids_given: Sequence[bool] = (),
) -> pa.Table:
    """A table for `Videos`, without fingerprints.

    Args:
        ids: Ids.
        uris: Paths and URLs: Arrow's bytes, or a list of texts.
        turns: Conversations as JSON, each a list of pairs of speaker and value; ``None`` where there is none.
        extras: Further columns as JSON, ``None`` where there are none.
        ids_given: Whether the manifest names the id; empty for none.

    Raises:
        ValueError: A path cannot be encoded.
    """
    count = len(ids)
    if not any(turns) and not any(extras):
        hashes = pa.repeat(_NOTHING, count)
    else:
        hashes = pa.array(list(map(_input_hash, turns, extras)), pa.string())
    if isinstance(uris, list):
        uris = pa.array([os.fsencode(uri) for uri in uris], pa.binary())
    encoded = [None if extra is None else extra.encode(errors="surrogatepass") for extra in extras]
    parts = [ids, uris, pa.repeat("", count), pa.array(turns, pa.string()), pa.array(encoded, pa.binary()), hashes]
    parts.append(pa.array(ids_given, pa.bool_()) if ids_given else pa.repeat(False, count))
    return pa.table(parts, schema=VIDEO_COLUMNS)


def _turns(encoded: str | None) -> tuple[Turn, ...]:
    return tuple(Turn(speaker=speaker, value=value) for speaker, value in json.loads(encoded)) if encoded else ()


def _input_hash(turns: str | None, extra: str | None) -> str:
    if turns is None and extra is None:
        return _NOTHING
    return Video(id="", uri="", fingerprint="", conversation=_turns(turns), extra=extra or "{}").input_hash


def _shown(uris: pa.Array) -> pa.Array:
    try:
        texts = uris.cast(pa.string())  # fails on invalid UTF-8
    except pa.ArrowInvalid:
        pass
    else:
        if not pc.any(pc.match_substring(texts, "://")).as_py():
            return texts
    return pa.array([redact_url(os.fsdecode(uri)).encode(errors="replace").decode() for uri in uris.to_pylist()])
