"""The captions of videos as subtitles: one file a video, to be played beside it."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pysubs2

from lvqa_ray.errors import ConfigError
from lvqa_ray.report.export import Exported
from lvqa_ray.report.output import Output


def export_subtitles(output: Output, to: Path, form: str) -> Exported:
    """Write the captions of every video.

    Args:
        output: Output of a run.
        to: Folder for the files, which are named by the video's id.
        form: ``srt`` or ``vtt``.

    Raises:
        ConfigError: There are no captions, or a file cannot be written.
    """
    videos: dict[str, list[dict[str, Any]]] = {}
    for batch in output.batches("clips", ["video_id", "timestamp_start", "timestamp_end", "caption"]):
        for row in batch.to_pylist():
            if row["caption"]:
                videos.setdefault(row["video_id"], []).append(row)
    if not videos:
        raise ConfigError(f"{output.folder} holds no captions: no clip in {output.folder / 'clips'} has one.")
    try:
        to.mkdir(parents=True, exist_ok=True)
        for video, rows in videos.items():
            _subtitles(rows, form).save(str(to / f"{video}.{form}"), format_=form)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror or error}.") from None
    return Exported([to], {"all": len(videos)}, what="videos")


_BREAK = re.compile(r"\\(?=[hnN])")
"""Where a backslash begins what is taken for a space or a new line, as in the path of a file."""


def _subtitles(rows: list[dict[str, Any]], form: str) -> pysubs2.SSAFile:
    made = pysubs2.SSAFile()
    for row in sorted(rows, key=lambda row: (row["timestamp_start"], row["timestamp_end"])):
        line = pysubs2.SSAEvent(
            start=pysubs2.make_time(s=row["timestamp_start"]), end=pysubs2.make_time(s=row["timestamp_end"])
        )
        line.plaintext = _text(row["caption"], form)
        made.append(line)
    return made


def _text(caption: str, form: str) -> str:
    """A caption as the text of a cue: nothing in it is taken for more than a letter."""
    # Braces would be taken for formatting, and an empty line for the end of the caption.
    text = " ".join(caption.replace("{", "(").replace("}", ")").split())
    text = _BREAK.sub("\uff3c", text)  # a backslash of full width looks alike, and begins nothing
    # An arrow would be taken for the times of another cue.
    return html.escape(text, quote=False) if form == "vtt" else text.replace("-->", "\u2192")
