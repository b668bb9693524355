"""Allow-list of container formats, and the only call that opens a container for reading.

FFmpeg chooses a demuxer by content, and some demuxers open further files: playlists (HLS, DASH, ffconcat), session
descriptions (SDP), numbered images, sets of files (IMF, MLV, VobSub). With such a list, a user who may name one video
could read any other file. Therefore only demuxers that read a single file are allowed, which FFmpeg itself enforces
(``format_whitelist``). A second option allows no protocol but plain files, and a ``file:`` prefix keeps FFmpeg from
finding a protocol in a file name such as ``concat:a|b``.

The list has the usual video formats, and a few audio formats, which are opened for the message that they have no video
stream. Besides the lists of files it leaves out still images, text rendered as video (``.txt``), scripts, capture
devices, raw samples without a header, and the formats of computer games.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer

FILMS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,kux,live_flv,asf,ogg,rm,mxf,gxf,wtv,nut,nuv,nsv,pva,dv,"
    "dhav,lmlm4,ty,gif,apng,swf,yuv4mpegpipe,ivf"
)
"""Demuxers of video containers: also .vob (mpeg), .wmv (asf), RealMedia (rm) and video recorders (dhav)."""

STREAMS = (
    "h264,hevc,vvc,evc,av1,obu,m4v,h263,h261,mpegvideo,mjpeg,vc1,vc1test,dirac,dnxhd,cavsvideo,avs2,avs3,ingenient,ipu"
)
"""Demuxers of elementary video streams."""

SOUND = "mp3,wav,w64,flac,aac,ac3,eac3,dts,aiff,amr,amrnb,amrwb,ape,wv,tta,mpc,mpc8,caf,au"
"""Demuxers of audio files."""

SUBTITLES = "srt,webvtt,ass"
"""Demuxers of subtitle files; selected by name, never by content."""

MP4, MATROSKA, FLV, TS, PS = "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "flv", "mpegts", "mpeg"
"""Container names as PyAV gives them for an open file."""

DEMUXERS = ",".join((FILMS, STREAMS, SOUND))

# PyAV 18 refuses a file with tags that are not UTF-8, unless this option is set; 19 always replaces them.
_TAGS: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}

HEAD_BYTES = 4096
_LISTS = (
    (b"#EXTM3U", "an HLS playlist"),
    (b"ffconcat", "a list of files for FFmpeg (ffconcat)"),
    (b"<MPD", "a DASH manifest"),
    (b"v=0", "a session description (SDP)"),
    (b"[playlist]", "a playlist"),
    (b"[Reference]", "a playlist"),
    (b"<asx", "a playlist"),
    (b"<ASX", "a playlist"),
    (b"<smil", "a playlist"),
    (b"<SmoothStreamingMedia", "a streaming manifest"),
    (b"<playlist", "a playlist"),
    (b"<CompositionPlaylist", "a composition playlist (IMF)"),
    (b"# VobSub index", "an index of subtitles (VobSub)"),
    (b"rtsp://", "an address"),
    (b"http://", "an address"),
    (b"https://", "an address"),
)
"""First bytes of lists of files, after white space and an XML declaration: for the message, not for the decision."""


class Readable(Protocol):
    """File object that FFmpeg reads from."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        ...


def open_input(file: str | Readable, *, subtitles: str = "") -> InputContainer:
    """Open a container for reading. FFmpeg opens no other file, whatever this one contains.

    Args:
        file: Path of a local file, or a file object.
        subtitles: Demuxer of a subtitle file, one of `SUBTITLES`; empty for a video.

    Raises:
        FFmpegError: FFmpeg cannot read it, or its format is not allowed.
        OSError: As above, or an error of the operating system.
        ValueError: As above.
    """
    options = {
        "protocol_whitelist": "file" if isinstance(file, str) else "none",
        "format_whitelist": SUBTITLES if subtitles else DEMUXERS,
    }
    given = f"file:{file}" if isinstance(file, str) else file
    container: InputContainer = av.open(given, mode="r", format=subtitles or None, options=options, **_TAGS)
    return container


def raise_if_out_of_memory(error: BaseException) -> None:
    """Raise `MemoryError` if FFmpeg ran out of memory, which is not damage of the file."""
    if isinstance(error, MemoryError):
        raise MemoryError from error


def list_kind(head: bytes) -> str:
    """Name the kind of file list that begins with these bytes; empty if it is none that is known."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    while text.startswith((b"<?", b"<!")):
        _, _, text = text.partition(b">")
        text = text.lstrip()
    return next((kind for mark, kind in _LISTS if text.startswith(mark)), "")


def has_signature(path: str) -> bool:
    """Whether a file begins with the signature of a common container, which no list of files does.

    For readers whose own demuxer takes no allow-list. Some demuxers find their signature anywhere in a file, so another
    version of FFmpeg may choose another format for the same bytes.
    """
    with Path(path).open("rb") as file:
        head = file.read(400)
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"uuid", b"pnot")
    starts = (b"\x1aE\xdf\xa3", b"FLV", b"OggS", b"0&\xb2u\x8ef\xcf\x11", b"\0\0\1\xba", b"\0\0\1\xb3", b"\x06\x0e+4")
    packets = (head[at::size][:2] for at, size in ((0, 188), (4, 192), (0, 204)))
    return (
        head[4:8] in boxes
        or head.startswith((*starts, b".RMF", b"GIF8"))
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
        or any(each == b"\x47\x47" for each in packets)
    )
