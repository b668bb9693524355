"""One client never affects another: bursts, addresses that never answer, workspaces, reruns, and who keeps what."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lvqa_ray.serve.quanmiao.task_routes import TASK_ROUTES
from tests import media
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.files import FileServer
from tests.fakes.told import STORY, told
from tests.serve.conftest import job_at
from tests.serve.service import Service
from tests.serve.test_quanmiao import ROUTE
from tests.serve.test_service import until
from tests.serve.vendor import Vendor

NETWORKS = ("127.0.0.0/8",)


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for each in held:
            each.close()


def test_addresses_that_never_answer_hold_up_nobody(silent: str, films: Path, tmp_path: Path) -> None:
    """More of them than there are slots and threads; DELETE ends them long before the time limit does."""
    with FakeEndpoint(answer=told) as fake:
        job = job_at(fake, tmp_path / "long", films, at_once=2, networks=NETWORKS, download_minutes=10)
        with Service(job) as service:
            at = f"{service.url}/v1/analyses"
            hung = [httpx2.post(at, json={"video": f"{silent}/{number}.mp4"}).json()["session"] for number in range(8)]
            events = list(Vendor(service.url).run(video_url=str(films / "film.mp4")))
            assert events[-1].payload.output.video_generate_result.text == STORY
            for each in hung:
                assert httpx2.delete(f"{at}/{each}", timeout=60).json()["state"] == "stopped"
        job = job_at(fake, tmp_path / "short", films, at_once=2, networks=NETWORKS, download_minutes=0.02)
        with Service(job) as service:
            at = f"{service.url}/v1/analyses"
            hung = [httpx2.post(at, json={"video": f"{silent}/{number}.mp4"}).json()["session"] for number in range(8)]
            until(lambda: httpx2.get(f"{at}/{hung[-1]}").json()["state"] == "failed")
            failure = httpx2.get(f"{at}/{hung[-1]}").json()["failure"]
            assert (failure["kind"], "serve.download_minutes" in failure["message"]) == ("not_fetched", True)


def test_the_queue_holds_in_a_burst(films: Path, tmp_path: Path) -> None:
    fake = FakeEndpoint(answer=told)
    fake.hold = lambda _: True
    with fake, Service(job_at(fake, tmp_path, films, at_once=2, waiting=3)) as service:

        async def burst() -> Counter[int]:
            body = {"video": str(films / "film.mp4")}
            async with httpx2.AsyncClient(timeout=60) as client:
                asked = (client.post(f"{service.url}/v1/analyses", json=body) for _ in range(20))
                return Counter([answer.status_code for answer in await asyncio.gather(*asked)])

        assert asyncio.run(burst()) == {202: 5, 429: 15}
        refused = httpx2.post(f"{service.url}{ROUTE}", json={"videoUrl": str(films / "film.mp4")})
        assert (refused.status_code, refused.json()["code"]) == (429, "Throttling")
        assert {"retry-after", "x-acs-retry-after"} <= refused.headers.keys()
        fake.hold = None


def test_an_analysis_is_found_in_its_workspace_only(service: Service, films: Path, endpoint: FakeEndpoint) -> None:
    endpoint.hold = lambda _: True
    vendor, other = Vendor(service.url), Vendor(service.url, workspace="llm-other")
    task = vendor.submit(video_url=str(films / "film.mp4"), video_extra_info="mine")
    until(lambda: vendor.task(task).task_status == "RUNNING")
    session = vendor.task(task).header.session_id
    assert httpx2.get(f"{service.url}/v1/analyses/{session}").status_code == 404
    assert httpx2.delete(f"{service.url}/v1/analyses/{session}").status_code == 404
    with pytest.raises(Exception, match="no such task"):
        other.task(task)
    with pytest.raises(Exception, match="no such task"):
        other.cancel(task)
    canceled = vendor.cancel(task)
    assert (canceled.task_status, canceled.task_id) == ("CANCELED", task)
    assert vendor.task(task).task_status == "CANCELED"


def test_a_submitted_task_ends_without_its_client(service: Service, films: Path, endpoint: FakeEndpoint) -> None:
    vendor = Vendor(service.url)
    request = {"video_url": str(films / "film.mp4"), "video_extra_info": "submitted", "deduplication_id": "once"}
    task = vendor.submit(**request)
    until(lambda: vendor.task(task).task_status == "SUCCESSED")
    found = vendor.task(task)
    assert found.payload.output.video_generate_result.text == STORY
    assert (found.header.event, found.header.task_id) == ("task-finished", task)
    assert found.task_run_info.response_time > 0
    asked = endpoint.asked
    assert vendor.submit(**request) == task, "the same deduplicationId is the same task"
    assert endpoint.asked == asked


def is_done(vendor: Vendor, task: str) -> bool:
    return bool(vendor.task(task).task_status == "SUCCESSED")


def test_one_deduplication_id_at_the_same_time_is_one_task(
    service: Service, films: Path, endpoint: FakeEndpoint
) -> None:
    """Also in two workspaces, which do not share their tasks."""
    endpoint.latency_s = 0.5
    body = {"videoUrl": str(films / "film.mp4"), "deduplicationId": "at once"}
    workspaces = ("llm-first", "llm-second")

    async def all_of_them() -> set[str]:
        async with httpx2.AsyncClient(timeout=60) as client:
            paths = [f"/{each}{TASK_ROUTES}/submitVideoAnalysisTask" for each in workspaces for _ in range(5)]
            answers = await asyncio.gather(*(client.post(service.url + path, json=body) for path in paths))
            return {answer.json()["data"]["taskId"] for answer in answers}

    (task,) = asyncio.run(all_of_them())
    for workspace in workspaces:
        until(partial(is_done, Vendor(service.url, workspace), task))
        assert len([*(service.output / "served" / workspace / task).glob("*.json")]) == 1


def test_an_event_stream_may_finish_without_its_client(films: Path, tmp_path: Path) -> None:
    fake = FakeEndpoint(answer=told)
    fake.hold = lambda _: True
    with fake, Service(job_at(fake, tmp_path, films, detached="finish")) as service:
        body = {"videoUrl": str(films / "film.mp4"), "taskId": "detached"}
        with httpx2.stream("POST", f"{service.url}{ROUTE}", json=body) as answer:
            next(answer.iter_bytes())
        fake.hold = None
        until(lambda: Vendor(service.url).task("detached").task_status == "SUCCESSED")


def test_a_named_part_is_generated_again_and_its_prerequisites_are_not(films: Path, tmp_path: Path) -> None:
    replies = iter(range(1000))

    def answer(body: dict[str, object]) -> str | None:
        made = told(body)
        return f"{made} ({next(replies)})" if made == STORY else made

    with FakeEndpoint(answer=answer) as fake, Service(job_at(fake, tmp_path, films)) as service:
        vendor = Vendor(service.url)
        run: dict[str, Any] = {
            "video_url": str(films / "film.mp4"),
            "task_id": "t",
            "generate_options": ["videoGenerate"],
        }
        first = list(vendor.run(**run))[-1]
        asked = fake.asked
        build: dict[str, Any] = {"task_id": "t", "original_session_id": first.header.session_id}
        second = list(vendor.run(**build, generate_options=["videoGenerate"]))[-1]
        assert fake.asked == asked + 1, "the shots are not described again"
        one, two = (each.payload.output.video_generate_result.text for each in (first, second))
        assert one != two
        assert second.payload.usage.total_tokens == second.payload.output.video_generate_result.usage.total_tokens
        assert 0 < second.payload.usage.total_tokens < first.payload.usage.total_tokens
        build["original_session_id"] = second.header.session_id
        third = list(vendor.run(**build, generate_options=["videoTitleGenerate"]))[-1]
        assert fake.asked == asked + 2, "titles alone, from the summary of the second session"
        assert third.payload.output.video_generate_result.text == two
        assert third.payload.output.video_generate_result.usage.total_tokens == 0


def test_addresses_that_differ_in_their_query_are_different_videos(films: Path, tmp_path: Path) -> None:
    """The query of an address is not stored: a request without a video does not ask for what is left of it."""
    with FakeEndpoint(answer=told) as fake, FileServer() as web:
        web.in_parts = True
        other = media.make_video(tmp_path / "other.mp4", seconds=5, fps=5)
        web.files = {
            "/watch?v=1": (films / "film.mp4").read_bytes(),
            "/watch?v=2": other.read_bytes(),
            "/watch": other.read_bytes(),
        }
        with Service(job_at(fake, tmp_path / "output", films, networks=NETWORKS)) as service:
            at = f"{service.url}/v1/analyses"

            def done(**wanted: Any) -> dict[str, Any]:
                session = httpx2.post(at, json={"task": "t", **wanted}).json()["session"]
                until(lambda: httpx2.get(f"{at}/{session}").json()["state"] != "running")
                document: dict[str, Any] = httpx2.get(f"{at}/{session}").json()
                return document

            first = done(video=f"{web.url}/watch?v=1")
            second = done(video=f"{web.url}/watch?v=2", base=first["session"])
            lengths = [round(each["video"]["info"]["duration_sec"]) for each in (first, second)]
            assert (lengths, second["state"]) == ([3, 5], "done")
            assert first["video"]["fingerprint"] != second["video"]["fingerprint"]
            assert len(second["shots"]) == 5
            again = done(video=f"{web.url}/watch?v=1", base=second["session"])
            assert again["video"]["fingerprint"] == first["video"]["fingerprint"]
            asked = fake.asked
            unnamed = done(base=again["session"], caption_prompt="Something else.")
            assert (unnamed["state"], fake.asked) == ("failed", asked)
            assert "name the video" in unnamed["failure"]["message"]
            assert "v=" not in str([first, second, unnamed])
