"""Index of clip files: true span and mode of each clip, as JSON lines in a hidden file per folder.

A clip file is written atomically, and its name has all settings. But its true span is known only after cutting, so a
clip without an entry is cut again.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from lvqa_ray.records import Span
from lvqa_ray.video.cutting.clip_file import ClipFile

NOTES = ".cuts.jsonl"


def noted(path: Path) -> ClipFile | None:
    """Read the index entry of a clip file; ``None`` if the file is missing, has another size, or has no entry."""
    try:
        size = path.stat().st_size
        lines = (path.parent / NOTES).read_bytes().splitlines()
    except OSError:
        return None
    begin = _begin(path)
    for line in reversed(lines):
        if line.startswith(begin):
            with suppress(ValueError, KeyError, TypeError):  # a torn line
                entry = json.loads(line)
                if entry["size"] == size:
                    return ClipFile(span=Span(**entry["span"]), mode=entry["mode"])
    return None


def note(path: Path, made: ClipFile) -> None:
    """Append the index entry of a clip file. If writing fails, the clip is cut again next time."""
    with suppress(OSError):
        entry = {"name": path.name, "size": path.stat().st_size, "span": asdict(made.span), "mode": made.mode}
        line = b"\n" + json.dumps(entry, separators=(",", ":")).encode() + b"\n"  # the line before may be torn
        file = os.open(path.parent / NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)  # one write, since several processes append
        finally:
            os.close(file)


def _begin(path: Path) -> bytes:
    return b'{"name":' + json.dumps(path.name).encode() + b","
