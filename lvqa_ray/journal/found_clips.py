"""Which clips a video has, once they are found: a line a video, beside the journal of paid answers."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, fields
from typing import Any, TypeGuard

from lvqa_ray.errors import ConfigError
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.journal.keyed_log import KeyedLog, index_lines
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.run_ids import next_run_id
from lvqa_ray.journal.segments import COMPACT
from lvqa_ray.records import Clip, Frame, ProbedVideo, Row, Span, Subtitle, Video, VideoInfo
from lvqa_ray.storage import paths as place

CLIPS_FORMAT = 1
_KEY = re.compile(rb'{"key":"([0-9a-f]{64})",')
logger = logging.getLogger(__name__)


def clips_folder(journal: place.StoragePath) -> place.StoragePath:
    """Where the clips of videos are written down: beside the answers, and not among them."""
    return journal / "clips"


def index_of(folder: place.StoragePath) -> KeyIndex:
    """Where the lines stand; only their keys are read."""
    return index_lines(open_segments(folder), _key_of)


def compact(folder: place.StoragePath) -> None:
    """Make one segment of all, with the last line of each video, and none that cannot be read. Nobody may be writing.

    Raises:
        OSError: It cannot be written; the old ones are as they were.
    """
    if not folder.is_dir():
        return
    segments = open_segments(folder)
    before, index = list(segments.sizes()), index_lines(segments, _key_of)
    name = f"clips-{COMPACT}{next_run_id(before)}.jsonl"
    segments.replace(name, (segments.read(*where) for where in index.last_lines()))
    for old in before:
        segments.delete(old)


def _key_of(line: bytes) -> bytes | None:
    found = _KEY.match(line)
    return bytes.fromhex(found[1].decode()) if found else None


def _nothing(_: Video) -> tuple[str, ...]:
    return ()


class ClipIndex:
    """Keeps the clips of videos: such a video is neither opened nor fetched again to find them.

    Its clips know when their pictures are on screen, and with that the names of their answers; the pictures themselves
    are decoded again where they are needed.

    Args:
        journal: Folder of the journal of paid answers.
        recipe: All that decides which clips a video has, and what is said in them.
        beside: Names what is beside a video and is read with it, as it is now, and as earlier releases named it; empty
            for nothing.
        run_id: Names the segments that this run writes.
        index: Gives the places of the lines.
    """

    def __init__(
        self,
        journal: place.StoragePath,
        recipe: str,
        run_id: str,
        index: Callable[[], KeyIndex],
        beside: Callable[[Video], tuple[str, ...]] = _nothing,
    ) -> None:
        self._log = KeyedLog(clips_folder(journal), run_id, index)
        self._recipe = recipe
        self._beside = beside

    def get(self, row: Row) -> list[Clip] | None:
        """The clips of a video, or ``None`` where they are not known; one that was recalled before stays as it is."""
        if isinstance(row, Clip):
            return [row]
        if not isinstance(row, Video) or not row.fingerprint:
            return None
        found = self._log.find(*self._keys(row))
        if found is None:
            return None
        key, where = found
        try:
            said = self._log.read(where)
            return clips_of(row, said) if said["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):  # a torn line: it is found out again
            return None

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Write down the clips of a video, if all of them were found."""
        video = row.video if isinstance(row, ProbedVideo) else row
        if not isinstance(video, Video) or not video.fingerprint or not _all_found(made):
            return
        try:
            self._log.append({"key": self._keys(video)[0], **written(made)})
        except OSError as error:  # it costs decoding once more, and nothing else
            logger.warning("the clips of %s are not written down (%s)", video.id, error)

    def _keys(self, video: Video) -> list[str]:
        """The key of a video's line, then those that earlier releases wrote."""
        what = f"{CLIPS_FORMAT}\0{video.fingerprint}\0{self._recipe}"
        named = [f"{what}\0{beside}" for beside in self._beside(video)] or [what]
        return [hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest() for text in named]


def written(clips: Sequence[Clip]) -> dict[str, Any]:
    """Clips of one video, without what belongs to the video, as JSON."""
    first = clips[0]
    said = {"speech": [astuple(line) for line in first.heard]} if first.heard else {}
    return {
        "info": asdict(first.info),
        **said,
        **({"note": first.note} if first.note else {}),
        "clips": [
            {
                "span": asdict(clip.span),
                "times": [frame.time_s for frame in clip.frames],
                **{name: getattr(clip, name) for name in ("dropped", "lost_s", "identity")},
            }
            for clip in clips
        ],
    }


def clips_of(video: Video, said: Mapping[str, Any]) -> list[Clip]:
    """The clips of a video that `written` was given, without their pictures."""
    info = VideoInfo(**said["info"])
    names = [field.name for field in fields(Subtitle)]
    speech = tuple(Subtitle(**dict(zip(names, line, strict=True))) for line in said.get("speech", ()))
    return [
        Clip(
            video=video,
            info=info,
            index=index,
            span=Span(**each["span"]),
            last=index + 1 == len(said["clips"]),
            frames=tuple(Frame(time_s=time, jpeg=b"") for time in each["times"]),
            dropped=each["dropped"],
            lost_s=each["lost_s"],
            identity=each["identity"],
        ).hearing(speech, said.get("note", ""))
        for index, each in enumerate(said["clips"])
    ]


def _all_found(made: Sequence[Row]) -> TypeGuard[Sequence[Clip]]:
    return all(isinstance(row, Clip) for row in made) and any(isinstance(row, Clip) and row.last for row in made[-1:])


def clips_found(output: place.StoragePath) -> Callable[[Video], Sequence[Clip] | None] | None:
    """What the last job of an output folder found out about the clips of its videos; ``None`` where that is gone."""
    from lvqa_ray.config import Job  # noqa: PLC0415 - they know every stage: who decodes needs few of them
    from lvqa_ray.pipeline import build  # noqa: PLC0415 - as above

    journal = output / "cache"
    try:
        if not clips_folder(journal).is_dir():
            return None
        pipeline = build(Job.read((output / "job.yaml").read_text(encoding="utf-8"), where="job.yaml"))
        index = index_of(clips_folder(journal))
    except (ConfigError, OSError, UnicodeDecodeError):
        return None
    return ClipIndex(journal, pipeline.recipe, "none", lambda: index, pipeline.beside).get
