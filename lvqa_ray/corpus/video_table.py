"""The videos of a corpus as columns: a million of them take some 200 MB, and as objects they would take 1 GB."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lvqa_ray.records import Turn, Video, redact_url

COLUMNS = pa.schema(
    [
        ("id", pa.string()),
        ("uri", pa.binary()),  # a path is bytes, and not always characters
        ("fingerprint", pa.string()),
        ("conversation", pa.string()),  # as JSON; null where there is none
        ("extra", pa.binary()),  # null for no further columns; half a character may be in it
        ("input_hash", pa.string()),
        ("id_given", pa.bool_()),  # whether the manifest names the id
    ]
)
AT_ONCE = 10_000
"""Videos that are objects at the same time."""
_NOTHING = Video(id="", uri="", fingerprint="").input_hash


class Videos(Sequence[Video]):
    """Videos in their order; each becomes an object when it is looked at, and a slice is one of these again.

    Args:
        table: With the columns of `COLUMNS`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @classmethod
    def of(cls, videos: Iterable[Video]) -> Videos:
        """Those of an iterable, of which a few at a time are objects."""
        left = iter(videos)
        parts = []
        while some := list(islice(left, AT_ONCE)):
            turns = [
                json.dumps([[turn.speaker, turn.value] for turn in video.conversation]) if video.conversation else None
                for video in some
            ]
            extras = [None if video.extra == "{}" else video.extra for video in some]
            part = columns([video.id for video in some], [video.uri for video in some], turns, extras)
            prints = pa.array([video.fingerprint for video in some], pa.string())
            parts.append(part.set_column(COLUMNS.get_field_index("fingerprint"), COLUMNS.field("fingerprint"), prints))
        return cls.joined(parts)

    @classmethod
    def joined(cls, parts: Iterable[pa.Table]) -> Videos:
        """Those of several tables."""
        return cls(pa.concat_tables([COLUMNS.empty_table(), *parts]))

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, place: int) -> Video: ...
    @overload
    def __getitem__(self, place: slice) -> Videos: ...
    def __getitem__(self, place: int | slice) -> Video | Videos:
        if isinstance(place, slice):
            start, stop, step = place.indices(len(self))
            if step == 1:
                return Videos(self.table.slice(start, max(0, stop - start)))
            return self.take(range(start, stop, step))
        at = place + len(self) if place < 0 else place
        if not 0 <= at < len(self):
            raise IndexError(place)
        return next(iter(self[at : at + 1]))

    def __iter__(self) -> Iterator[Video]:
        for start in range(0, len(self), AT_ONCE):
            part = self.table.slice(start, AT_ONCE)
            named = (part[name].to_pylist() for name in COLUMNS.names[:5])
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
    def ids(self) -> Any:  # noqa: ANN401 - Arrow arrays have no types
        """The column of ids."""
        return self.table["id"]

    @property
    def fingerprints(self) -> Any:  # noqa: ANN401 - as above
        """The column of fingerprints."""
        return self.table["fingerprint"]

    @property
    def input_hashes(self) -> Any:  # noqa: ANN401 - as above
        """The column of hashes of what came along."""
        return self.table["input_hash"]

    @property
    def ids_given(self) -> Any:  # noqa: ANN401 - as above
        """The column that says whether the manifest names the id."""
        return self.table["id_given"]

    @property
    def places(self) -> Any:  # noqa: ANN401 - as above
        """Where the videos are, as the tables say it: with a question mark for what is no character."""
        return pa.chunked_array([_as_said(chunk) for chunk in self.table["uri"].chunks], pa.string())

    @property
    def talked_about(self) -> Videos:
        """Those that bring a conversation along."""
        return Videos(self.table.filter(pc.is_valid(self.table["conversation"])))

    def where(self, chosen: npt.NDArray[np.bool_]) -> Videos:
        """Those at which an array of the same length is true."""
        return Videos(self.table.filter(pa.array(chosen)))

    def take(self, places: Iterable[int]) -> Videos:
        """Those at some places, in that order."""
        return Videos(self.table.take(pa.array(places, pa.int64())))

    def renamed(self, ids: Mapping[int, str]) -> Videos:
        """The same with other ids at some places."""
        if not ids:
            return self
        at = np.zeros(len(self), dtype=np.bool_)
        at[list(ids)] = True
        # In one piece: Arrow replaces in no other way.
        column = pc.replace_with_mask(
            self.ids.combine_chunks(), pa.array(at), pa.array([ids[place] for place in sorted(ids)], pa.string())
        )
        return Videos(self.table.set_column(0, COLUMNS.field("id"), column))


def columns(
    ids: Any,  # noqa: ANN401 - a list or an Arrow array
    uris: Any,  # noqa: ANN401 - as above
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
        ids_given: Whether the manifest names the id; it names none, if empty.

    Raises:
        ValueError: A path holds what no path can.
    """
    count = len(ids)
    if not any(turns) and not any(extras):
        hashes = pa.repeat(_NOTHING, count)
    else:
        about = zip(turns, extras, strict=True)
        hashes = pa.array([_input_hash(said, extra) for said, extra in about], pa.string())
    if isinstance(uris, list):
        uris = pa.array([os.fsencode(uri) for uri in uris], pa.binary())
    along = [None if extra is None else extra.encode(errors="surrogatepass") for extra in extras]
    parts = [ids, uris, pa.repeat("", count), pa.array(turns, pa.string()), pa.array(along, pa.binary()), hashes]
    parts.append(pa.array(ids_given, pa.bool_()) if ids_given else pa.repeat(False, count))
    return pa.table(parts, schema=COLUMNS)


def _turns(said: str | None) -> tuple[Turn, ...]:
    return tuple(Turn(speaker=speaker, value=value) for speaker, value in json.loads(said)) if said else ()


def _input_hash(turns: str | None, extra: str | None) -> str:
    if turns is None and extra is None:
        return _NOTHING
    return Video(id="", uri="", fingerprint="", conversation=_turns(turns), extra=extra or "{}").input_hash


def _as_said(uris: Any) -> Any:  # noqa: ANN401 - as above
    try:
        said = uris.cast(pa.string())  # which looks whether it is UTF-8
    except pa.ArrowInvalid:
        pass
    else:
        if not pc.any(pc.match_substring(said, "://")).as_py():
            return said
    return pa.array([redact_url(os.fsdecode(uri)).encode(errors="replace").decode() for uri in uris.to_pylist()])
