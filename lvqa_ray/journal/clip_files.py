"""Index of clip files in a bucket: one line per file, next to the journal.

On a disk, sidecar files describe the clip files. In a bucket, one listing gives the names and sizes of the files, and
these lines the rest: which span of the video each file covers.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass

from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.journal.keyed_log import KeyedLog, index_lines
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.records import Span
from lvqa_ray.storage.paths import ObjectPath, StoragePath
from lvqa_ray.video.cutting.clip_file import ClipFile

logger = logging.getLogger(__name__)


def files_folder(journal: StoragePath) -> StoragePath:
    """Folder of these lines."""
    return journal / "files"


def index_of(journal: StoragePath, kept: ObjectPath) -> KeyIndex:
    """Index of the lines whose files exist with the recorded size.

    Args:
        journal: Folder of the journal.
        kept: Folder of the clip files.

    Raises:
        OSError: The bucket does not answer.
    """
    segments = open_segments(files_folder(journal), make=False)
    sizes = {_key(file.uri[len(kept.uri) + 1 :]): file.size for file in kept.files(below=True)}

    def key_of(line: bytes) -> bytes | None:
        try:
            record = json.loads(line)
            key, size = _key(record["name"]), record["size"]
        except (ValueError, KeyError, TypeError):  # a torn line
            return None
        return key if sizes.get(key) == size else None

    return index_lines(segments, key_of) if sizes else KeyIndex.of({})


@dataclass(frozen=True)
class ClipFileIndex:
    """Records what clip files contain, and looks up those that existed when the pass began.

    Attributes:
        journal: Folder of the journal.
        run_id: Names the segments that this run writes.
        index: Returns the index of the lines.
    """

    journal: StoragePath
    run_id: str
    index: Callable[[], KeyIndex]

    def noted(self, name: str) -> ClipFile | None:
        """What a file contains, by its name below the folder of clip files; ``None`` if unknown."""
        found = self._log.find(_key(name).hex())
        if found is None:
            return None
        try:
            record = self._log.read(found[1])
            return ClipFile(span=Span(**record["span"]), mode=record["mode"]) if record["name"] == name else None
        except (OSError, ValueError, KeyError, TypeError):  # the clip is cut again
            return None

    def note(self, name: str, size: int, span: Span, mode: str) -> None:
        """Record what a complete file contains."""
        try:
            self._log.append({"name": name, "size": size, "span": asdict(span), "mode": mode})
        except OSError as error:  # the only consequence is that the clip is cut again
            logger.warning("the index entry of the clip file %s is not written (%s)", name, error)

    @property
    def _log(self) -> KeyedLog:
        return KeyedLog(files_folder(self.journal), self.run_id, self.index)


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
