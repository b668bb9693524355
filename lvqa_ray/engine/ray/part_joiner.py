"""Joins the parts of long videos into clips: one actor inside the graph, which buffers parts that arrive out of order.

If it dies, or the parts of a video do not fit together, the video has no outcome in this pass. Later passes process
videos in one piece, and find the paid captions in the journal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lvqa_ray.engine.result_cache import ResultCache
from lvqa_ray.engine.row_codec import Packed, pack, unpack
from lvqa_ray.engine.step_runner import internal_error_row, without_images
from lvqa_ray.records import Failure, ProbedVideo, Row, ScoredPart
from lvqa_ray.stages.split import JoiningClips
from lvqa_ray.video.scenes.parallel_join import PartsDisagreeError

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _OpenParts:
    joining: JoiningClips
    waiting: dict[int, ScoredPart] = field(default_factory=dict)
    next: int = 0
    made: list[Row] = field(default_factory=list)


class PartJoiner:
    """Emits the clips of each video as soon as all parts up to them have arrived; other rows pass through.

    Args:
        joining: Makes the joiner of one video.
        cache: Receives the clips of each complete video.
    """

    def __init__(self, joining: Callable[[ProbedVideo], JoiningClips], cache: ResultCache) -> None:
        self._joining = joining
        self._cache = cache
        self._open: dict[str, _OpenParts] = {}
        self._over: set[str] = set()

    def __call__(self, packed: Packed) -> list[Packed]:
        """The clips that are final now, each in a bundle of its own, so that many tasks share the work."""
        return [pack(made) for row in unpack(packed) for made in self._take(row)]

    def _take(self, row: Row) -> Sequence[Row]:
        if not isinstance(row, ScoredPart | Failure):
            return [row]
        video_id = row.video.id
        if video_id in self._over:  # one outcome is enough
            return []
        if isinstance(row, Failure):
            self._close(video_id)
            return [row]
        video = self._open.setdefault(video_id, _OpenParts(self._joining(row)))
        video.waiting[row.number] = row
        out: list[Row] = []
        while (part := video.waiting.pop(video.next, None)) and video_id in self._open:
            video.next += 1
            try:
                made = list(video.joining.add(part))
            except PartsDisagreeError as error:
                logger.info("%s: the next pass processes this video in one piece", error)
                self._close(video_id)
                return []
            except Exception as error:
                made = [internal_error_row("split", part, error)]
            out += made
            video.made += map(without_images, made)
            if any(isinstance(each, Failure) for each in made):
                self._close(video_id)
            elif part.end is None:
                self._cache.put(part.video, video.made)
                self._close(video_id)
        return out

    def _close(self, video_id: str) -> None:
        self._over.add(video_id)
        self._open.pop(video_id, None)
