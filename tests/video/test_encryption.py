"""Encrypted pictures are refused when a file is probed; what only looks like that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.reader.media_info import probe
from tests import cases, media
from tests.video.odd import encrypted_films


def test_encrypted_pictures(tmp_path: Path) -> None:
    for path in (cases.folder("20") / "cenc.mp4", *encrypted_films(tmp_path).values()):
        with pytest.raises(VideoError, match="get a copy without protection") as refused:
            probe(str(path))
        assert (path.name, refused.value.kind) == (path.name, VideoFault.ENCRYPTED)
    for path in tmp_path.glob("clear.*"):
        assert probe(str(path)).duration_sec > 0


def test_some_scrambled_packets_are_damage(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "film.ts", seconds=2)
    stream = bytearray(path.read_bytes())
    for at in range(188 * 20, len(stream), 188 * 10):
        stream[at + 3] |= 0x80
    path.write_bytes(stream)
    assert probe(str(path)).duration_sec > 1
