"""The service as the vendor's own SDK sees it, with its synchronous and its asynchronous client."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from darabonba.exceptions import DaraException, UnretryableException

from lvqa_ray.config import Job
from tests import media
from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import told
from tests.serve.conftest import job_at
from tests.serve.service import Service
from tests.serve.vendor import WORKSPACE, Vendor, refused


def han(seed: int, count: int) -> str:
    """Random Chinese characters, and one that takes four bytes."""
    drawn = random.Random(seed).choices(range(0x4E00, 0x9FA5), k=count)  # noqa: S311 - reproducible
    return "".join(map(chr, drawn)) + "\N{CLAPPER BOARD}"


SHOT, STORY = han(1, 1500), han(2, 3000)
TITLE = "光与墙"
MAP = '{"name": "光", "children": [{"name": "墙", "children": [{"name": "红", "children": [{"name": "暗红"}]}]}]}'
SECONDS = 200
TOKEN, KEY_ID, SECRET = "planted-0123456789abcdef", "planted-id", "planted-secret-0123456789"
ERRORS = (DaraException, UnretryableException)


def chinese(body: dict[str, Any]) -> str | None:
    """Long replies in Chinese."""
    text = text_of(body)
    if "as a mind map" in text:
        return MAP
    if "titles for it" in text:
        return TITLE
    if "Tell the whole story" in text:
        return STORY
    return told(body) or SHOT


@pytest.fixture(scope="module")
def chinese_endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(answer=chinese) as fake:
        yield fake


@pytest.fixture(scope="module")
def long_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    media.make_video(folder / "影片.mp4", seconds=SECONDS, fps=1)
    return folder


@pytest.fixture(scope="module")
def served(
    chinese_endpoint: FakeEndpoint, long_films: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with Service(job_of(chinese_endpoint, tmp_path_factory.mktemp("sdk"), long_films)) as service:
        yield service


def job_of(endpoint: FakeEndpoint, output: Path, films: Path) -> Job:
    job = job_at(endpoint, output, films)
    return job.model_copy(update={"split": type(job.split)(max_seconds=10)})


def wanted(films: Path, **more: Any) -> dict[str, Any]:
    options = ["videoAnalysis", "videoGenerate", "videoTitleGenerate", "videoMindMappingGenerate"]
    return {"video_url": str(films / "影片.mp4"), "generate_options": options, **more}


def check(events: list[Any]) -> None:
    """All results came, whole."""
    last = events[-1]
    assert (last.header.event, last.header.error_code) == ("task-finished", None)
    output = last.payload.output
    shots = output.video_analysis_result.video_shot_analysis_results
    assert [(shot.start_time, shot.end_time) for shot in shots] == [
        (1000 * at, 1000 * (at + 10)) for at in range(0, SECONDS, 10)
    ]
    assert {shot.text for shot in shots} == {SHOT}
    assert output.video_analysis_result.text == "", "the shots are not sent twice"
    assert output.video_generate_result.text == STORY
    assert output.video_title_generate_result.text == TITLE, "one title by default"
    (root,) = output.video_mind_mapping_generate_result.video_mind_mappings
    names = [root.name, root.child_nodes[0].name, root.child_nodes[0].child_nodes[0].name]
    assert names == ["光", "墙", "红 (暗红)"], "the SDK has three levels; the fourth is folded into the third"
    parts = (output.video_analysis_result, output.video_generate_result, output.video_title_generate_result)
    assert all(part.generate_finished for part in parts)


def test_the_synchronous_client_gets_every_event_of_a_chinese_film(served: Service, long_films: Path) -> None:
    """It decodes chunks of 8 KB one by one, and loses those that split a character."""
    events = list(Vendor(served.url).run(**wanted(long_films)))
    check(events)
    assert events[-1].payload.usage.total_tokens > 0
    names = [event.header.event for event in events]
    assert names[:2] == ["task-started", "task-progress-start-generating"]
    assert "task-progress-generating" in names
    sent = httpx2.post(
        f"{served.url}/{WORKSPACE}/quanmiao/lightapp/runVideoAnalysis",
        data={"videoUrl": wanted(long_films)["video_url"], "generateOptions": "videoAnalysis"},
        timeout=60,
    ).content
    assert sent.isascii()
    assert max(map(len, sent.splitlines())) < 2**19, "the asynchronous client drops lines of 1 MB"


def test_the_asynchronous_client_gets_them_too(served: Service, long_films: Path) -> None:
    async def all_events() -> list[Any]:
        return [event async for event in Vendor(served.url).run_async(**wanted(long_films))]

    events = asyncio.run(all_events())
    check(events)
    assert events[-1].payload.usage.total_tokens == 0, "this session paid for nothing"


def test_silence_is_shorter_than_the_clients_timeout(
    served: Service, long_films: Path, chinese_endpoint: FakeEndpoint
) -> None:
    """The endpoint takes longer than the client waits for a byte, which is 10 s by default."""
    begun = time.monotonic()
    chinese_endpoint.hold = lambda body: "慢" in text_of(body) and time.monotonic() < begun + 6
    request = wanted(long_films, video_extra_info="慢", generate_options=["videoGenerate"])
    events = list(Vendor(served.url).run(runtime={"read_timeout": 4500}, **request))
    assert time.monotonic() - begun > 6
    assert events[-1].header.event == "task-finished"


@pytest.mark.parametrize(
    ("request_", "code", "says"),
    [
        ({"video_url": "http://127.0.0.1:1/x.mp4"}, "InvalidParam", "not public"),
        ({"snapshot_interval": 20}, "InvalidParam", "snapshotInterval"),
        ({"generate_options": ["videoSing"]}, "InvalidParam", "generateOptions"),
        ({"video_shot_face_identity_count": 3}, "InvalidParam", "recognizes no faces"),
    ],
)
def test_the_client_reads_why_it_is_refused(
    served: Service, long_films: Path, request_: dict[str, Any], code: str, says: str
) -> None:
    with pytest.raises(ERRORS) as caught:
        list(Vendor(served.url).run(**{**wanted(long_films), **request_}))
    error = refused(caught.value)
    assert error.code == code
    assert says in error.message
    assert error.data["requestId"] in error.message
    with pytest.raises(ERRORS) as caught:
        Vendor(served.url).submit(**{**wanted(long_films), **request_})
    assert (refused(caught.value).code, says in refused(caught.value).message) == (code, True)


def test_empty_values_are_values_that_are_not_given(served: Service, long_films: Path) -> None:
    empty = dict.fromkeys(("task_id", "original_session_id", "model_id", "video_extra_info", "language"), "")
    events = list(Vendor(served.url).run(**wanted(long_films, **empty, model_custom_prompt_template_id="")))
    check(events)


def test_credentials_of_the_client(chinese_endpoint: FakeEndpoint, long_films: Path, tmp_path: Path) -> None:
    """A bearer token, or requests that are signed with an access key; all else is turned away."""
    request = wanted(long_films, generate_options=["videoAnalysis"])
    with Service(job_of(chinese_endpoint, tmp_path, long_films), TOKEN, {KEY_ID: SECRET}) as guarded:
        good = ({"bearer_token": TOKEN}, {"access_key_id": KEY_ID, "access_key_secret": SECRET})
        for credentials in good:
            vendor = Vendor(guarded.url, **credentials)
            assert [*vendor.run(**request)][-1].header.event == "task-finished"
            assert vendor.task(vendor.submit(**request)).task_status in ("PENDING", "RUNNING", "SUCCESSED")
        for credentials, code in (
            ({"bearer_token": "wrong"}, "Unauthorized"),
            ({"access_key_id": KEY_ID, "access_key_secret": "wrong"}, "SignatureDoesNotMatch"),
            ({"access_key_id": "nobody", "access_key_secret": SECRET}, "SignatureDoesNotMatch"),
        ):
            with pytest.raises(ERRORS) as caught:
                list(Vendor(guarded.url, **credentials).run(**request))
            assert refused(caught.value).code == code
    for path in tmp_path.rglob("*.json*"):
        assert SECRET not in path.read_text(encoding="utf-8", errors="replace")
