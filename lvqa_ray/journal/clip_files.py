"""What the clip files in a store hold: a line a file, beside the journal of paid answers.

On a disk such notes lie beside the files themselves. Of those in a store one listing says which are there and how long
they are, and these lines the rest: what a file covers is known only to who has cut it.
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
    """Where it is written down."""
    return journal / "files"


def index_of(journal: StoragePath, kept: ObjectPath) -> KeyIndex:
    """Where the lines stand of the files that are there, and are as long as they were.

    Args:
        journal: Folder of the journal of paid answers.
        kept: Where the files are.

    Raises:
        OSError: The store does not answer.
    """
    segments = open_segments(files_folder(journal), make=False)
    sizes = {_key(file.uri[len(kept.uri) + 1 :]): file.size for file in kept.files(below=True)}

    def key_of(line: bytes) -> bytes | None:
        try:
            said = json.loads(line)
            key, size = _key(said["name"]), said["size"]
        except (ValueError, KeyError, TypeError):  # a torn line says nothing
            return None
        return key if sizes.get(key) == size else None

    return index_lines(segments, key_of) if sizes else KeyIndex.of({})


@dataclass(frozen=True)
class ClipFileIndex:
    """Notes what clip files hold, and knows it of those that were there when the pass began.

    Attributes:
        journal: Folder of the journal of paid answers.
        run_id: Names the segments that this run writes.
        index: Gives the places of the lines.
    """

    journal: StoragePath
    run_id: str
    index: Callable[[], KeyIndex]

    def noted(self, name: str) -> ClipFile | None:
        """What a file holds, by its name below all of them; ``None`` where that is not known."""
        found = self._log.find(_key(name).hex())
        if found is None:
            return None
        try:
            said = self._log.read(found[1])
            return ClipFile(span=Span(**said["span"]), mode=said["mode"]) if said["name"] == name else None
        except (OSError, ValueError, KeyError, TypeError):  # it is cut once more
            return None

    def note(self, name: str, size: int, span: Span, mode: str) -> None:
        """Write down what a file holds that is in its place."""
        try:
            self._log.append({"name": name, "size": size, "span": asdict(span), "mode": mode})
        except OSError as error:  # it costs cutting once more, and nothing else
            logger.warning("what %s holds is not written down (%s)", name, error)

    @property
    def _log(self) -> KeyedLog:
        return KeyedLog(files_folder(self.journal), self.run_id, self.index)


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()
