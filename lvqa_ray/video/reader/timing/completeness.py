"""Completeness of a file by its structure: whether it is truncated, or followed by a second file.

Many writers of Matroska and FLV state a wrong duration: counted from time 0 or from the first frame, or the length of a
recording whose last frame came early and stayed. The structure of the file shows reliably whether it is truncated. It
also shows whether files of these containers, or MP4 files, were concatenated: a reader stops at the end of the first
one, or reads the second one as if it were the first.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

from lvqa_ray.video.reader.container import is_elsewhere, opened_elsewhere
from lvqa_ray.video.reader.container_formats import FLV, MATROSKA, MP4

_SEGMENT, _CLUSTER = 0x18538067, 0x1F43B675

_EBML_HEADER = b"\x1a\x45\xdf\xa3"
_FLV_HEADER = b"FLV\x01"
_MOST_ELEMENTS = 1_000_000
"""Maximum elements of a Matroska file to visit."""
_TOP_LEVEL = 100
"""Maximum top-level elements or boxes of a file to visit."""
_FLV_TAGS = (8, 9, 18)
"""Audio, video and script data."""


def is_complete(path: str, format_name: str) -> bool:
    """Whether a file contains everything that its container announces; ``False`` unless it is Matroska or FLV."""
    if format_name not in (MATROSKA, FLV):
        return False
    try:
        with opened_elsewhere(path) or Path(path).open("rb", buffering=0) as file:
            size = file.seek(0, io.SEEK_END)
            return _matroska_ends(file, size) if format_name == MATROSKA else _flv_ends(file, size)
    except (OSError, struct.error):
        return False


def holds_another(path: str, format_name: str, read_until: int) -> bool:
    """Whether another file of the same kind follows the end of a file, as after ``cat a.mp4 b.mp4``.

    Args:
        path: The file.
        format_name: FFmpeg's name of the container.
        read_until: Byte offset of the end of the demuxer's last packet.
    """
    try:
        with opened_elsewhere(path) or Path(path).open("rb", buffering=0) as file:
            if format_name == MATROSKA:
                return _matroska_goes_on(file)
            if format_name == FLV:
                file.seek(read_until)
                return _FLV_HEADER in (file.read(64) or b"")
            return format_name == MP4 and _mp4_goes_on(file)
    except (OSError, struct.error):
        return False


def _matroska_goes_on(file: io.RawIOBase) -> bool:
    """Whether a second header follows a segment; in a live recording, anywhere between its elements."""
    at = 0
    for _ in range(_TOP_LEVEL if is_elsewhere() else _MOST_ELEMENTS):
        file.seek(at)
        head = file.read(12) or b""
        if at and head.startswith(_EBML_HEADER):
            return True
        kind, id_bytes = _number(head, keep_marker=True)
        length, size_bytes = _number(head[id_bytes:], keep_marker=False)
        is_open_ended = length == (1 << 7 * size_bytes) - 1
        if not id_bytes or not size_bytes or (is_open_ended and kind not in (_SEGMENT, _CLUSTER)):
            return False
        at += id_bytes + size_bytes + (0 if is_open_ended else length)
    return False


def _mp4_goes_on(file: io.RawIOBase) -> bool:
    """Whether a second ``ftyp`` box follows an index; fragments may repeat both, and are read anyway."""
    at = 0
    kinds: list[bytes] = []
    for _ in range(_TOP_LEVEL):
        file.seek(at)
        head = file.read(16) or b""
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        length = int.from_bytes(head[8:16], "big") if length == 1 else length
        if len(head) < 8 or length < 8 or kind == b"moof":
            return False
        if kind == b"ftyp" and b"moov" in kinds:
            return True
        kinds.append(kind)
        at += length
    return False


def _matroska_ends(file: io.RawIOBase, size: int) -> bool:
    """Whether the last element of a Matroska file ends with the file, or before it."""
    at = 0
    for _ in range(_MOST_ELEMENTS):
        file.seek(at)
        head = file.read(12) or b""
        kind, id_bytes = _number(head, keep_marker=True)
        length, size_bytes = _number(head[id_bytes:], keep_marker=False)
        if not id_bytes or not size_bytes:
            return at == size
        body = at + id_bytes + size_bytes
        is_open_ended = length == (1 << 7 * size_bytes) - 1
        if is_open_ended or (kind == _SEGMENT and body + length > size):
            if not is_open_ended or kind not in (_SEGMENT, _CLUSTER):
                return False
            at = body  # a live stream: visit its children
            continue
        at = body + length
        if kind == _SEGMENT:
            return True
        if at > size:
            return False
    return False


def _number(data: bytes, *, keep_marker: bool) -> tuple[int, int]:
    """Variable-length integer (RFC 8794, section 4) and its size in bytes; size 0 if there is none."""
    if not data or not data[0]:
        return 0, 0
    length = 9 - data[0].bit_length()
    if len(data) < length:
        return 0, 0
    value = int.from_bytes(data[:length], "big")
    return (value if keep_marker else value & ~(1 << 7 * length)), length


def _flv_ends(file: io.RawIOBase, size: int) -> bool:
    """Whether the last four bytes of an FLV file state the size of a tag, and a tag begins there."""
    file.seek(size - 4)
    (length,) = struct.unpack(">I", file.read(4) or b"")
    if not 11 <= length <= size - 4:
        return False
    file.seek(size - 4 - length)
    head = file.read(4) or b""
    return head[0] in _FLV_TAGS and int.from_bytes(head[1:4], "big") + 11 == length
