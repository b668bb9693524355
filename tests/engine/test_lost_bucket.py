"""A bucket that can no longer be written while a run pays: what is lost is at most what was in flight."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from lvqa_ray.engine.run import run
from lvqa_ray.errors import RunStopped, StopRun
from lvqa_ray.journal.locations import open_segments
from lvqa_ray.journal.maintenance import stats
from lvqa_ray.journal.reply_store import JournalReplyStore
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest, Message
from lvqa_ray.llm.middleware.client import EndpointRoute, build_client
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.ratelimit.limiter import Limiter
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.llm.ratelimit.server import LocalLeaseServer
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.storage.options import StorageOptions
from lvqa_ray.storage.paths import ObjectPath
from tests import media
from tests.conftest import JobMaker
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.files import bucket, s3_server
from tests.fakes.gateway import Gateway

AT_ONCE = 4


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with s3_server(tmp_path_factory.mktemp("weed")) as there, pytest.MonkeyPatch.context() as patch:
        for name, value in there.items():
            patch.setenv(name, value)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        bucket(there).mkdir("lost")
        yield there


@pytest.mark.storm
def test_at_most_what_is_in_flight_is_lost(
    s3: Mapping[str, str], ray_session: None, make_job: JobMaker, tmp_path: Path
) -> None:
    how = "ExpiredToken"
    films = [
        media.make_video(tmp_path / f"{n}.mp4", seconds=8, scenes=tuple(0.5 * k for k in range(1, 16)))
        for n in range(2)
    ]
    output = f"s3://lost/{how} [1] #x"
    with FakeEndpoint(latency_s=0.3) as fake, Gateway(s3["AWS_ENDPOINT_URL"]) as gateway:
        job = make_job(
            *films,
            output=output,
            storage={"endpoint_url": gateway.url, "path_style": True},
            endpoint={"base_url": fake.base_url, "max_concurrency": AT_ONCE},
            split={"max_seconds": 0.5},
        )
        lost_at: list[int] = []

        def lose() -> None:
            while fake.paid.total() < 8:
                time.sleep(0.02)
            lost_at.append(fake.paid.total())
            gateway.refuses = how

        threading.Thread(target=lose, daemon=True).start()
        begun = time.monotonic()
        with pytest.raises(RunStopped):
            run(job)
        took_s = time.monotonic() - begun
        paid = fake.paid.total()
        place = ObjectPath(output, StorageOptions.here())
        kept = stats(open_segments(place / "cache")).answers
        assert paid - kept <= AT_ONCE, f"lost at {lost_at}, {took_s:.0f} s"
        assert paid <= lost_at[0] + 2 * AT_ONCE
        assert took_s < 300

        gateway.refuses = ""
        finished = run(job)
        assert (finished.records, finished.exit_status) == (2, 0)
        assert sum(times - 1 for times in fake.paid.values()) <= AT_ONCE


@pytest.mark.parametrize("how", ["ExpiredToken", "NoSuchBucket", "drop"])
def test_a_client_pays_for_no_more_than_what_is_in_flight(s3: Mapping[str, str], how: str) -> None:
    """The client path alone, with 60 requests that wait for four permits."""
    with FakeEndpoint(latency_s=0.1) as fake, Gateway(s3["AWS_ENDPOINT_URL"]) as gateway:
        at = Endpoint(base_url=fake.base_url, model="m", max_concurrency=AT_ONCE, max_attempts=1)
        place = ObjectPath(f"s3://lost/client {how}", StorageOptions.here())
        through = replace(place, access=replace(place.access, endpoint_url=gateway.url))
        journal = JournalReplyStore(open_segments(through), writer="w", stage="ask")
        wire = OpenAITransport(at, SecretStr(""))
        chat = build_client([EndpointRoute(at, wire, LeasePool(LocalLeaseServer(Limiter(Limits.of(at)))))], journal)
        asked = [
            ChatRequest(stage="ask", version="1", messages=(Message.of("user", f"number {n}"),)) for n in range(60)
        ]

        async def lose() -> None:
            while fake.paid.total() < 12:  # noqa: ASYNC110 - the endpoint is in another thread
                await asyncio.sleep(0.01)
            gateway.refuses, gateway.writes_only = how, True

        async def run_all() -> list[object]:
            losing = asyncio.create_task(lose())
            calls = [asyncio.create_task(chat(request)) for request in asked]
            done, waiting = await asyncio.wait(calls, timeout=6)
            for call in waiting:  # for a store that may come back
                call.cancel()
            await asyncio.wait([losing])
            await wire.aclose()
            return [call.exception() for call in done]

        ended = asyncio.run(run_all())
        kept = stats(open_segments(place)).answers
        assert fake.paid.total() - kept <= AT_ONCE
        assert fake.paid.total() < 12 + 3 * AT_ONCE
        lasting = how != "drop"
        assert any(isinstance(error, StopRun) for error in ended) is lasting
        assert len(ended) == len(asked) if lasting else len(ended) < len(asked)
