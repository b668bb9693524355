"""Subtitles beside a film and in it, of every format, well-formed or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.errors import VideoError
from lvqa_ray.video.audio.subtitles import SUBTITLE_BYTES, Sidecar, read_sidecar, read_stream, sidecar_of
from tests import media
from tests.spoken import Line, srt, with_streams

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there {\\an8}
second & <b>line</b>

2
00:00:00,100 --> 00:00:00,900
- 42

3
00:00:04,000 --> 00:00:05,000
7

4
00:00:06,000 --> 00:00:05,000
backwards
"""
VTT = """WEBVTT

NOTE nobody says this
nor this

STYLE
::cue { color: red }

first-cue
00:01.000 --> 00:02.500 align:start position:0%
<v Ann>Hello <c.loud>there</c> &amp; you
line two

second-cue
00:02.500 --> 00:03.000
über
"""
ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,nobody says this
Dialogue: 0,0:00:03.00,0:00:04.00,Default,Ann,0,0,0,,{\\pos(1,2)}Hello,\\N you, there
Dialogue: 1,0:00:03.00,0:00:04.00,Default,Ann,0,0,0,,Hello,\\N you, there
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 1 1{\\p0}
"""


@pytest.mark.parametrize(
    ("suffix", "text", "lines"),
    [
        ("srt", SRT, [(100, 900, "- 42"), (1000, 2500, "Hello there second & line"), (4000, 5000, "7")]),
        ("vtt", VTT, [(1000, 2500, "Hello there & you line two"), (2500, 3000, "über")]),
        ("ass", ASS, [(3000, 4000, "Hello, you, there")]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_beside_the_film(tmp_path: Path, suffix: str, text: str, lines: list[Line], encoding: str) -> None:
    path = tmp_path / f"film.{suffix}"
    path.write_text(text, encoding=encoding)
    found = read_sidecar(Sidecar(path, "en"))
    assert [(line.start_ms, line.end_ms, line.text) for line in found] == lines
    assert {(line.source, line.language) for line in found} == {("sidecar", "en")}


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "film.srt holds no line of text with its times; mend it"),
        (b"no subtitles at all\n" * 9, "holds no line"),
        (bytes(range(256)) * 9, "film.srt is not UTF-8; save it as such, or name its encoding as speech.encoding"),
        (b"\xff\xfe1", "is not UTF-8"),
        (b"x" * (SUBTITLE_BYTES + 1), "more than 20 MB"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "film.srt"
    path.write_bytes(data)
    with pytest.raises(VideoError, match=says) as caught:
        read_sidecar(Sidecar(path))
    assert caught.value.kind == "bad_subtitles"


def test_an_encoding_that_is_named_is_taken_and_none_is_guessed(tmp_path: Path) -> None:
    path = tmp_path / "film.srt"
    path.write_text(srt([(0, 1000, "Grüße")]), encoding="cp1252")
    with pytest.raises(VideoError, match="is not UTF-8"):
        read_sidecar(Sidecar(path))
    assert [line.text for line in read_sidecar(Sidecar(path), "cp1252")] == ["Grüße"]
    path.write_text(srt([(0, 1000, "Grüße")]))  # what is UTF-8 is read as such, whatever is named
    assert [line.text for line in read_sidecar(Sidecar(path), "cp1252")] == ["Grüße"]


def test_the_file_that_is_read_is_the_one_of_the_language(tmp_path: Path) -> None:
    film = str(tmp_path / "a.film.mp4")
    assert sidecar_of(film, ("en",)) is None
    for name in ("a.film.vtt", "a.film.srt", "a.film.de.ass", "a.srt"):
        (tmp_path / name).write_text("x")
    assert sidecar_of(film, ()) == Sidecar(tmp_path / "a.film.srt")
    assert sidecar_of(film, ("en", "de")) == Sidecar(tmp_path / "a.film.de.ass", "de")
    assert sidecar_of(film, ("en",)) == Sidecar(tmp_path / "a.film.srt")


@pytest.mark.parametrize(
    ("codec", "suffix"), [("subrip", "mkv"), ("ass", "mkv"), ("webvtt", "mkv"), ("mov_text", "mp4")]
)
def test_a_stream_in_the_film(tmp_path: Path, codec: str, suffix: str) -> None:
    film = media.make_video(tmp_path / "bare.mp4", seconds=4, size=(64, 36))
    said: list[Line] = [(500, 1500, "Hello, there."), (2000, 3000, "Who, me?")]
    path = str(
        with_streams(film, tmp_path / f"film.{suffix}", [("eng", said), ("deu", [(500, 1500, "Hallo.")])], codec)
    )
    found = read_stream(path, ())
    assert [(line.start_ms, line.end_ms, line.text) for line in found] == said
    assert {(line.source, line.language) for line in found} == {("stream", "eng")}
    assert [line.text for line in read_stream(path, ("fra", "deu"))] == ["Hallo."]
    assert read_stream(path, ("fra",)) == ()
    assert read_stream(str(film), ()) == ()
