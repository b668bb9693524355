"""The service as a whole: many clients, those who go away, who is let in, and what is kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import STORY, TITLES
from tests.serve.conftest import job_at
from tests.serve.service import Service
from tests.serve.test_quanmiao import ROUTE, events

TOKEN = "planted-0123456789abcdef"  # noqa: S105 - opens nothing but a test


def until(true: Callable[[], bool], within_s: float = 60.0) -> None:
    end = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_twenty_clients_at_once_each_hear_of_their_own(service: Service, films: Path, endpoint: FakeEndpoint) -> None:
    endpoint.latency_s = 0.1

    async def one(client: httpx2.AsyncClient, number: int) -> list[dict[str, Any]]:
        body = {
            "videoUrl": str(films / "film.mp4"),
            "taskId": f"client-{number}",
            "videoExtraInfo": f"Only client {number} says so.",
            "generateOptions": ["videoTitleGenerate"] if number % 2 else ["videoGenerate"],
        }
        async with client.stream("POST", service.url + ROUTE, json=body) as answer:
            return [json.loads(event.data) async for event in httpx2.EventSource(answer)]

    async def all_of_them() -> list[list[dict[str, Any]]]:
        async with httpx2.AsyncClient(timeout=60, limits=httpx2.Limits(max_connections=20)) as client:
            return await asyncio.gather(*(one(client, number) for number in range(20)))

    heard = asyncio.run(all_of_them())
    assert len({told[0]["header"]["sessionId"] for told in heard}) == 20
    for number, told in enumerate(heard):
        assert {event["header"]["taskId"] for event in told} == {f"client-{number}"}
        assert told[-1]["header"]["event"] == "task-finished"
        output = told[-1]["payload"]["output"]
        assert output["videoGenerateResult"]["text"] == STORY
        assert ("videoTitleGenerateResult" in output) is bool(number % 2)
    assert max(endpoint.paid.values()) == 1, "what two ask for at the same time is asked for once"


def test_a_client_that_goes_away_stops_its_work(service: Service, films: Path, endpoint: FakeEndpoint) -> None:
    endpoint.latency_s = 0.5
    before = endpoint.asked
    body = {"videoUrl": str(films / "film.mp4"), "taskId": "left", "videoExtraInfo": "leaves"}
    body["videoModelCustomPromptTemplate"] = "{videoAsrText} {videoExtraInfo}"
    with httpx2.stream("POST", service.url + ROUTE, json=body, timeout=60):
        until(lambda: endpoint.asked > before)
    documents = service.output / "served" / "llm-xxx" / "left"
    until(lambda: any(json.loads(path.read_bytes())["state"] == "stopped" for path in documents.glob("*.json")))
    asked = endpoint.asked
    assert asked - before <= 3, "the shots, and nothing after them"
    until(lambda: endpoint.in_flight == 0)
    assert endpoint.asked == asked
    endpoint.latency_s = 0
    assert list(events(service, body))[-1]["header"]["event"] == "task-finished"
    assert max(endpoint.paid.values()) == 1, "what came home after the client had left was kept"


def test_plain_json_starts_reads_watches_and_stops(service: Service, films: Path, endpoint: FakeEndpoint) -> None:
    at = f"{service.url}/v1/analyses"
    wanted = {"video": str(films / "film.mp4"), "tasks": ["titles"], "task": "plain"}
    started = httpx2.post(at, json=wanted)
    assert started.status_code == 202
    session = started.json()["session"]
    until(lambda: httpx2.get(f"{at}/{session}").json()["state"] == "done")
    document = httpx2.get(f"{at}/{session}").json()
    assert [result["task"] for result in document["results"]] == ["analysis", "summary", "titles"]
    assert document["results"][2]["value"] == {"titles": [*TITLES]}
    assert [each["session"] for each in httpx2.get(at, params={"task": "plain"}).json()] == [session]
    built = httpx2.post(at, json={"task": "plain", "base": session, "tasks": ["mind_map"]}).json()["session"]
    until(lambda: httpx2.get(f"{at}/{built}").json()["state"] == "done")

    endpoint.hold = lambda _: True
    slow = httpx2.post(at, json={**wanted, "caption_prompt": "Something else."}).json()["session"]
    with httpx2.stream("GET", f"{at}/{slow}/events") as answer:
        names = []
        for event in httpx2.EventSource(answer):
            names.append(event.event)
            if event.event == "task-progress-start-generating":
                assert httpx2.delete(f"{at}/{slow}").json()["state"] == "stopped"
    assert names[-1] == "task-failed"
    assert httpx2.get(f"{at}/{slow}").json()["state"] == "stopped"
    for method, path in (("GET", "nobody"), ("DELETE", "nobody"), ("GET", f"{slow}/events")):
        gone = httpx2.request(method, f"{at}/{path}")
        assert (gone.status_code, set(gone.json()["error"])) == (404, {"code", "message"})
        assert gone.json()["code"] == gone.json()["error"]["code"]


def test_who_sends_no_token_is_turned_away(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    with Service(job_at(endpoint, tmp_path, films, waiting=0, at_once=1), TOKEN) as guarded:
        at, sent = f"{guarded.url}/v1/analyses", {"Authorization": f"Bearer {TOKEN}"}
        assert httpx2.get(guarded.url).status_code == 200, "the page itself tells nothing"
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}):
            refused = httpx2.get(at, params={"task": "t"}, headers=headers)
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert httpx2.get(at, params={"task": "t"}, headers=sent).json() == []
        endpoint.hold = lambda _: True
        wanted = {"video": str(films / "film.mp4"), "caption_prompt": "Nothing that was asked before."}
        assert httpx2.post(at, json=wanted, headers=sent).status_code == 202
        busy = httpx2.post(at, json=wanted, headers=sent)
        assert (busy.status_code, busy.json()["error"]["code"]) == (429, "Throttling")
        endpoint.hold = None
    for path in tmp_path.rglob("*.json*"):
        assert TOKEN not in path.read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "[::1"}]
)
def test_without_a_token_no_other_site_can_use_a_browser_here(service: Service, headers: dict[str, str]) -> None:
    assert httpx2.post(service.url + ROUTE, data={"videoUrl": "http://a/"}, headers=headers).status_code == 403


def test_videos_are_bounded_in_length_and_size(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    for number, (limit, kind) in enumerate((({"max_minutes": 0.04}, "TooLong"), ({"max_gb": 1e-6}, "TooLarge"))):
        with Service(job_at(endpoint, tmp_path / str(number), films, **limit)) as small:
            last = list(events(small, {"videoUrl": str(films / "film.mp4")}))[-1]
            assert last["header"]["errorCode"] == kind
            assert next(iter(limit)) in last["header"]["errorMessage"]


def test_a_restart_loses_no_part_that_was_finished(endpoint: FakeEndpoint, films: Path, tmp_path: Path) -> None:
    job = job_at(endpoint, tmp_path, films)
    body = {"videoUrl": str(films / "film.mp4"), "videoExtraInfo": "restart", "taskId": "again"}
    body["videoModelCustomPromptTemplate"] = "{videoAsrText} {videoExtraInfo}"
    with Service(job) as first:
        session = list(events(first, body))[-1]["header"]["sessionId"]
    paid = endpoint.paid.total()
    with Service(job) as second:
        more = {"taskId": "again", "originalSessionId": session, "generateOptions": ["videoTitleGenerate"]}
        output = list(events(second, more))[-1]["payload"]["output"]
        assert output["videoTitleGenerateResult"]["text"] == TITLES[0]
    assert endpoint.paid.total() == paid + 1
