"""Lists of other files, in every form that FFmpeg knows, that all name one private video."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from tests import cases

BEGIN = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n"
END = "#EXT-X-ENDLIST\n"
MPD = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" type="static"
 mediaPresentationDuration="PT2S"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" bandwidth="1">
<BaseURL>{0}</BaseURL></Representation></AdaptationSet></Period></MPD>
"""


def private_film(folder: Path) -> Path:
    """A film that nobody named."""
    return Path(shutil.copy(cases.folder("23") / "private.ts", folder / "private.ts"))


def lists(private: Path) -> Iterator[tuple[str, bytes]]:
    """File names and contents that all lead to this film, relative, absolute and by protocol."""
    texts: list[tuple[str, str]] = []
    for way, target in {"relative": private.name, "absolute": str(private), "url": f"file:{private}"}.items():
        hls = f"{BEGIN}#EXTINF:4,\n{target}\n{END}"
        texts += [
            (f"{way}.m3u8", hls),
            (f"{way}_hls.mp4", hls),
            (f"{way}_hls.ts", hls),
            (f"{way}_aes.m3u8", f'{BEGIN}#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:4,\n{target}\n{END}'),
            (f"{way}_map.m3u8", f'{BEGIN}#EXT-X-MAP:URI="{target}"\n#EXTINF:4,\n{target}\n{END}'),
            (f"{way}_range.m3u8", f"{BEGIN}#EXT-X-BYTERANGE:9400@0\n#EXTINF:4,\n{target}\n{END}"),
            (f"{way}_master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n"),
            (f"{way}_concat.mp4", f"ffconcat version 1.0\nfile '{target}'\n"),
            (f"{way}_concat.ts", f"ffconcat version 1.0\noption safe 0\nfile '{target}'\n"),
            (f"{way}.ffconcat", f"ffconcat version 1.0\nfile '{target}'\n"),
            (f"{way}.mpd", MPD.format(target)),
            (f"{way}_mpd.mp4", MPD.format(target)),
            (f"{way}.asx", f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>'),
            (f"{way}.pls", f"[playlist]\nFile1={target}\nNumberOfEntries=1\n"),
            (
                f"{way}.xspf",
                f"<playlist><trackList><track><location>{target}</location></track></trackList></playlist>",
            ),
            (f"{way}.avs", f'DirectShowSource("{target}")\n'),
            (f"{way}.vpy", f'core.ffms2.Source("{target}").set_output()\n'),
            (f"{way}.ffmeta", f";FFMETADATA1\ntitle={target}\n"),
            (f"{way}.idx", f"# VobSub index file, v7 (do not modify this line!)\n{target}\n"),
            (f"{way}_lavfi.mp4", f"movie={target}\n"),
        ]
    texts += [
        ("film.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        ("nested.mp4", f"{BEGIN}#EXTINF:4,\nconcat:{private}|{private}\n{END}"),
        ("subfile.mp4", f"{BEGIN}#EXTINF:4,\nsubfile,,start,0,end,0,,:{private}\n{END}"),
        ("crypto.mp4", f"{BEGIN}#EXTINF:4,\ncrypto:{private}\n{END}"),
        ("bom.mp4", f"\ufeff{BEGIN}#EXTINF:4,\n{private}\n{END}"),
    ]
    for name, text in texts:
        yield name, text.encode()
    # The same bytes are a list and a transport stream.
    begin = f"{BEGIN}#EXTINF:4,\n{private}\n{END}".encode()
    yield "both.ts", begin.ljust(188 * 4, b"\n") + private.read_bytes()[: 188 * 40]
