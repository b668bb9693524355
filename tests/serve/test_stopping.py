"""How an analysis ends: stopped too late, and stopped while the video is identified."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from lvqa_ray.serve.analyses import AnalysisRuns
from lvqa_ray.serve.analysis_request import AnalysisRequest
from lvqa_ray.serve.running import FINISHED
from tests.fakes.endpoint import FakeEndpoint
from tests.serve.conftest import job_at

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
