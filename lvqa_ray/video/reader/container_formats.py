"""The container formats that may be opened, and the only call that opens one for reading.

FFmpeg chooses a demuxer by content, and some demuxers open further files: playlists (HLS, DASH, ffconcat), session
descriptions (SDP), numbered pictures, sets of files (IMF, MLV, VobSub). A user who may name one video could read any
other file with such a list. Therefore only demuxers that read one file are allowed, and FFmpeg enforces the list itself
(``format_whitelist``). A second option takes all protocols but plain files away, and a ``file:`` prefix keeps FFmpeg
from finding a protocol in a file name such as ``concat:a|b``.

Allowed are the formats in which people keep films, and a few of sound alone, which are opened to say that they have no
picture. Left out, besides the lists, are still pictures, text as pictures (``.txt``), scripts, capture devices, raw
samples without a header, and the formats of computer games.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer

FILMS = (
    "mov,mp4,m4a,3gp,3g2,mj2",
    "matroska,webm",
    "avi",
    "mpegts",
    "mpeg",  # program streams: .mpg, .vob
    "flv",
    "kux",
    "live_flv",
    "asf",  # .wmv
    "ogg",
    "rm",  # RealMedia
    "mxf",
    "gxf",
    "wtv",
    "nut",
    "nuv",
    "nsv",
    "pva",
    "dv",
    "dhav",  # video recorders
    "lmlm4",
    "ty",
    "gif",
    "apng",
    "swf",
    "yuv4mpegpipe",
    "ivf",
)
"""Demuxers of films in a container."""

STREAMS = (
    "h264,hevc,vvc,evc,av1,obu,m4v,h263,h261,mpegvideo,mjpeg,vc1,vc1test,dirac,dnxhd,cavsvideo,avs2,avs3,ingenient,ipu"
)
"""Demuxers of bare video streams."""

SOUND = "mp3,wav,w64,flac,aac,ac3,eac3,dts,aiff,amr,amrnb,amrwb,ape,wv,tta,mpc,mpc8,caf,au"
"""Demuxers of sound, which hold no film."""

SUBTITLES = "srt,webvtt,ass"
"""Demuxers of the subtitles beside a video; used by name only, never chosen by content."""

FORMATS = ",".join((*FILMS, STREAMS, SOUND))

# PyAV 18 refuses a file whose tags are not UTF-8 unless it is told what to do; 19 replaces them and has no such option.
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
"""How lists of other files begin, after white space and an XML declaration: for the message, not for the decision."""


class Readable(Protocol):
    """A file object that FFmpeg reads through."""

    def read(self, size: int = -1, /) -> bytes:
        """Read up to ``size`` bytes."""
        ...


def open_input(file: str | Readable, *, subtitles: str = "") -> InputContainer:
    """Open a container for reading. Nothing but this one file is opened, whatever is in it.

    Args:
        file: The path of a local file; or a file object.
        subtitles: The demuxer of a file of subtitles, one of `SUBTITLES`; empty for a video.

    Raises:
        FFmpegError: FFmpeg cannot read it, or its format is not allowed.
        OSError: The same, where the operating system says so.
        ValueError: The same.
    """
    options = {
        "protocol_whitelist": "file" if isinstance(file, str) else "none",
        "format_whitelist": SUBTITLES if subtitles else FORMATS,
    }
    given = f"file:{file}" if isinstance(file, str) else file
    container: InputContainer = av.open(given, mode="r", format=subtitles or None, options=options, **_TAGS)
    return container


def list_kind(head: bytes) -> str:
    """What list of other files begins with these bytes; empty where they are none that is known."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    while text.startswith((b"<?", b"<!")):
        _, _, text = text.partition(b">")
        text = text.lstrip()
    return next((kind for mark, kind in _LISTS if text.startswith(mark)), "")


def has_signature(path: str) -> bool:
    """Whether a file begins as one of the common containers does, which no list of other files can.

    For readers with a demuxer of their own that takes no list of allowed formats. Some demuxers find their signature
    anywhere, so that another version of FFmpeg may take the same bytes for something else.
    """
    with Path(path).open("rb") as file:
        head = file.read(400)
    boxes = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp", b"uuid", b"pnot")
    starts = (
        b"\x1aE\xdf\xa3",
        b"FLV",
        b"OggS",
        b"0&\xb2u\x8ef\xcf\x11",
        b"\x00\x00\x01\xba",
        b"\x00\x00\x01\xb3",
        b"\x06\x0e+4",
        b".RMF",
        b"GIF8",
    )
    packets = (head[at::size][:2] for at, size in ((0, 188), (4, 192), (0, 204)))
    return (
        head[4:8] in boxes
        or head.startswith(starts)
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
        or any(each == b"\x47\x47" for each in packets)
    )
