"""The route of RunVideoAnalysis: its own example values, and its example response field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.fakes.answers import text_of
from tests.fakes.endpoint import FakeEndpoint
from tests.fakes.told import MAP, STORY, TITLES
from tests.serve.service import Service

ROUTE = "/llm-xxx/quanmiao/lightapp/runVideoAnalysis"
SHOT = """\
# 角色
你是一名视频分析师。
## 视频片段ASR信息
(如果输入为空则忽略ASR信息)
{videoAsrText}
# 输出格式
直接输出。{videoExtraInfo}"""
STORY_ASKED = """\
# 角色
你是一个专业的视频标注专员。
## 资料一
{videoAnalysisText}
## 资料二
{videoAsrText}
{videoExtraInfo}"""
EXAMPLE: Mapping[str, Any] = {
    "videoModelId": "qwen-vl-max",
    "videoModelCustomPromptTemplate": SHOT,
    "modelId": "qwen-max",
    "modelCustomPromptTemplateId": "PlotDetail",
    "modelCustomPromptTemplate": STORY_ASKED,
    "generateOptions": ["videoAnalysis", "videoGenerate", "videoTitleGenerate", "videoMindMappingGenerate"],
    "taskId": "a3d1c2ac-f086-4a21-9069-f5631542f5a2",
    "videoExtraInfo": "一部短片",
    "snapshotInterval": 1,
}
"""Example values of the vendor's documentation."""


def events(service: Service, body: Mapping[str, Any], **options: Any) -> Iterator[dict[str, Any]]:
    with httpx2.stream("POST", service.url + ROUTE, json=body, timeout=60, **options) as answer:
        assert answer.status_code == 200, answer.read()
        for event in httpx2.EventSource(answer):
            said = json.loads(event.data)
            assert event.event == said["header"]["event"]
            yield said


@pytest.fixture(scope="module")
def told(service: Service, films: Path) -> list[dict[str, Any]]:
    return list(events(service, {**EXAMPLE, "videoUrl": str(films / "film.mp4")}))


def test_the_events_are_those_of_one_session(told: list[dict[str, Any]]) -> None:
    names = [event["header"]["event"] for event in told]
    assert names[:2] == ["task-started", "task-progress-start-generating"]
    assert names[-1] == "task-finished"
    assert {event["header"]["taskId"] for event in told} == {EXAMPLE["taskId"]}
    for name in ("sessionId", "traceId"):
        assert len({event["header"][name] for event in told}) == 1
    assert len({event["requestId"] for event in told}) == 1
    made = [event["header"]["eventInfo"] for event in told if event["header"]["event"] == "result-generated"]
    assert made == ["speech", "analysis", "summary", "titles", "mind_map"]


def test_the_response_has_the_fields_of_the_vendors_api(told: list[dict[str, Any]]) -> None:
    """The shape of the vendor's example, with the values of this video in it."""
    last = told[-1]
    assert set(last) == {"header", "payload", "requestId"}
    assert set(last["header"]) == {"event", "eventInfo", "sessionId", "taskId", "traceId"}, "no error, no code"
    output, usage = last["payload"]["output"], last["payload"]["usage"]
    assert set(output) == {
        "videoAnalysisResult",
        "videoCaptionResult",
        "videoGenerateResult",
        "videoMindMappingGenerateResult",
        "videoTitleGenerateResult",
    }
    parts = [output[name] for name in output if name != "videoCaptionResult"]
    for part in (*parts, last["payload"]):
        tokens = part["usage"]
        assert set(tokens) == {"inputTokens", "outputTokens", "totalTokens"}
        assert tokens["totalTokens"] == tokens["inputTokens"] + tokens["outputTokens"] > 0
    assert usage["totalTokens"] == sum(part["usage"]["totalTokens"] for part in parts)
    assert all(part["generateFinished"] is True for part in output.values())
    shots = output["videoAnalysisResult"]["videoShotAnalysisResults"]
    assert [(shot["startTime"], shot["endTime"]) for shot in shots] == [(0, 1000), (1000, 2000), (2000, 3000)]
    assert all(set(shot) == {"startTime", "endTime", "text"} for shot in shots)
    assert output["videoAnalysisResult"]["text"] == "", "the shots are not sent twice"
    assert output["videoCaptionResult"]["videoCaptions"][0] == {
        "startTime": 500,
        "endTime": 1500,
        "startTimeFormat": "00:00",
        "endTimeFormat": "00:01",
        "text": "Who is there?",
    }
    assert output["videoGenerateResult"]["text"] == STORY
    assert output["videoTitleGenerateResult"]["text"] == TITLES[0], "one title by default"
    assert json.loads(output["videoMindMappingGenerateResult"]["text"]) == MAP
    walls = {"name": "Walls", "childNodes": [{"name": "Red"}]}
    tree = {"name": "Light", "childNodes": [walls, {"name": "Blocks"}]}
    assert output["videoMindMappingGenerateResult"]["videoMindMappings"] == [tree]


def test_models_and_templates_are_those_of_the_request(told: list[dict[str, Any]], endpoint: FakeEndpoint) -> None:
    assert told
    asked = [request.body for request in endpoint.requests if "视频分析师" in text_of(request.body)]
    assert {body["model"] for body in asked} == {"qwen-vl-max"}
    assert any("0.50 s: Who is there?" in text_of(body) for body in asked)
    assert all("一部短片" in text_of(body) and "{video" not in text_of(body) for body in asked)
    (story,) = [request.body for request in endpoint.requests if "视频标注专员" in text_of(request.body)]
    assert story["model"] == "qwen-max"
    assert "Who is there?" in text_of(story)
    assert "From 0 to 1, " in text_of(story)


def test_a_part_is_made_again_on_what_there_is(
    told: list[dict[str, Any]], service: Service, endpoint: FakeEndpoint
) -> None:
    """Neither the address nor the templates have to be given again, and only what changed is paid for."""
    before = endpoint.paid.total()
    again = {
        "taskId": EXAMPLE["taskId"],
        "originalSessionId": told[-1]["header"]["sessionId"],
        "generateOptions": ["videoGenerate"],
        "modelCustomPromptTemplate": STORY_ASKED + "再来一次",
    }
    last = list(events(service, again))[-1]
    assert last["header"]["event"] == "task-finished"
    assert last["header"]["sessionId"] != again["originalSessionId"]
    assert last["payload"]["output"]["videoGenerateResult"]["text"] == STORY
    assert "videoTitleGenerateResult" not in last["payload"]["output"]
    assert endpoint.paid.total() == before + 1


def test_the_form_of_its_own_clients_is_taken(service: Service, films: Path) -> None:
    form = {"videoUrl": str(films / "film.mp4"), "generateOptions": json.dumps(["videoAnalysis"])}
    answer = httpx2.post(service.url + ROUTE, data=form, timeout=60)
    assert answer.status_code == 200
    assert answer.text.count("event: task-finished") == 1


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"snapshotInterval": 0.5}, "snapshotInterval"),
        ({"snapshotInterval": 11}, "snapshotInterval"),
        ({"generateOptions": ["videoSing"]}, "generateOptions"),
        ({"modelCustomPromptTemplateId": "Haiku"}, "modelCustomPromptTemplateId"),
        ({"videoModelCustomPromptTemplate": "What is that?"}, "{videoAsrText}"),
        ({"modelCustomPromptTemplate": "{videoAsrText}"}, "{videoAnalysisText}"),
        ({"videoModelId": "gpt-9"}, "qwen-vl-max"),
        ({"originalSessionId": "x"}, "taskId"),
        ({"taskId": "../../etc"}, "taskId"),
        ({"videoUrl": None}, "No video"),
        ({"videoUrl": None, "taskId": "t", "originalSessionId": "gone"}, "no such earlier session"),
        ({"videoUrl": "http://169.254.169.254/latest/meta-data"}, "not public"),
        ({"videoUrl": "http://127.0.0.1:1/?signature=planted"}, "not public"),
        ({"videoUrl": "file:///etc/passwd"}, "serve.allow"),
        ({"sing": True}, "sing"),
    ],
)
def test_what_cannot_be_is_said_with_the_reason(
    service: Service, films: Path, given: dict[str, Any], says: str
) -> None:
    body = {"videoUrl": str(films / "film.mp4"), **given}
    answer = httpx2.post(service.url + ROUTE, json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 400
    header = answer.json()["header"]
    assert (header["event"], header["errorCode"]) == ("task-failed", "InvalidParam")
    assert says in header["errorMessage"]
    assert "planted" not in answer.text


def test_a_body_that_is_none_is_refused(service: Service) -> None:
    for body in (b"{", b"[]", b"\xff", b"null"):
        answer = httpx2.post(service.url + ROUTE, content=body, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["header"]["errorCode"]) == (400, "InvalidParam")
    answer = httpx2.post(service.url + ROUTE, content=b" " * (2**20 + 1))
    assert answer.status_code == 413


@pytest.mark.parametrize("value", ["[bad", "[" * 100_000, "[1e", "[" + "9" * 5000 + "]"])
@pytest.mark.parametrize("field", ["generateOptions", "excludeGenerateOptions", "videoUrls"])
def test_a_text_that_is_no_list_is_refused(service: Service, field: str, value: str) -> None:
    for given in ({"json": {field: value}}, {"data": {field: value}}, {"json": {field: [value]}}):
        answer = httpx2.post(service.url + ROUTE, **given)
        assert (answer.status_code, answer.json()["header"]["errorCode"]) == (400, "InvalidParam")
        assert field in answer.json()["header"]["errorMessage"]


def test_a_video_that_fails_is_an_event(service: Service, films: Path) -> None:
    (films / "broken.mp4").write_bytes(b"no film")
    last = list(events(service, {"videoUrl": str(films / "broken.mp4")}))[-1]
    assert (last["header"]["event"], last["header"]["errorCode"]) == ("task-failed", "NotAVideo")
    assert last["header"]["errorMessage"]
