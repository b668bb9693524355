"""Remote files come to the node once, whole or not at all, and go when others need the room."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvqa_ray.corpus.fingerprints import fingerprint
from lvqa_ray.corpus.manifest import read_manifest
from lvqa_ray.errors import ConfigError, FetchError
from lvqa_ray.records import Video
from lvqa_ray.storage.download_cache import DownloadCache
from tests.fakes.files import FileServer

BODY = bytes(range(256)) * 400
SECRET = "X-Amz-Signature=abc123"  # noqa: S105 - made up


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        server.files = {f"/{name}.mp4": BODY for name in "abc"}
        yield server


@pytest.fixture
def scratch(tmp_path: Path) -> DownloadCache:
    return DownloadCache(folder=str(tmp_path / "scratch"), most_bytes=250_000)


def video(server: FileServer, name: str) -> Video:
    return Video(id=name, uri=f"{server.url}/{name}.mp4?{SECRET}", fingerprint="f")


def files(scratch: DownloadCache) -> list[str]:
    return sorted(path.name for path in Path(scratch.folder).iterdir() if path.name != ".room")


def test_a_local_video_stays_where_it_is(scratch: DownloadCache) -> None:
    with scratch.local(Video(id="a", uri="/films/a.mp4", fingerprint="f")) as path:
        assert path == "/films/a.mp4"


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_comes_whole_and_once_for_all_who_want_it(
    server: FileServer, scratch: DownloadCache, says_length: bool
) -> None:
    server.says_length = says_length
    seen: list[bytes] = []

    def use() -> None:
        with scratch.local(video(server, "a")) as path:
            seen.append(Path(path).read_bytes())

    threads = [threading.Thread(target=use) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [BODY] * 6
    # A server that tells no length is asked once for no more than the head of its answer.
    assert server.gets["/a.mp4"] == (1 if says_length else 2)
    assert len(files(scratch)) == 1


@pytest.mark.parametrize("trouble", ["drop", 503, 500, 429])
def test_what_passes_is_waited_for(server: FileServer, scratch: DownloadCache, trouble: int | str) -> None:
    server.troubles["/a.mp4"] = [trouble, trouble]
    with scratch.local(video(server, "a")) as path:
        assert Path(path).read_bytes() == BODY
    assert server.gets["/a.mp4"] == 3


@pytest.mark.parametrize(
    ("troubles", "kind", "retryable"),
    [
        ([404], "missing_file", False),
        ([403], "forbidden", True),
        (["drop"] * 4, "not_fetched", True),
        ([503] * 4, "not_fetched", True),
    ],
)
def test_what_does_not_pass_is_said_without_the_signature(
    server: FileServer, scratch: DownloadCache, troubles: list[int | str], kind: str, retryable: bool
) -> None:
    server.troubles["/a.mp4"] = troubles
    with pytest.raises(FetchError) as caught, scratch.local(video(server, "a")):
        pass
    assert (caught.value.kind, caught.value.retryable) == (kind, retryable)
    assert f"{server.url}/a.mp4" in str(caught.value)
    assert "abc123" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert files(scratch) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_a_file_beyond_the_limit_is_refused(server: FileServer, tmp_path: Path, says_length: bool) -> None:
    server.says_length = says_length
    small = DownloadCache(folder=str(tmp_path / "small"), most_bytes=100_000)
    with pytest.raises(FetchError, match="raise it") as caught, small.local(video(server, "a")):
        pass
    assert (caught.value.kind, caught.value.retryable) == ("too_large", False)
    assert server.gets["/a.mp4"] == (0 if says_length else 2)
    assert files(small) == []


def test_the_file_that_was_not_used_for_longest_goes_and_none_that_is_in_use(
    server: FileServer, scratch: DownloadCache
) -> None:
    with scratch.local(video(server, "a")) as first:
        with scratch.local(video(server, "b")) as second:
            pass
        with scratch.local(video(server, "c")) as third:
            assert [Path(path).exists() for path in (first, second, third)] == [True, False, True]
    assert server.gets == {"/a.mp4": 1, "/b.mp4": 1, "/c.mp4": 1}


def test_where_all_are_in_use_one_waits_for_room(server: FileServer, scratch: DownloadCache) -> None:
    came = threading.Event()

    def use() -> None:
        with scratch.local(video(server, "c")):
            came.set()

    with scratch.local(video(server, "a")):
        with scratch.local(video(server, "b")):
            thread = threading.Thread(target=use)
            thread.start()
            assert not came.wait(1.5)
        assert came.wait(10)
    thread.join()


def test_another_signature_is_the_same_file_and_another_content_is_not(server: FileServer) -> None:
    (first,) = read_manifest([f"{server.url}/a.mp4?sig=1"])
    (again,) = read_manifest([f"{server.url}/a.mp4?sig=2"])
    assert (first.id, first.fingerprint) == ("a", again.fingerprint)
    assert first.fingerprint
    server.files["/a.mp4"] = BODY[1:]
    (changed,) = read_manifest([f"{server.url}/a.mp4?sig=2"])
    assert changed.fingerprint != first.fingerprint
    assert server.gets == {}


def test_a_file_that_cannot_be_reached_is_not_taken_for_another_one(server: FileServer) -> None:
    """Its clips would be named as those of all others that could not be reached, and one caption be given to all."""
    uris = "http://127.0.0.1:9/a.mp4?sig=1", f"{server.url}/gone.mp4?sig=1"
    videos = [Video(id="a", uri=uri, fingerprint=fingerprint(uri)) for uri in uris]
    assert videos[0].content != videos[1].content
    assert not any("sig" in video.content for video in videos)


def test_other_places_are_refused_without_the_signature() -> None:
    with pytest.raises(ConfigError, match="only files, s3:// and http"):
        read_manifest(["ftp://host/a.mp4"])
