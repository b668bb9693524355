"""Subtitle export: the captions or the speech of each video as one SRT or WebVTT file."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pysubs2

from lvqa_ray.dataset.reader import OutputReader
from lvqa_ray.errors import ConfigError
from lvqa_ray.report.export_files import Exported

Cue = tuple[int, int, str]
"""Start (ms), end (ms) and text of a subtitle."""


def export_subtitles(output: OutputReader, to: Path, form: str, *, speech: bool = False) -> Exported:
    """Write the captions or the speech of every video.

    Args:
        output: Output of a run.
        to: Folder for the files; a file is named after the video's id.
        form: ``srt`` or ``vtt``.
        speech: Write the speech instead of the captions.

    Raises:
        ConfigError: There are no captions or no speech, or a file cannot be written.
    """
    videos = _speech(output) if speech else _captions(output)
    if not videos:
        why = "no video has a line" if speech else "no clip has one"
        what, table = ("speech", "subtitles") if speech else ("captions", "clips")
        raise ConfigError(f"{output.folder} holds no {what}: {why} in {output.folder / table}.")
    try:
        to.mkdir(parents=True, exist_ok=True)
        for video, cues in videos.items():
            _subtitles(cues, form).save(str(to / f"{video}.{form}"), format_=form)
    except OSError as error:
        raise ConfigError(f"{to} cannot be written: {error.strerror or error}.") from None
    return Exported([to], {"all": len(videos)}, what="videos")


_BREAK = re.compile(r"\\(?=[hnN])")
r"""A backslash that pysubs2 would read as an escape (``\h``, ``\n``, ``\N``), as in a file path."""


def _captions(output: OutputReader) -> dict[str, list[Cue]]:
    videos: dict[str, list[Cue]] = {}
    for batch in output.batches("clips", ["video_id", "timestamp_start", "timestamp_end", "caption"]):
        for row in batch.to_pylist():
            if row["caption"]:
                start_ms, end_ms = (pysubs2.make_time(s=row[name]) for name in ("timestamp_start", "timestamp_end"))
                videos.setdefault(row["video_id"], []).append((start_ms, end_ms, row["caption"]))
    return videos


def _speech(output: OutputReader) -> dict[str, list[Cue]]:
    videos: dict[str, list[Cue]] = {}
    for batch in output.batches("subtitles", ["video_id", "start_ms", "end_ms", "text"]):
        for row in batch.to_pylist():
            videos.setdefault(row["video_id"], []).append((row["start_ms"], row["end_ms"], row["text"]))
    return videos


def _subtitles(cues: list[Cue], form: str) -> pysubs2.SSAFile:
    made = pysubs2.SSAFile()
    for start_ms, end_ms, text in sorted(cues):
        event = pysubs2.SSAEvent(start=start_ms, end=end_ms)
        event.plaintext = _text(text, form)
        made.append(event)
    return made


def _text(caption: str, form: str) -> str:
    """Escape a caption for use as cue text."""
    # Braces are formatting, and an empty line ends the cue.
    text = " ".join(caption.replace("{", "(").replace("}", ")").split())
    text = _BREAK.sub("\uff3c", text)  # the full-width backslash looks alike and escapes nothing
    # An arrow is the syntax of cue times.
    return html.escape(text, quote=False) if form == "vtt" else text.replace("-->", "\u2192")
