"""What the clip files in a store hold: a line a file, beside the journal of paid answers.

On a disk such notes lie beside the files themselves. Of those in a store one listing says which are there and how long
they are, and these lines the rest: what a file covers is known only to who has cut it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache

from lvqa_ray.journal import index
from lvqa_ray.journal.locations import for_reading, open_segments
from lvqa_ray.journal.segments import Segments, by_time
from lvqa_ray.records import Span
from lvqa_ray.storage.paths import ObjectPath, StoragePath
from lvqa_ray.video.cutting.clip_file import ClipFile

logger = logging.getLogger(__name__)


def files_folder(journal: StoragePath) -> StoragePath:
    """Where it is written down."""
    return journal / "files"


def index_of(journal: StoragePath, kept: ObjectPath) -> index.KeyIndex:
    """Where the lines stand of the files that are there, and are as long as they were.

    Args:
        journal: Folder of the journal of paid answers.
        kept: Where the files are.

    Raises:
        OSError: The store does not answer.
    """
    segments = open_segments(files_folder(journal), make=False)
    sizes = {_key(file.uri[len(kept.uri) + 1 :]): file.size for file in kept.files(below=True)}
    places: dict[bytes, index.Place] = {}
    for name in sorted(segments.sizes(), key=by_time) if sizes else ():
        offset = 0
        for line in segments.lines(name, 0):
            try:
                said = json.loads(line)
                key, size = _key(said["name"]), said["size"]
            except (ValueError, KeyError, TypeError):  # a torn line says nothing
                key, size = b"", -1
            if sizes.get(key) == size:
                places[key] = (name, offset, len(line))
            offset += len(line)
    return index.KeyIndex.of(places)


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
    index: Callable[[], index.KeyIndex]

    def noted(self, name: str) -> ClipFile | None:
        """What a file holds, by its name below all of them; ``None`` where that is not known."""
        place = self.index().place(_key(name).hex())
        if place is None:
            return None
        try:
            said = json.loads(for_reading(files_folder(self.journal)).read(*place))
            return ClipFile(span=Span(**said["span"]), mode=said["mode"]) if said["name"] == name else None
        except (OSError, ValueError, KeyError, TypeError):  # it is cut once more
            return None

    def note(self, name: str, size: int, span: Span, mode: str) -> None:
        """Write down what a file holds that is in its place."""
        line = {"name": name, "size": size, "span": asdict(span), "mode": mode}
        try:
            text = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
            _segments(files_folder(self.journal)).append(f"files-{self.run_id}_{_process()}.jsonl", text)
        except OSError as error:  # it costs cutting once more, and nothing else
            logger.warning("what %s holds is not written down (%s)", name, error)


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode(errors="surrogateescape")).digest()


@cache
def _segments(folder: StoragePath) -> Segments:
    return open_segments(folder)


@cache
def _process() -> str:
    return uuid.uuid4().hex[:8]
