"""What clip files hold, noted beside them: a line a clip, in one hidden file a folder.

A clip file appears complete or not at all, and is named by what it is. But what it really covers is known only to who
has cut it, so without its note it is cut again.
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
    """What a clip file holds; ``None`` where it is not there, is not as long as it was, or has no note."""
    try:
        size = path.stat().st_size
        lines = (path.parent / NOTES).read_bytes().splitlines()
    except OSError:
        return None
    begin = _begin(path)
    for line in reversed(lines):
        if line.startswith(begin):
            with suppress(ValueError, KeyError, TypeError):  # a torn line says nothing
                said = json.loads(line)
                if said["size"] == size:
                    return ClipFile(span=Span(**said["span"]), mode=said["mode"])
    return None


def note(path: Path, made: ClipFile) -> None:
    """Note what a clip file holds. Where that cannot be written, the file is cut once more another time."""
    with suppress(OSError):
        said = {"name": path.name, "size": path.stat().st_size, "span": asdict(made.span), "mode": made.mode}
        line = b"\n" + json.dumps(said, separators=(",", ":")).encode() + b"\n"  # the last one may be torn
        file = os.open(path.parent / NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(file, line)  # at once: several processes cut the clips of a video
        finally:
            os.close(file)


def _begin(path: Path) -> bytes:
    return b'{"name":' + json.dumps(path.name).encode() + b","
