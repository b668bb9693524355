"""Films with something said in them: subtitles beside the film and in its file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.subtitles.codeccontext import SubtitleCodecContext
from av.subtitles.subtitle import SubtitleSet

Line = tuple[int, int, str]
"""When a line begins and ends (ms), and what is said."""

ASS_HEADER = b"[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n\0"


def srt(lines: Sequence[Line]) -> str:
    """The text of a SubRip file."""

    def stamp(ms: int) -> str:
        return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"

    return "\n".join(
        f"{number}\n{stamp(start)} --> {stamp(end)}\n{text}\n" for number, (start, end, text) in enumerate(lines, 1)
    )


def with_streams(film: Path, to: Path, streams: Sequence[tuple[str, Sequence[Line]]], codec: str) -> Path:
    """Copy a film and put streams of subtitles into it.

    Args:
        film: The film.
        to: The copy; its suffix chooses the container.
        streams: Language and lines of each.
        codec: ``subrip``, ``ass`` and ``webvtt`` for Matroska, ``mov_text`` for MP4.
    """
    with av.open(str(film)) as given, av.open(str(to), "w") as made:
        copies = {stream.index: made.add_stream_from_template(stream) for stream in given.streams}
        said = []
        for language, lines in streams:
            encoder = av.CodecContext.create(codec, "w")
            assert isinstance(encoder, SubtitleCodecContext)
            encoder.subtitle_header = ASS_HEADER
            encoder.time_base = Fraction(1, 1000)
            stream = made.add_stream(codec)
            assert isinstance(stream.codec_context, SubtitleCodecContext)
            stream.codec_context.subtitle_header = ASS_HEADER
            stream.time_base = Fraction(1, 1000)
            stream.metadata["language"] = language
            said.append((stream, encoder, lines))
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream_index]
                made.mux(packet)
        for stream, encoder, lines in said:
            for number, (start, end, text) in enumerate(lines):
                shown = f"{number},0,Default,,0,0,0,,{text}".encode()
                packet = encoder.encode_subtitle(SubtitleSet.create(shown, 0, end - start, pts=start))
                packet.stream = stream
                packet.pts = packet.dts = start
                packet.duration = end - start
                packet.time_base = Fraction(1, 1000)
                made.mux(packet)
    return to
