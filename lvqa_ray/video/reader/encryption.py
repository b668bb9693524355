"""Detection of encrypted video, which decodes to grey or noise, mostly without an error."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from lvqa_ray.errors import VideoError, VideoFault
from lvqa_ray.video.reader.container_formats import MATROSKA, MP4
from lvqa_ray.video.reader.video_reader import VideoReader

LOOKED_AT = 8
"""Packets to check at one position."""

TS_HEAD_BYTES = 2**20
TS_SIZES = (188, 192, 204)
TS_SHARE = 0.5
"""A transport stream with at least this share of scrambled packets is encrypted."""

MKV_HEAD_BYTES = 2**16
_MKV_TYPE = b"\x50\x33\x81\x01"
_MKV_ENCRYPTION = b"\x50\x35"

_TAGS = frozenset({"drmi", "encv", "p7mv"})
"""Sample entries of protected video in MP4."""

_ASF_KEYS = frozenset({"encryption", "ASF_Protection_Type", "ASF_Key_ID", "ASF_License_URL"})
"""Metadata keys that FFmpeg sets for a protected WMV."""


def check_clear(source: VideoReader, length_s: float) -> None:
    """Refuse a video that is encrypted, at its beginning or in its middle. Changes the reader's position.

    Raises:
        VideoError: With `VideoFault.ENCRYPTED`.
    """
    if scheme := _header_scheme(source) or _packet_scheme(source, length_s):
        raise VideoError(
            VideoFault.ENCRYPTED,
            f"{source.path} is encrypted ({scheme}), and no key is known; get a copy without protection.",
        )


def _header_scheme(source: VideoReader) -> str:
    if source.stream.codec_context.codec_tag in _TAGS:
        return "protected MP4"
    if "enc_key_id" in source.stream.metadata:
        return "Matroska content encryption"
    if _ASF_KEYS & set(source.container.metadata):
        return "DRM of Windows Media"
    path = Path(source.path)
    # The bytes of a remote file are checked after its download.
    return _byte_scheme(path, source) if path.is_file() else ""


def _byte_scheme(path: Path, source: VideoReader) -> str:
    """Encryption that FFmpeg ignores without a message, found in the file's bytes."""
    kind = source.container.format.name
    if kind == "mpegts" and _scrambled_share(_head(path, TS_HEAD_BYTES), source.stream.id) >= TS_SHARE:
        return "a scrambled transport stream"
    if kind == MATROSKA:
        head = _head(path, MKV_HEAD_BYTES)
        at = head.find(_MKV_TYPE)
        if at >= 0 and _MKV_ENCRYPTION in head[at : at + 64]:
            return "Matroska content encryption"
    return ""


def _packet_scheme(source: VideoReader, length_s: float) -> str:
    if source.container.format.name not in (MP4, MATROSKA):
        return ""
    for time_s in (0.0, length_s / 2):  # the beginning may be left clear
        source.seek(time_s)
        for packet in islice(source.packets(), LOOKED_AT):
            if packet.has_sidedata("encryption_info"):
                return "CENC"
    return ""


def _scrambled_share(head: bytes, pid: int) -> float:
    """Share of a stream's packets with payload that have scrambling bits."""
    scrambled = [bool(header[3] & 0xC0) for header in _ts_headers(head) if _pid(header) == pid and header[3] & 0x10]
    return sum(scrambled) / len(scrambled) if scrambled else 0.0


def _ts_headers(head: bytes) -> Iterator[bytes]:
    for size in TS_SIZES:
        first = next((at for at in range(size) if head[at : at + 8 * size : size] == b"G" * 8), None)
        if first is not None:
            yield from (head[at : at + 4] for at in range(first, len(head) - 4, size) if head[at] == ord("G"))
            return


def _pid(header: bytes) -> int:
    return (header[1] & 0x1F) << 8 | header[2]


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)
