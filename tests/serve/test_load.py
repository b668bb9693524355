"""Many clients at once: some stay, some go away, some never read, and some name servers that never answer."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import told
from tests.serve.conftest import job_at
from tests.serve.service import Service
from tests.serve.test_isolation import NETWORKS, silent
from tests.serve.test_quanmiao import ROUTE
from tests.serve.vendor import Vendor

__all__ = ["silent"]

STAY, LEAVE, HANG, LATENCY_S = 50, 20, 6, 1.0


def echo(body: dict[str, Any]) -> str | None:
    """A summary that says for which client it was written."""
    text = text_of(body)
    if "Tell the whole story" in text and "client-" in text:
        return f"The story of client-{text.partition('client-')[2].split()[0]}."
    return told(body)


@pytest.fixture
def served(films: Path, tmp_path: Path) -> Iterator[Service]:
    with FakeEndpoint(answer=echo, latency_s=LATENCY_S) as fake:
        job = job_at(fake, tmp_path, films, at_once=STAY + LEAVE + HANG, networks=NETWORKS)
        vlm, llm = (job.endpoints.endpoints_of(role)[0].model_dump() for role in ("vlm", "llm"))
        endpoints = {"vlm": {**vlm, "max_concurrency": 100}, "llm": {**llm, "max_concurrency": 100}}
        with Service(type(job).of({**job.model_dump(mode="json"), "endpoints": endpoints})) as service:
            yield service


def never_reads(service: Service, body: dict[str, Any]) -> socket.socket:
    """A client that sends its request and then reads nothing."""
    parts = urlsplit(service.url)
    client = socket.create_connection((parts.hostname, parts.port))
    data = json.dumps(body).encode()
    client.sendall(
        f"POST {ROUTE} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(data)}\r\n\r\n".encode()
        + data
    )
    return client


def test_no_mix_ups_and_nobody_waits_for_another(
    served: Service, silent: str, films: Path, record_property: Callable[[str, object], None]
) -> None:
    film = str(films / "film.mp4")

    async def stays(number: int) -> tuple[int, Any, float]:
        begun, last = time.monotonic(), None
        vendor = Vendor(served.url)
        async for event in vendor.run_async(video_url=film, video_extra_info=f"client-{number} ", task_id=f"t{number}"):
            assert event.header.task_id == f"t{number}"
            last = event
        return number, last, time.monotonic() - begun

    async def leaves(number: int) -> None:
        events = Vendor(served.url).run_async(video_url=film, video_extra_info=f"client-{1000 + number} ")
        with suppress(TimeoutError):
            async with asyncio.timeout(number * LATENCY_S / 10):
                async for _ in events:
                    pass
        await events.aclose()

    async def everybody() -> list[tuple[int, Any, float]]:
        leaving = [asyncio.create_task(leaves(number)) for number in range(LEAVE)]
        staying = await asyncio.gather(*map(stays, range(STAY)))
        await asyncio.gather(*leaving)
        return staying

    alone = asyncio.run(stays(STAY))[2]
    hung = [
        never_reads(served, {"videoUrl": film, "videoExtraInfo": f"client-{2000 + at} "}) for at in range(HANG // 2)
    ]
    hung += [never_reads(served, {"videoUrl": f"{silent}/{at}.mp4"}) for at in range(HANG - len(hung))]
    found = asyncio.run(everybody())
    for number, last, _ in found:
        assert last.header.event == "task-finished"
        assert last.payload.output.video_generate_result.text == f"The story of client-{number}."
    took = sorted(seconds for *_, seconds in found)
    figures = {"alone_s": alone, "median_s": statistics.median(took), "slowest_s": took[-1]}
    for name, seconds in figures.items():
        record_property(name, round(seconds, 2))
    assert took[-1] < alone + 60, "nobody waits for those who hang, nor for the analysis of another"
    for each in hung:
        each.close()
