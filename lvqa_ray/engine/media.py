"""Cut clips on their way to where they are kept: on a store, each is cut on the node and then uploaded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lvqa_ray.config import Job
from lvqa_ray.engine.place import ObjectPath, Place, output_of
from lvqa_ray.engine.rows import Packed, pack, unpack
from lvqa_ray.engine.steps import failed
from lvqa_ray.records import Clip, Failure
from lvqa_ray.video.cut_notes import NOTES


@dataclass(frozen=True, slots=True)
class Media:
    """Where clip files go.

    Attributes:
        folder: Where they are cut into; on each node one of its own, if they are kept elsewhere.
        place: Where they are kept.
    """

    folder: Path
    place: Place

    def kept(self, made: Iterable[Packed]) -> Iterator[Packed]:
        """Rows whose clips are where they are kept; on a disk that is where they were cut."""
        if not isinstance(self.place, ObjectPath):
            yield from made
            return
        for packed in made:
            yield pack(*(self._uploaded(row, self.place) for row in unpack(packed)))

    def _uploaded(self, row: Any, place: ObjectPath) -> Any:  # noqa: ANN401 - any of the frozen rows
        if not isinstance(row, Clip) or not row.media_path:
            return row
        file = Path(row.media_path)
        target = place / file.relative_to(self.folder).as_posix()
        try:
            target.upload(file)
            for gone in (file, file.with_name(NOTES)):  # the notes are of use beside the files only
                gone.unlink(missing_ok=True)
        except OSError as error:
            message = f"the clip file cannot be written: {error.strerror or error}"
            return failed(
                row, Failure(video=row.video, stage="cut", kind="not_written", message=message, retryable=True)
            )
        return replace(row, media_path=str(target))


def media_of(job: Job) -> Media:
    """Where the clip files of a job go."""
    place = output_of(job) / "media"
    if isinstance(place, Path):
        return Media(place, place)
    return Media(Path(f"{job.engine.scratch_dir or Path(tempfile.gettempdir()) / 'lvqa'}-media"), place)
