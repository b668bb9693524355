"""Uploads cut clips: if the output is in an object store, a node cuts a clip locally and then uploads it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lvqa_ray.engine.row_codec import Packed, pack, unpack
from lvqa_ray.engine.step_runner import failed
from lvqa_ray.journal import clip_files
from lvqa_ray.journal.clip_files import ClipFileIndex
from lvqa_ray.journal.index import KeyIndex
from lvqa_ray.records import CaptionedClip, Clip, Failure, Row
from lvqa_ray.storage.paths import ObjectPath, StoragePath
from lvqa_ray.video.cutting.sidecar_index import NOTES

if TYPE_CHECKING:  # it imports every stage, and decode tasks need few of them
    from lvqa_ray.config import Job


@dataclass(frozen=True, slots=True)
class ClipUploader:
    """Moves clip files from the folder where they are cut to the output.

    Attributes:
        folder: Folder into which clips are cut; one per node, if the output is in a store.
        target: Folder of the clip files in the output.
        files: Index of the clip files in a store.
    """

    folder: Path
    target: StoragePath
    files: ClipFileIndex | None = None

    def expected(self, clip: Clip, predict: Callable[..., Clip | None]) -> Clip | None:
        """The clip as it will be after the cut, without its frames; ``None`` if its file does not exist yet.

        Args:
            clip: The clip before.
            predict: Predicts it from the files of a disk, or from an index that it gets; see `Pipeline.expected`.
        """
        if not isinstance(self.target, ObjectPath):
            return predict(clip)
        files = self.files
        if files is None:
            return None
        made: Clip | None = predict(clip, noted=lambda path: files.noted(self._name(path)))
        if made is None or not made.media_path:
            return made
        return replace(made, media_path=str(self.target / self._name(Path(made.media_path))))

    @property
    def cuts_in_place(self) -> bool:
        """Whether clips are cut directly into the output."""
        return not isinstance(self.target, ObjectPath)

    def upload(self, made: Iterable[Packed]) -> Iterator[Packed]:
        """Upload the clip files of rows, if the output is in a store; gives rows with the new paths."""
        if not isinstance(self.target, ObjectPath):
            yield from made
            return
        for packed in made:
            yield pack(*(self._uploaded(row, self.target) for row in unpack(packed)))

    def _uploaded(self, row: Row, folder: ObjectPath) -> Row:
        if isinstance(row, CaptionedClip):  # it failed after its cut: its file would stay on this node
            self._remove(row.clip)
            return replace(row, clip=_without_file(row.clip))
        if not isinstance(row, Clip) or not row.media_path:
            return row
        file = Path(row.media_path)
        target = folder / self._name(file)
        try:
            size = file.stat().st_size
            target.upload(file)
        except OSError as error:
            message = f"the clip file cannot be written: {error.strerror or error}"
            return failed(
                _without_file(row),
                Failure(video=row.video, stage="cut", kind="not_written", message=message, retryable=True),
            )
        finally:
            self._remove(row)
        if self.files and row.media_span:
            self.files.note(self._name(file), size, row.media_span, row.media_mode)
        return replace(row, media_path=str(target))

    def _name(self, file: Path) -> str:
        """The path of a file relative to the folder of the clips."""
        return file.relative_to(self.folder).as_posix()

    def _remove(self, clip: Clip) -> None:
        """Remove a clip's file and its sidecar index from this node."""
        file = Path(clip.media_path)
        if not clip.media_path or not file.is_relative_to(self.folder):
            return
        for gone in (file, file.with_name(NOTES)):
            with suppress(OSError):  # it only takes disk space
                gone.unlink(missing_ok=True)


def _without_file(clip: Clip) -> Clip:
    return replace(clip, media_path="", media_span=None, media_mode="")


def clip_uploader(job: Job) -> ClipUploader:
    """The uploader of a job; the folder on a node is specific to the user and the output."""
    from lvqa_ray.config.places import output_path  # noqa: PLC0415 - it imports every stage

    target = output_path(job) / "media"
    if isinstance(target, Path):
        return ClipUploader(target, target)
    begin = job.engine.scratch_dir or Path(tempfile.gettempdir()) / "lvqa"
    output = hashlib.sha256(str(target).encode()).hexdigest()[:12]
    return ClipUploader(Path(f"{begin}-media-{os.getuid()}-{output}"), target)


def index_of_files(journal: StoragePath, target: StoragePath) -> KeyIndex:
    """Index of the clip files in a store; empty if the output is on a disk, or the store does not answer."""
    with suppress(OSError):  # the clips are cut again
        if isinstance(target, ObjectPath):
            return clip_files.index_of(journal, target)
    return KeyIndex.of({})
