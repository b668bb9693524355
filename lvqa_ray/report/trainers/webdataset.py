"""WebDataset shards: tar files with the clip files, their captions, and the questions that cite them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.records.tables import SCHEMAS
from lvqa_ray.report.export_files import Exported, Selection, Split, new_folder, records
from lvqa_ray.report.trainers.training_sample import USED, SampleStyle, sample_of
from lvqa_ray.storage.paths import storage_path

SHARD_BYTES = 1_000_000_000
"""A shard is closed when it is larger; https://github.com/webdataset/webdataset advises about 1 GB."""
_CLIP = ("id", "video_id", "media_path", "timestamp_start", "timestamp_end", "caption")


def export_webdataset(output: OutputReader, to: Path, selection: Selection, style: SampleStyle) -> Exported:
    """Write one sample per clip file: the clip, ``json`` (caption, times, questions) and ``txt`` (caption).

    Args:
        output: Output of a run that cut clips.
        to: Folder to create; it must be empty if it exists.
        selection: Which records, and the split.
        style: How replies are written.

    Raises:
        ConfigError: No clip has a file, a file cannot be read, or the folder is not empty or cannot be written.
    """
    asked = _questions(output, selection, style)
    parts = selection.splits if selection.fraction else ("train",)
    counts, lost = dict.fromkeys(parts, 0), 0
    with new_folder(to) as partial:
        shards = {part: _TarShards(partial, part) for part in parts}
        for clip in (row for batch in output.batches("clips", _CLIP) for row in batch.to_pylist()):
            if not clip["media_path"]:
                continue
            part = selection.split(clip["video_id"]) if selection.fraction else "train"
            if shards[part].add(clip, asked.get(clip["id"], [])):
                counts[part] += 1
            else:
                lost += 1
        for shard in shards.values():
            shard.close()
        if not sum(counts.values()):
            why = (
                f"none of the {lost:,} clip files is there any more" if lost else "the job cut no clip files (cut.mode)"
            )
            raise ConfigError(f"{output.folder} has no clips to export: {why}.")
    notes = (f"{lost:,} clip files are not at their path any more and were left out.",) if lost else ()
    return Exported([to.absolute()], counts, what="clips", notes=notes)


def _questions(output: OutputReader, selection: Selection, style: SampleStyle) -> dict[str, list[dict[str, Any]]]:
    """Questions by the clips that their reasoning cites."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    columns = [name for name in dict.fromkeys([*USED, *selection.columns]) if name in SCHEMAS["data"].names]
    for record in records(output, columns, selection.where):
        sample = sample_of(record, style)
        made = {name: record[name] for name in selection.columns} | {
            "id": sample.id,
            "kind": sample.kind,
            "category": sample.category,
            "prompt": sample.prompt,
            "answer": sample.answer,
            "reply": sample.reply,
        }
        cited = (clip for step in record["parsed_reasoning"]["REASONS"] for clip in step["clip_ids"] or ())
        for clip in dict.fromkeys(cited):
            found[clip].append(made)
    return found


class _TarShards:
    """Numbered tar files of one split; a file is started when a sample needs it."""

    def __init__(self, folder: Path, part: Split) -> None:
        self._folder, self._part = folder, part
        self._number = 0
        self._tar: tarfile.TarFile | None = None
        self._keys: set[str] = set()

    def add(self, clip: dict[str, Any], questions: list[dict[str, Any]]) -> bool:
        """Add a sample; returns whether the clip file could be read."""
        path = storage_path(clip["media_path"])
        try:
            media = path.read_bytes()
        except OSError:
            return False
        key = self._key(clip["id"])
        row = {
            "id": clip["id"],
            "video_id": clip["video_id"],
            "start_s": clip["timestamp_start"],
            "end_s": clip["timestamp_end"],
            "caption": clip["caption"],
            "questions": questions,
        }
        self._write(f"{key}{Path(clip['media_path']).suffix or '.mp4'}", media)
        self._write(f"{key}.json", json.dumps(row, ensure_ascii=False).encode(errors="replace"))
        self._write(f"{key}.txt", (clip["caption"] or "").encode(errors="replace"))
        if self._open.offset >= SHARD_BYTES:
            self.close()
        return True

    def close(self) -> None:
        """Close the current tar file."""
        if self._tar is not None:
            self._tar.close()
            self._tar, self._number = None, self._number + 1

    @property
    def _open(self) -> tarfile.TarFile:
        if self._tar is None:
            self._tar = tarfile.open(self._folder / f"{self._part}-{self._number:06d}.tar", "w")  # noqa: SIM115 - `close`
        return self._tar

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._open.addfile(member, io.BytesIO(data))

    def _key(self, ident: str) -> str:
        """A key of WebDataset: no dot, as what follows the first dot is the extension."""
        key = re.sub(r"[^\w-]", "_", ident)
        while key in self._keys:
            key += "_"
        self._keys.add(key)
        return key
