"""Odd pictures and how to recognize them: corners of four colours, patches of HDR, encrypted films."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from lvqa_ray.video.frames.jpeg import Pixels
from tests import media

CORNERS = {
    "corners": "red green blue white",
    "m_hflip": "green red white blue",
    "m_vflip": "blue white red green",
    "m_transpose": "red blue green white",
    "m_antitranspose": "white green blue red",
}
"""Top left, top right, bottom left, bottom right."""
NAMES = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
PATCHES = [(255, 255, 255), (128, 128, 128), (200, 60, 40), (40, 160, 60), (50, 70, 200)]


def corners(pixels: Pixels) -> str:
    """The colours of the corners of a picture."""
    height, width, _ = pixels.shape
    found = [pixels[y * height // 4, x * width // 4].astype(int) for y in (1, 3) for x in (1, 3)]
    return " ".join(min(NAMES, key=lambda name: int(abs(np.array(NAMES[name]) - each).sum())) for each in found)


def encrypted_films(folder: Path) -> dict[str, Path]:
    """Films whose picture is encrypted, in several ways, by name."""
    clear = media.make_video(folder / "film.mp4", seconds=1)
    films = {
        name: folder / name for name in ("aes.mp4", "fragments.mp4", "scrambled.ts", "moved.m2ts", "drm.mkv", "drm.wmv")
    }
    key = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    key["encryption_kid"] = "a7e61c373e219033c21091fa607bf3b8"
    _copied(clear, films["aes.mp4"], key)
    _copied(clear, films["fragments.mp4"], key | {"movflags": "frag_keyframe+empty_moov"})
    stream = bytearray(_copied(clear, folder / "clear.ts", {}).read_bytes())
    for at in range(0, len(stream), 188):
        if (stream[at + 1] & 0x1F) << 8 | stream[at + 2] == 0x100 and stream[at + 3] & 0x10:
            stream[at + 3] |= 0x80
    films["scrambled.ts"].write_bytes(stream)
    blocks = (stream[at : at + 188] for at in range(0, len(stream), 188))
    films["moved.m2ts"].write_bytes(b"".join(b"\0\0\0\0" + block for block in blocks))
    films["drm.mkv"].write_bytes(_with_encodings(_copied(clear, folder / "clear.mkv", {}).read_bytes()))
    made = media.make_video(folder / "clear.wmv", seconds=1, codec="wmv2").read_bytes()
    index = made.index(bytes.fromhex("4052d1861d31d011a3a400a0c90348f6"))  # the list of codecs
    films["drm.wmv"].write_bytes(made[:index] + bytes.fromhex("14e68a292226174cb935dae07ee9289c") + made[index + 16 :])
    return films


def _copied(path: Path, to: Path, options: dict[str, str]) -> Path:
    with av.open(str(path)) as source, av.open(str(to), "w", options=options) as output:
        stream = output.add_stream_from_template(source.streams.video[0])
        assert isinstance(stream, VideoStream)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return to


def _with_encodings(film: bytes) -> bytes:
    """A Matroska file whose track says that it is encrypted, as libwebm and WebM DRM say it."""
    key = b"\x47\xe2\x90" + b"0123456789abcdef"
    encryption = b"\x50\x35" + bytes([0x80 | len(key) + 4]) + b"\x47\xe1\x81\x05" + key
    encoding = b"\x50\x31\x81\x00\x50\x32\x81\x01\x50\x33\x81\x01" + encryption
    encoding = b"\x62\x40" + bytes([0x80 | len(encoding)]) + encoding
    added = b"\x6d\x80" + bytes([0x80 | len(encoding)]) + encoding
    tracks = film.index(b"\x16\x54\xae\x6b", film.index(b"\x16\x54\xae\x6b") + 4)  # the first one tells where it is
    entry = tracks + 4 + _length(film[tracks + 4])
    entry += 6 if film[entry] == 0xBF else 0  # a checksum, which is not right any more and which nobody looks at
    assert film[entry] == 0xAE
    film = _longer(film, entry + 1, len(added))
    film = _longer(film, tracks + 4, len(added))
    film = _longer(film, film.index(b"\x18\x53\x80\x67") + 4, len(added))
    first = entry + 1 + _length(film[entry + 1])
    return film[:first] + added + film[first:]


def _length(first: int) -> int:
    return 9 - first.bit_length()


def _longer(film: bytes, at: int, by: int) -> bytes:
    """Raise the size of an element, which is at this place."""
    size = _length(film[at])
    value = int.from_bytes(film[at : at + size]) + by
    return film[:at] + value.to_bytes(size) + film[at + size :]
