"""Group-by of clips into videos, streaming: emits a video as soon as its last clip has arrived.

One actor inside the graph does it instead of ``groupby``, which is a barrier: no question could be asked before the
last caption of the corpus. The actor holds only the clips of incomplete videos, as text. If it dies, these videos have
no outcome in this pass, and the next pass finds their replies in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from lvqa_ray.engine.row_codec import Packed, pack, unpack
from lvqa_ray.records import CaptionedClip, Failure, Row


@dataclass(slots=True)
class _OpenVideo:
    clips: dict[int, CaptionedClip] = field(default_factory=dict)
    last: int | None = None

    @property
    def complete(self) -> bool:
        return self.last is not None and len(self.clips) == self.last + 1


class ClipAssembler:
    """Collects the clips of each video; emits them, and the rows merged from them, when all have arrived.

    Args:
        merge: Makes the rows of a video from its captioned clips.
    """

    def __init__(self, merge: Callable[[Sequence[CaptionedClip]], Iterable[Row]]) -> None:
        self._merge = merge
        self._open: dict[str, _OpenVideo] = {}
        self._failed: set[str] = set()

    def __call__(self, packed: Packed) -> list[Packed]:
        """The rows that are complete now; rows other than clips pass through.

        A video that fails has no last clip: the clips that arrived, or arrive later, are dropped.
        """
        out = [made for row in unpack(packed) for made in self.take(row)]
        return [pack(*out)] if out else []

    def take(self, row: Row) -> Iterable[Row]:
        """Take one row; returns the rows that are complete now."""
        if isinstance(row, Failure):
            self._failed.add(row.video.id)
            self._open.pop(row.video.id, None)
        if not isinstance(row, CaptionedClip):
            return [row]
        video_id = row.clip.video.id
        if video_id in self._failed:
            return []
        video = self._open.setdefault(video_id, _OpenVideo())
        video.clips[row.clip.index] = row
        if row.clip.last:
            video.last = row.clip.index
        if not video.complete:
            return []
        clips = [video.clips[index] for index in sorted(video.clips)]
        del self._open[video_id]
        return [*clips, *self._merge(clips)]
