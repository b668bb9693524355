"""Clips of the review: downloads are bounded, end with the session, and use the storage settings of the job."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.cli.review import _access
from lvqa_ray.config import Job
from lvqa_ray.records import Span
from lvqa_ray.review import clip_player
from lvqa_ray.review.clip_player import ClipPlayer, NoClipError
from lvqa_ray.storage.options import StorageOptions
from tests.fakes.files import FileServer, LocalServer
from tests.report.made import make_output
from tests.review.test_review_page import session

SPAN = Span(start_s=0.0, end_s=1.0)


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, threading.Event]]:
    """Address of a film whose download does not end, and an event that says that it has begun."""
    begun, over = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            while not over.is_set():
                try:
                    self.wfile.write(bytes(2**20))
                except OSError:
                    return
                begun.set()
                time.sleep(0.02)

        def log_message(self, *_: Any) -> None:
            pass

    with LocalServer(Handler) as server:
        yield f"{server.url}/film.mp4", begun
        over.set()


@pytest.mark.parametrize("way", ["clip", "stored"])
def test_a_download_ends_with_the_session(endless: tuple[str, threading.Event], tmp_path: Path, way: str) -> None:
    address, begun = endless

    async def session() -> None:
        player = ClipPlayer(tmp_path, StorageOptions())
        call = player.clip("0-0", address, SPAN) if way == "clip" else player.stored(address)
        asked = asyncio.ensure_future(call)
        assert await asyncio.to_thread(begun.wait, 30)
        player.close()
        with pytest.raises(NoClipError, match="is not wanted any more"):
            await asyncio.wait_for(asked, 30)

    asyncio.run(session())


def test_an_interrupt_ends_the_command_while_it_downloads(endless: tuple[str, threading.Event], tmp_path: Path) -> None:
    address, begun = endless
    out = make_output(tmp_path / "out", 3, video=address)
    with session(out) as (process, page):

        def ask() -> None:
            with suppress(OSError), urllib.request.urlopen(f"{page}clips/0-0.mp4") as reply:  # noqa: S310 - loopback
                reply.read()

        asking = threading.Thread(target=ask)
        asking.start()
        assert begun.wait(30)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        asking.join(30)
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_a_stored_clip_is_no_larger_than_a_video_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_player, "DOWNLOADS_BYTES", 1000)
    with FileServer() as server:
        server.files |= {"/small.mp4": b"\0" * 900, "/large.mp4": b"\0" * 5000}
        player = ClipPlayer(tmp_path, StorageOptions())
        try:
            path = asyncio.run(player.stored(f"{server.url}/small.mp4"))
            assert (path.stat().st_size, path.suffix) == (900, ".mp4")
            with pytest.raises(NoClipError, match="the limit of lvqa review"):
                asyncio.run(player.stored(f"{server.url}/large.mp4"))
        finally:
            player.close()


def test_clips_are_fetched_with_the_storage_settings_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    at = {"base_url": "http://127.0.0.1:9/v1", "model": "m"}
    job = {"videos": ["s3://films/a.mp4"], "output": "out", "endpoints": {"vlm": at, "llm": at}}
    storage = {"endpoint_url": "http://127.0.0.1:9", "anonymous": True}
    access = _access(Job.model_validate(job | {"storage": storage}))
    assert (access.endpoint_url, access.anonymous) == ("http://127.0.0.1:9", True)
    assert _access(None) == StorageOptions.here()
