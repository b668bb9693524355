from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest

from lvqa_ray.demo.captions import STATED, looks
from lvqa_ray.demo.endpoint import DemoEndpoint, serve
from lvqa_ray.demo.replies import ABOUT
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.qa.formats.json_format import parse_json_question
from lvqa_ray.qa.formats.text_format import parse_question
from lvqa_ray.qa.rewording import merged_line, reason_text
from tests.demo.pictures import HEIGHT, WIDTH, flat, image_parts, texture, video

FRAMES = [flat(0, 0, 120)] * 2 + [texture()[:HEIGHT, :WIDTH]] * 2


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with DemoEndpoint() as endpoint:
        yield endpoint.url


def request(url: str, data: bytes | None = None, method: str = "GET") -> tuple[int, Any]:
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=30) as reply:  # noqa: S310 - our own server
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def post(url: str, body: object) -> tuple[int, Any]:
    return request(f"{url}/chat/completions", json.dumps(body).encode(), "POST")


def said(url: str, content: object, **more: object) -> Any:
    status, reply = post(url, {"model": DEMO_MODEL, "messages": [{"role": "user", "content": content}], **more})
    assert status == 200, reply
    return reply


def told(stage: str, **facts: object) -> dict[str, object]:
    return {"stage": stage, "facts": facts}


def text_of(reply: Any) -> str:
    return str(reply["choices"][0]["message"]["content"])


def test_models(url: str) -> None:
    status, reply = request(f"{url}/models")
    assert status == 200
    assert [model["id"] for model in reply["data"]] == ["lvqa-demo-no-vlm"]


def test_through_the_openai_client(url: str) -> None:
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        reply = client.chat.completions.create(model=DEMO_MODEL, messages=[{"role": "user", "content": "Hello?"}])
        assert reply.choices[0].message.content == ABOUT
        assert reply.choices[0].finish_reason == "stop"
        assert reply.usage is not None
        assert reply.usage.prompt_tokens == 2
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="gpt-99", messages=[{"role": "user", "content": "Hello?"}])


def test_a_caption_speaks_of_the_frames_and_their_times(url: str) -> None:
    times = [30.0, 31.0, 32.0, 33.0]
    reply = said(url, image_parts(FRAMES), lvqa=told("caption", times=times))
    assert text_of(reply).startswith("From 30.00 s to 31.00 s the picture is dark and mainly red")
    assert "Between 31.00 s and 32.00 s the shot changes" in text_of(reply)
    assert reply["usage"]["prompt_tokens"] >= 4 * 29 * 16


def test_a_request_without_a_stage_is_captioned_and_its_frames_are_numbered(url: str) -> None:
    assert text_of(said(url, image_parts(FRAMES))).startswith("From frame 1 to frame 2 the picture is dark")


def test_a_clip_file(url: str) -> None:
    data = "data:video/mp4;base64," + base64.b64encode(video([flat(0, 0, 120)] * 8 + [flat(220, 120, 40)] * 8)).decode()
    parts = [{"type": "text", "text": "Describe the clip."}, {"type": "video_url", "video_url": {"url": data}}]
    for start_s, facts in ((0, {}), (50, {"times": [50.0]})):
        text = text_of(said(url, parts, lvqa=told("caption", **facts)))
        assert text.startswith(f"From {start_s}.25 s to {start_s + 1}.75 s")
        assert len(looks(STATED, text)) == 2


def test_a_question_and_its_rewriting(url: str) -> None:
    clips = [[flat(0, 0, 120)] * 2, [flat(220, 120, 40)] * 2, [flat(60, 140, 60)] * 2, [flat(40, 220, 235)] * 2]
    captions = [text_of(said(url, image_parts(clip), lvqa=told("caption", times=[1, 2]))) for clip in clips]
    merged = "\n".join(merged_line(10 * i, 10 * i + 10, caption) for i, caption in enumerate(captions))
    asked = told("ask", captions=merged, count=1, earlier=[])
    question = parse_question(text_of(said(url, "Ask.", lvqa=asked)))
    assert len(set(question.options.values())) == 4
    facts = told("reformat", reason=reason_text(question), answer=question.answer)
    text = text_of(said(url, "Write prose.", lvqa=facts))
    assert text.endswith(f"Therefore, the correct answer is {question.answer}.")
    held_to = {"type": "json_schema", "json_schema": {"name": "question", "schema": {}}}
    as_json = parse_json_question(text_of(said(url, "Ask.", lvqa=asked, response_format=held_to)))
    assert replace(as_json, steps=()) == replace(question, steps=())


def test_two_films_differ(url: str) -> None:
    one = text_of(said(url, image_parts(FRAMES)))
    assert one != text_of(said(url, image_parts(FRAMES[::-1])))
    assert one == text_of(said(url, image_parts(FRAMES)))


def test_an_unknown_stage_and_a_missing_fact_are_errors(url: str) -> None:
    body = {"model": DEMO_MODEL, "messages": [{"role": "user", "content": "Hello?"}]}
    status, reply = post(url, body | {"lvqa": told("translate")})
    assert (status, reply["error"]["code"]) == (400, "unknown_stage")
    assert "no reply for the stage 'translate', only for caption, " in reply["error"]["message"]
    status, reply = post(url, body | {"lvqa": told("ask", count=1)})
    assert (status, reply["error"]["code"]) == (400, "missing_fact")
    assert reply["error"]["message"] == "The stage came without the fact 'captions'."


def test_the_token_limit_cuts_and_says_so(url: str) -> None:
    reply = said(url, "Hello?", max_tokens=5)
    assert len(text_of(reply)) == 20
    assert reply["choices"][0]["finish_reason"] == "length"
    assert reply["usage"]["completion_tokens"] == 5


GOOD = [{"role": "user", "content": "Hello?"}]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "other", "messages": GOOD}, 404, "model_not_found"),
        ({"messages": GOOD}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": GOOD, "stream": True}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": GOOD, "n": 2}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": GOOD, "max_tokens": "many"}, 400, "invalid_request"),
        ({"model": DEMO_MODEL}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": []}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": "Hello?"}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": ["Hello?"]}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": [{"role": ["user"], "content": "x"}]}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": [{"role": "user", "content": 7}]}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": [{"role": "user", "content": [7]}]}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": [{"role": "user", "content": [{"type": "sound"}]}]}, 400, "invalid_request"),
        ({"model": DEMO_MODEL, "messages": GOOD, "lvqa": "ask"}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
        (None, 400, "invalid_request"),
    ],
)
def test_bad_bodies(url: str, body: object, status: int, code: str) -> None:
    got, reply = post(url, body)
    assert (got, reply["error"]["code"]) == (status, code)
    assert "Traceback" not in json.dumps(reply)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        ("http://192.0.2.1/cat.jpg", "invalid_image_url"),
        ("data:image/jpeg;base64,@@@", "invalid_image"),
        ("data:image/jpeg;base64,AAAA", "invalid_image"),
        ("data:image/jpeg;base64,", "invalid_image"),
        ("data:video/mp4;base64,AAAA", "invalid_image"),
        ("data:video/mp4;base64,", "invalid_image"),
    ],
)
def test_bad_pictures(url: str, image: str, code: str) -> None:
    content = [{"type": "image_url", "image_url": {"url": image}}]
    status, reply = post(url, {"model": DEMO_MODEL, "messages": [{"role": "user", "content": content}]})
    assert (status, reply["error"]["code"]) == (400, code)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json(url: str, data: bytes) -> None:
    status, reply = request(f"{url}/chat/completions", data, "POST")
    assert (status, reply["error"]["code"]) == (400, "invalid_json")


def test_wrong_paths_and_methods_answer_in_json(url: str) -> None:
    assert request(f"{url}/embeddings", b"{}", "POST")[1]["error"]["code"] == "not_found"
    assert request(f"{url}/chat/completions")[0] == 405


def test_it_stays_responsive_under_load(url: str) -> None:
    parts = image_parts([texture(i)[:HEIGHT, :WIDTH] for i in range(8)])
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(said, url, parts) for _ in range(16)]
        assert request(f"{url}/models")[0] == 200
        assert not all(reply.done() for reply in waiting), "it was answered before they were"
        assert len({text_of(reply.result()) for reply in waiting}) == 1


def test_only_this_machine() -> None:
    with pytest.raises(ConfigError, match="this machine only"):
        asyncio.run(serve("0.0.0.0"))  # noqa: S104 - which is refused


def test_a_taken_port_is_one_sentence(url: str) -> None:
    port = urllib.parse.urlsplit(url).port
    with pytest.raises(ConfigError, match=f"port {port}"), DemoEndpoint(port or 0):
        pass


def test_it_ends_with_the_block_and_with_its_parent() -> None:
    with DemoEndpoint() as endpoint:
        assert request(f"{endpoint.url}/models")[0] == 200
    with pytest.raises(urllib.error.URLError):
        request(f"{endpoint.url}/models")
    code = (
        "import os, signal, sys\nfrom lvqa_ray.demo.endpoint import DemoEndpoint\n"
        "print(DemoEndpoint().__enter__().url, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    url = parent.stdout.strip()
    assert url.startswith("http://127.0.0.1:")
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            request(f"{url}/models")
        except (urllib.error.URLError, ConnectionError):
            return
        time.sleep(0.05)
    pytest.fail("the endpoint outlived its parent")


def test_the_room_does_not_load_ray() -> None:
    code = "import sys, lvqa_ray.demo.endpoint; sys.exit('ray' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
