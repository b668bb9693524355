"""How an analysis ends: stopped too late, and stopped while the video is identified."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest

from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.analysis_request import AnalysisRequest
from lvqa_ray.serve.running import FINISHED
from tests.fakes.endpoint import FakeEndpoint
from tests.serve.conftest import job_at
from tests.serve.service import Service
from tests.serve.test_service import until

THREADS = 64
"""More than the threads of an event loop."""


@pytest.mark.parametrize("saving", [False, True])
def test_what_is_done_stays_done_when_it_is_stopped(
    endpoint: FakeEndpoint, films: Path, tmp_path: Path, *, saving: bool
) -> None:
    """Stopped right after the last result, or during the last save, which waits for a thread here."""

    async def run() -> None:
        analyses, free = AnalysisRuns(job_at(endpoint, tmp_path, films)), threading.Event()
        running = await analyses.start(AnalysisRequest(video=str(films / "film.mp4"), task="t"), "v1")
        while running.analysis.state == "running":  # noqa: ASYNC110 - to the very turn of the loop
            await asyncio.sleep(0)
        if saving:
            busy = [asyncio.create_task(asyncio.to_thread(free.wait)) for _ in range(THREADS)]
            await asyncio.sleep(0.5)
        stopping = asyncio.create_task(analyses.stop(running))
        if saving:
            await asyncio.sleep(0.2)
            free.set()
            await asyncio.gather(*busy)
        await stopping
        assert (running.analysis.state, running.events[-1][0]) == ("done", FINISHED)
        assert analyses.find(running.analysis.session, "v1") is None
        stored = analyses.store("v1").load("t", running.analysis.session)
        assert stored is not None
        assert stored["state"] == "done"
        await analyses.aclose()

    asyncio.run(asyncio.wait_for(run(), 60))


class Slow:
    """A server that answers ``/slow.mp4`` when it is told to, and everything else with 404."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answer = threading.Event()
        at = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                at.asked[self.path] += 1
                if self.path == "/slow.mp4":
                    at.answer.wait(60)
                    self.send_response(503)
                else:
                    self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_HEAD  # noqa: N815 - a name of the standard library

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.answer.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_a_place_is_free_when_its_requests_have_ended(
    endpoint: FakeEndpoint, films: Path, tmp_path: Path, slow: Slow
) -> None:
    """One place, and an analysis that is stopped during the request: it ends at once, its request later."""
    job = job_at(endpoint, tmp_path, films, networks=["127.0.0.0/8"], downloads=1)
    with Service(job) as service:
        at = f"{service.url}/v1/analyses"
        first = httpx2.post(at, json={"video": f"{slow.url}/slow.mp4"}).json()["session"]
        until(lambda: slow.asked["/slow.mp4"] == 1)
        assert httpx2.delete(f"{at}/{first}", timeout=40).json()["state"] == "stopped"
        second = httpx2.post(at, json={"video": f"{slow.url}/other.mp4"}).json()["session"]
        time.sleep(1)
        assert slow.asked["/other.mp4"] == 0, "the place is in use"
        slow.answer.set()
        until(lambda: slow.asked["/other.mp4"] > 0)
        until(lambda: httpx2.get(f"{at}/{second}").json()["state"] == "failed")
        assert slow.asked["/slow.mp4"] == 1, "nothing is asked again for an analysis that was stopped"
