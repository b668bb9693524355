"""Cache of clip detection: the clips of each video, one line per video, next to the journal."""

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
from lvqa_ray.storage.paths import StoragePath

CLIPS_FORMAT = 1
_KEY = re.compile(rb'{"key":"([0-9a-f]{64})",')
logger = logging.getLogger(__name__)


def clips_folder(journal: StoragePath) -> StoragePath:
    """Folder of these lines: next to the journal's segments."""
    return journal / "clips"


def index_of(folder: StoragePath) -> KeyIndex:
    """Index of the lines; only their keys are parsed."""
    return index_lines(open_segments(folder), _key_of)


def compact(folder: StoragePath) -> None:
    """Merge all segments into one with the last valid line of each video. No writer may be active.

    Raises:
        OSError: The new segment cannot be written; the old ones are unchanged.
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


def _no_companions(_: Video) -> tuple[str, ...]:
    return ()


class ClipIndex:
    """Caches the clips of videos: a cached video is neither opened nor downloaded to find its clips.

    Cached clips hold the times of their frames, which determine the cache keys of their requests; the frames
    themselves are decoded again when needed.

    Args:
        journal: Folder of the journal.
        recipe: All settings that determine the clips of a video and their speech.
        run_id: Names the segments that this run writes.
        index: Returns the index of the lines.
        beside: Returns identities of the companion files of a video (such as subtitles): the current one, and those of
            earlier releases; empty if there are none.
    """

    def __init__(
        self,
        journal: StoragePath,
        recipe: str,
        run_id: str,
        index: Callable[[], KeyIndex],
        beside: Callable[[Video], tuple[str, ...]] = _no_companions,
    ) -> None:
        self._log = KeyedLog(clips_folder(journal), run_id, index)
        self._recipe = recipe
        self._beside = beside

    def get(self, row: Row) -> list[Clip] | None:
        """The clips of a video, or ``None`` if they are not cached; a `Clip` is returned as it is."""
        if isinstance(row, Clip):
            return [row]
        if not isinstance(row, Video) or not row.fingerprint:
            return None
        found = self._log.find(*self._keys(row))
        if found is None:
            return None
        key, where = found
        try:
            record = self._log.read(where)
            return clips_of(row, record) if record["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):  # a torn line: the clips are detected again
            return None

    def put(self, row: Row, made: Sequence[Row]) -> None:
        """Cache the clips of a video, if all were found."""
        video = row.video if isinstance(row, ProbedVideo) else row
        if not isinstance(video, Video) or not video.fingerprint or not _all_found(made):
            return
        try:
            self._log.append({"key": self._keys(video)[0], **written(made)})
        except OSError as error:  # the only consequence is that the video is decoded again
            logger.warning("the clips of %s are not written to the cache (%s)", video.id, error)

    def _keys(self, video: Video) -> list[str]:
        """The cache key of a video, then those of earlier releases."""
        base = f"{CLIPS_FORMAT}\0{video.fingerprint}\0{self._recipe}"
        named = [f"{base}\0{beside}" for beside in self._beside(video)] or [base]
        return [hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest() for text in named]


def written(clips: Sequence[Clip]) -> dict[str, Any]:
    """The clips of one video as JSON, without the fields of the video."""
    first = clips[0]
    speech = {"speech": [astuple(line) for line in first.heard]} if first.heard else {}
    return {
        "info": asdict(first.info),
        **speech,
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


def clips_of(video: Video, record: Mapping[str, Any]) -> list[Clip]:
    """The clips of a video from the JSON of `written`, without images."""
    info = VideoInfo(**record["info"])
    names = [field.name for field in fields(Subtitle)]
    speech = tuple(Subtitle(**dict(zip(names, line, strict=True))) for line in record.get("speech", ()))
    return [
        Clip(
            video=video,
            info=info,
            index=index,
            span=Span(**each["span"]),
            last=index + 1 == len(record["clips"]),
            frames=tuple(Frame(time_s=time, jpeg=b"") for time in each["times"]),
            dropped=each["dropped"],
            lost_s=each["lost_s"],
            identity=each["identity"],
        ).hearing(speech, record.get("note", ""))
        for index, each in enumerate(record["clips"])
    ]


def _all_found(made: Sequence[Row]) -> TypeGuard[Sequence[Clip]]:
    return all(isinstance(row, Clip) for row in made) and any(isinstance(row, Clip) and row.last for row in made[-1:])


def clips_found(output: StoragePath) -> Callable[[Video], Sequence[Clip] | None] | None:
    """Look-up of the clips that the last job of an output folder found; ``None`` if they are gone."""
    from lvqa_ray.config import Job  # noqa: PLC0415 - these import every stage, and decode workers need few of them
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
