"""Subtitles of a video: a file beside it, or a stream in it.

FFmpeg parses both, since it handles more irregular files than a small parser; pysubs2 removes the formatting. Encodings
are never guessed: one other than UTF-8 and UTF-16 must be configured.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.subtitles.stream import SubtitleStream

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.records import Subtitle
from lvqa_ray.records.safe_text import safe_text
from lvqa_ray.video.audio.languages import match
from lvqa_ray.video.audio.sidecars import SUBTITLE_FORMATS, chosen
from lvqa_ray.video.reader.container import open_container, picture_stream
from lvqa_ray.video.reader.container_formats import open_input

VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".ts", ".mpg")
"""Suffixes of other videos to which a subtitle file may belong."""
SETTLED_NS = 2 * 10**9
"""A folder that changed less than this ago may change again without a new modification time (ns)."""
TEXTS = frozenset({"subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text"})
"""Codecs of text subtitles; the others are images."""
SUBTITLE_BYTES = 20 * 2**20
_BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Subtitle file beside a video, and the language in its name."""

    path: Path
    language: str = ""


def sidecar_of(video: str, languages: Sequence[str]) -> Sidecar | None:
    """Find the subtitle file beside a local video, by the rules of `lvqa_ray.video.audio.sidecars.chosen`."""
    path = Path(video)
    try:
        there = _subtitles_in(path.parent)
    except OSError:  # the folder may be readable and not listable
        every = [
            f"{path.stem}{middle}{suffix}"
            for middle in ("", *(f".{one}" for one in languages))
            for suffix in SUBTITLE_FORMATS
        ]
        there = tuple(name for name in every if path.with_name(name).is_file())
    names = [name for name in there if name.startswith(path.stem) or not name.isascii()]
    own = [name for name in names if not _of_another(path, name)]
    found = chosen(path.stem, own, languages)
    return Sidecar(path.with_name(found.name), found.language) if found else None


def _of_another(video: Path, name: str) -> bool:
    """Whether a subtitle file belongs to a video with a longer name: ``film.en.srt`` beside ``film.en.mp4``."""
    stem = name.rpartition(".")[0]
    while len(stem) > len(video.stem):
        if any(video.with_name(f"{stem}{suffix}").exists() for suffix in (video.suffix, *VIDEOS)):
            return True
        stem = stem.rpartition(".")[0]
    return False


def _subtitles_in(folder: Path) -> tuple[str, ...]:
    """Names of all subtitle files in a folder; cached by the folder's modification time."""
    changed_ns = folder.stat().st_mtime_ns
    if time.time_ns() - changed_ns < SETTLED_NS:
        return _listed.__wrapped__(folder, changed_ns)
    return _listed(folder, changed_ns)


@lru_cache(maxsize=16)
def _listed(folder: Path, _: int) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        return tuple(
            sorted(
                entry.name
                for entry in entries
                if os.path.splitext(entry.name)[1].casefold() in SUBTITLE_FORMATS and entry.is_file()  # noqa: PTH122 - a million times
            )
        )


def read_sidecar(sidecar: Sidecar, encoding: str = "") -> tuple[Subtitle, ...]:
    """Read the lines of a subtitle file, in time order.

    Args:
        sidecar: The file.
        encoding: For files that are neither UTF-8 nor UTF-16 with a byte order mark; if empty, they are refused.

    Raises:
        VideoError: It cannot be read, or has no line with times.
    """
    path = sidecar.path
    try:
        with path.open("rb") as file:
            data = file.read(SUBTITLE_BYTES + 1)
    except OSError as error:
        raise _bad(f"{path.name} cannot be read ({error.strerror}); check its permissions.") from error
    if len(data) > SUBTITLE_BYTES:
        raise _bad(
            f"{path.name} has more than {SUBTITLE_BYTES >> 20} MB, which no file of subtitles has; move it away."
        )
    text = _decoded(path, data, encoding)
    try:
        with open_input(io.BytesIO(text.encode()), subtitles=SUBTITLE_FORMATS[path.suffix.lower()]) as container:
            lines = _lines(container, container.streams.subtitles[0], 0.0, "sidecar", sidecar.language)
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise _bad(f"{path.name} holds no subtitles that can be read ({error}); mend it, or move it away.") from error
    if not lines:
        raise _bad(f"{path.name} holds no line of text with its times; mend it, or move it away.")
    return lines


def read_stream(video: str, languages: Sequence[str]) -> tuple[Subtitle, ...]:
    """Read the lines of a text subtitle stream in a video, in time order; none if there is no such stream.

    Of several streams it takes the first in a wanted language; if no language is given, the default or first stream.

    Args:
        video: A local file.
        languages: Wanted languages in order of preference; ``en`` matches ``eng`` too.

    Raises:
        VideoError: The file cannot be opened, or the stream cannot be read.
    """
    with open_container(video) as container:
        stream = _chosen(container, languages)
        if stream is None:
            return ()
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        picture = picture_stream(video, container)
        zero_s = float((picture.start_time or 0) * Fraction(picture.time_base or 0))
        try:
            return _lines(container, stream, zero_s, "stream", stream.language or "")
        except (av.FFmpegError, ValueError) as error:
            raise _bad(f"The stream of subtitles cannot be read ({error}); take it out of the file.") from error


def _chosen(container: InputContainer, languages: Sequence[str]) -> SubtitleStream | None:
    streams = [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context is not None and stream.codec_context.name in TEXTS
    ]
    if languages:
        for wanted in languages:
            fitting = [(match(wanted, stream.language or ""), stream) for stream in streams]
            best = max((how for how, _ in fitting), default=0)
            if best:
                return next(stream for how, stream in fitting if how == best)
        return None
    marked = [stream for stream in streams if stream.disposition & Disposition.default]
    return next(iter([*marked, *streams]), None)


def _decoded(path: Path, data: bytes, encoding: str) -> str:
    """Decode text by its byte order mark, else as UTF-8, else in the given encoding."""
    marked = next((name for mark, name in _BOMS if data.startswith(mark)), "")
    try:
        return data.decode(marked or "utf-8")
    except UnicodeDecodeError:
        if not encoding or marked:
            raise _bad(
                f"{path.name} is not UTF-8; save it as such, or name its encoding as speech.encoding, such as cp1252."
            ) from None
    try:
        return data.decode(encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise _bad(f"{path.name} cannot be read as {encoding} ({error}); set speech.encoding.") from None


def _lines(
    container: InputContainer, stream: SubtitleStream, zero_s: float, source: str, language: str
) -> tuple[Subtitle, ...]:
    """Unique lines of a stream, with times relative to ``zero_s``; without empty lines and drawings."""
    found: dict[Subtitle, None] = {}
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size:
            continue
        begin_s = float(packet.pts * Fraction(packet.time_base)) - zero_s
        end_s = begin_s + float((packet.duration or 0) * Fraction(packet.time_base))
        start_ms, end_ms = max(0, round(1000 * begin_s)), round(1000 * end_s)
        for text in _texts(stream, packet):
            if end_ms > start_ms:
                line = Subtitle(start_ms=start_ms, end_ms=end_ms, text=text, source=source, language=language)
                found[line] = None
    return tuple(sorted(found, key=lambda line: (line.start_ms, line.end_ms)))


def _texts(stream: SubtitleStream, packet: av.Packet) -> Iterator[str]:  # type: ignore[type-arg]
    import pysubs2  # noqa: PLC0415 - most videos have no subtitles

    for shown in stream.decode(packet):
        # The last of nine fields is the text, see libavcodec/ass.c.
        raw = getattr(shown, "ass", b"").decode(errors="replace").split(",", 8)[-1]
        event = pysubs2.SSAEvent(text=raw)
        text = " ".join(safe_text(event.plaintext.replace("\x00", " ")).split())
        if text and not event.is_drawing:
            yield text


def _bad(message: str) -> VideoError:
    return VideoError(VideoFault.BAD_SUBTITLES, message)
