"""Cases of storage: HTTP statuses of videos, object keys and names with special characters, linked folders."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.records import Failure, Video
from lvqa_ray.stages.probe import ProbeVideo
from lvqa_ray.storage.download_cache import DownloadCache
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.remote import file_status
from tests.cases import Row, case, folder
from tests.fakes.files import bucket, free_port, s3_server
from tests.fakes.statuses import StatusServer
from tests.fakes.tls import SelfSigned

FETCHED = "fetched"
FORBIDDEN, NOT_FETCHED, MISSING = ("forbidden", True), ("not_fetched", True), ("missing_file", False)


def fetched(uri: str, scratch: DownloadCache) -> object:
    """Outcome of a remote video: fetched, or the kind of failure and whether it is retryable."""
    try:
        with scratch.local(Video(id="x", uri=uri, fingerprint="")) as path:
            return Path(path).read_bytes() and FETCHED
    except FetchError as error:
        return error.kind, error.retryable


@case("09", "HTTP errors of videos keep their meaning")
def http_statuses(out: Path) -> Iterator[Row]:
    """Permanent and transient statuses of public file servers, and connection failures."""
    film = (folder("14") / "corners.mp4").read_bytes()
    scratch = DownloadCache(str(out / "scratch"), 2**30)
    with StatusServer(film) as server, SelfSigned(out) as self_signed:
        always = dict.fromkeys((401, 402, 403, 407, 451), FORBIDDEN)
        always |= {404: MISSING, 410: MISSING}
        always |= dict.fromkeys((400, 416, 418, 429, 500, 501, 502, 503, 504), NOT_FETCHED)
        rows: dict[str, tuple[str, object]] = {
            f"status {status}": (f"{server.url}/s{status}/0-x.mp4?sig=secret", right)
            for status, right in always.items()
        }
        rows |= {
            f"status {status} twice, then the file": (f"{server.url}/s{status}/2-c.mp4", FETCHED)
            for status in (408, 425, 429, 500, 503)
        }
        for name, right in (
            ("loop", NOT_FETCHED),
            ("away", NOT_FETCHED),
            ("html", NOT_FETCHED),
            ("cut", NOT_FETCHED),
            ("nohead", FETCHED),
            ("signed", FETCHED),
            ("whole", FETCHED),
        ):
            rows[name] = (f"{server.url}/{name}/x.mp4", right)
        rows |= {
            "connection refused": (f"http://127.0.0.1:{free_port()}/x.mp4", NOT_FETCHED),
            "unknown host": ("http://nowhere.invalid/x.mp4", NOT_FETCHED),
            "no TLS": (f"{server.url.replace('http', 'https')}/x.mp4", NOT_FETCHED),
            "a certificate of its own": (f"{self_signed.url}/x.mp4", NOT_FETCHED),
            "no address": ("http://[::1/x.mp4", MISSING),
            "a # in the name": (f"{server.url}/ep #1.mp4", FETCHED),
        }
        with ThreadPoolExecutor(16) as pool:
            seen = pool.map(lambda row: fetched(row[0], scratch), rows.values())
            yield from ((name, right, found) for (name, (_, right)), found in zip(rows.items(), seen, strict=True))
        yield "the # is sent as a part of the name", True, ("GET", "/ep%20%231.mp4") in server.asked
        yield "503 is repeated within the run", 3, server.requests("/s503/2-c.mp4") - 1
        yield "404 is not", (1, 1), tuple(server.asked[how, "/s404/0-x.mp4?sig=secret"] for how in ("HEAD", "GET"))


KEYS = (
    *("ep #1.mp4", "sess#2/x.mp4", "film [abc123].mp4", "shows [2020]/ep1.mp4", "what?.mp4", "star*.mp4"),
    *("a%41.mp4", "aA.mp4", "a b.mp4", "a+b.mp4", "a&b=c.mp4", "x?versionId=7.mp4", "caf\u00e9.mp4", "cafe\u0301.mp4"),
    *(
        "new\nline.mp4",
        '"quoted\'s".mp4',
        "{a,b}.mp4",
        "~tilde.mp4",
        "a;b.mp4",
        "a:b@c.mp4",
        "L" * 200 + "/" + "M" * 200,
    ),
)


@case("10", "Object keys are opaque, and so are names on a disk")
def keys(out: Path) -> Iterator[Row]:
    """Each key by name and by listing, with decoy objects for wrongly parsed keys."""
    with s3_server(out) as there, ThreadPoolExecutor(8) as pool:
        access = StorageOptions.of(environ=there)
        films = bucket(there)
        films.mkdir("films")
        decoys = ("ep ", "sess", "what", "x", "aA.mp4")

        def put(key: str) -> None:
            films.call_s3("put_object", Bucket="films", Key=f"in/{key}", Body=key.encode())

        list(pool.map(put, dict.fromkeys((*decoys, *KEYS))))
        scratch = DownloadCache(str(out / "scratch"), 2**30, access)

        def content(key: str) -> object:
            try:
                (video,) = read_manifest([f"s3://films/in/{key}"], access=access)
                with scratch.local(video) as path:
                    return Path(path).read_text() if video.uri == f"s3://films/in/{key}" else video.uri
            except (FetchError, ConfigError, ValueError) as error:
                return str(error)

        for key, seen in zip(KEYS, pool.map(content, KEYS), strict=True):
            yield repr(key[:30]), key, seen
        found = {video.uri.removeprefix("s3://films/in/") for video in read_manifest(["s3://films/in/"], access=access)}
        yield "all are listed", sorted(key for key in KEYS if key.endswith(".mp4")), sorted(found)
        for pattern, right in (
            ("shows [2020]", ["shows [2020]/ep1.mp4"]),
            ("shows [2020]/*.mp4", ["shows [2020]/ep1.mp4"]),
            ("shows [[]2020]/*.mp4", ["shows [2020]/ep1.mp4"]),
            ("s[eh]*/*1.mp4", ["shows [2020]/ep1.mp4"]),
            ("ep*.mp4", ["ep #1.mp4"]),
        ):
            uris = [video.uri for video in read_manifest([f"s3://films/in/{pattern}"], access=access)]
            yield f"pattern {pattern}", right, [uri.removeprefix("s3://films/in/") for uri in uris]
        named = [json.dumps({"video": name}) for name in ("ep #1.mp4", "s3://films/in/star*.mp4", "film [abc123].mp4")]
        films.pipe_file("films/in/list #1.jsonl", "\n".join(named).encode())
        uris = [video.uri for video in read_manifest(["s3://films/in/list #1.jsonl"], access=access)]
        right = ["ep #1.mp4", "star*.mp4", "film [abc123].mp4"]
        yield "a manifest with such names", right, [uri.removeprefix("s3://films/in/") for uri in uris]
        yield "version of a key that is not there", "missing_file", _kind("s3://films/in/a b.mp4?versionId=1", access)
    yield from _on_disk(out / "disk")


def _kind(uri: str, access: StorageOptions) -> str:
    try:
        return file_status(uri, access).uri
    except FetchError as error:
        return error.kind


def _on_disk(home: Path) -> Iterator[Row]:
    names = [key for key in KEYS if key.endswith(".mp4")]
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"x")
    seen = [video.uri for name in names for video in read_manifest([str(home / name)])]
    yield "disk: every name", [str(home / name) for name in names], seen
    for pattern in ("shows [2020]", "shows [2020]/*.mp4", "shows [[]2020]/*.mp4", "sh*/ep?.mp4"):
        seen = [video.uri for video in read_manifest([str(home / pattern)])]
        yield f"disk: pattern {pattern}", [str(home / "shows [2020]/ep1.mp4")], seen
    uri = f"file://{home}/ep #1.mp4"
    yield "disk: file:// with a #", [str(home / "ep #1.mp4")], [video.uri for video in read_manifest([uri])]


@case("19", "Linked folders are walked, and nothing is left out in silence")
def linked_folders(out: Path) -> Iterator[Row]:
    """The folder tree of the report, then link loops, two paths to a file, and entries that are not files."""
    film = folder("14") / "corners.mp4"
    videos, elsewhere = out / "videos", out / "elsewhere"
    for place in (videos / "deep", elsewhere):
        place.mkdir(parents=True)
    shutil.copy(film, elsewhere / "corners.mp4")
    shutil.copy(film, videos / "a.mp4")
    (videos / "more").symlink_to("../elsewhere")
    right = [str(videos / "a.mp4"), str(videos / "more/corners.mp4")]
    for source in (videos, videos / "**/*.mp4", videos / "**"):
        yield f"link to a folder: {source.name}", right, [video.uri for video in read_manifest([str(source)])]
    (videos / "deep/loop").symlink_to("..")
    (elsewhere / "back").symlink_to("../videos")
    (videos / "again.mp4").symlink_to("a.mp4")
    (videos / "third").symlink_to("../elsewhere")
    yield "loops, and two ways to a file", right, [video.uri for video in read_manifest([str(videos)])]

    odd = out / "odd"
    odd.mkdir()
    (odd / "gone.mp4").symlink_to("nowhere.mp4")
    (odd / "lost").symlink_to("../unmounted/films")
    (odd / "self.mp4").symlink_to("self.mp4")
    (odd / "folder.mp4").mkdir()
    (odd / "empty.mp4").touch()
    (odd / "notes.txt").symlink_to("nothing")
    os.mkfifo(odd / "pipe.mp4")
    shutil.copy(film, odd / os.fsdecode(b"latin\xe9.mp4"))
    with socket.socket(socket.AF_UNIX) as listening:
        with suppress(OSError):  # a path that is too long for a socket
            listening.bind(str(odd / "socket.mp4"))
        found = {os.path.basename(video.uri): video for video in read_manifest([str(odd)])}  # noqa: PTH119
        kinds = {}
        for name, video in found.items():
            (row,) = ProbeVideo()(video)
            kinds[name.encode(errors="replace").decode()] = row.kind if isinstance(row, Failure) else "probed"
    expected = {
        "gone.mp4": "missing_file",
        "lost": "missing_file",
        "self.mp4": "unreadable",
        "folder.mp4": "unreadable",
        "empty.mp4": "empty_file",
        "pipe.mp4": "unreadable",
        "latin?.mp4": "probed",
    }
    if "socket.mp4" in kinds or len(str(odd)) < 90:
        expected["socket.mp4"] = "unreadable"
    yield "entries that are no films", dict(sorted(expected.items())), dict(sorted(kinds.items()))
    yield "a folder that cannot be listed", "unreadable", _of_another_user()


def _of_another_user() -> str:
    """Result for a folder without permissions, as a user other than root."""
    with tempfile.TemporaryDirectory() as place:
        closed = Path(place)
        closed.chmod(0o755)
        (closed / "inside").mkdir()
        (closed / "inside").chmod(0)
        if os.getuid() != 0:
            return ", ".join(_kinds(closed))
        if child := os.fork():
            return "unreadable" if os.waitpid(child, 0)[1] == 0 else "another result"
        code = 1
        try:
            os.setuid(65534)
            code = int(_kinds(closed) != ["unreadable"])
        finally:
            os._exit(code)


def _kinds(closed: Path) -> list[str]:
    rows = [row for video in read_manifest([str(closed)]) for row in ProbeVideo()(video)]
    return [str(row.kind) for row in rows if isinstance(row, Failure)]
