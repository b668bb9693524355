"""Whether an endpoint knows its key and its model, over real HTTP; `tests/cases/endpoints.py` has more servers."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from pydantic import SecretStr

from lvqa_ray.config import Job
from lvqa_ray.engine.preflight.readiness import readiness
from lvqa_ray.engine.preflight.trials import smallest, stages_of, trials
from lvqa_ray.engine.preflight.validation import check_endpoints
from lvqa_ray.errors import ConfigError, NotFound
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.transport.base_urls import alternatives
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.llm.transport.model_list import ModelList
from tests.cases.endpoints import UNKNOWN, job_of, of_names, seen_before_a_run, server
from tests.fakes.dialects import Ask, Dialect, Reply, answered, error


def test_one_request_for_each_model_and_none_where_the_list_has_it(tmp_path: Path) -> None:
    with server(of_names("listed"), {"*": answered()}) as there:
        at = {"base_url": f"{there.url}/v1", "api_key_env": None}
        job = Job.of(
            {
                "videos": ["a.mp4"],
                "output": str(tmp_path),
                "endpoints": {
                    "vlm": {**at, "model": "listed"},
                    "llm": {**at, "model": "alias", "max_tokens": 500, "extra_body": {"top_p": 0.5}},
                    "checker": {**at, "model": "alias"},
                },
            }
        )
        check_endpoints(job)
        (request,) = there.posts
        assert request.body["model"] == "alias"
        assert (request.body["max_tokens"], request.body["top_p"]) == (500, 0.5), "as a run sends it"
        check_endpoints(job, ask=False)
        assert len(there.posts) == 1


def test_a_warning_names_what_was_probably_meant(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = ("a", "b", "qwen/qwen2.5-vl-72b-instruct", "c", "d", "e", "f")
    with server(of_names(*names), {"*": answered()}) as there, caplog.at_level(logging.WARNING):
        check_endpoints(job_of(f"{there.url}/v1", "qwen/qwen2.5-vl-72b-instruct:free", tmp_path))
        assert "it offers qwen/qwen2.5-vl-72b-instruct, ...; the run goes on" in caplog.text


def test_a_key_is_not_sent_to_another_host_or_in_the_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sk-planted-0123456789")
    with server(of_names("m"), {"*": answered()}) as there:
        job = job_of(f"https://127.0.0.1:{there.port}/v1", "m", tmp_path, endpoint={"api_key_env": "A_KEY"})
        does, said = seen_before_a_run(job)
        assert (does, f"http://127.0.0.1:{there.port}/v1 answers" in said) == ("exit 2", True)
        assert [ask for ask in there.asked if "Authorization" in ask.headers] == []

        def moved(ask: Ask) -> Reply:
            return Reply(308, "", {"Location": f"{there.url}{ask.path}"})

        with Dialect(moved) as old:  # another port is another origin
            seen_before_a_run(job_of(f"{old.url}/v1", "m", tmp_path, endpoint={"api_key_env": "A_KEY"}))
        assert [ask for ask in there.asked if "planted" in str(ask.headers)] == []


def test_a_redirect_that_would_lose_the_request_stops_it_with_the_new_address() -> None:
    with Dialect(lambda ask: Reply(301, "", {"Location": f"http://new.example/api{ask.path}?next=secret"})) as there:
        transport = OpenAITransport(Endpoint(base_url=f"{there.url}/v1", model="m"), SecretStr(""))

        async def once() -> None:
            try:
                await transport.list_models()
            finally:
                await transport.aclose()

        with pytest.raises(NotFound, match=r"redirects requests to http://new\.example/api/v1: set base_url to that"):
            asyncio.run(once())


def test_no_other_address_is_proposed_where_the_list_shows_that_this_one_is_right(tmp_path: Path) -> None:
    def reply(ask: Ask) -> Reply:  # llama.cpp and LiteLLM answer with and without /v1
        return UNKNOWN if ask.method == "POST" else of_names("n")

    with Dialect(reply) as there:
        does, said = seen_before_a_run(job_of(f"{there.url}/v1", "m", tmp_path))
    assert does == "exit 2"
    assert said.endswith(f"{there.url}/v1 has no model m; it offers n.")


def test_nothing_is_paid_where_a_model_does_not_exist(tmp_path: Path) -> None:
    with (
        server(of_names("n"), {"*": UNKNOWN}) as there,
        pytest.raises(ConfigError, match="has no model m; it offers n"),
    ):
        check_endpoints(job_of(f"{there.url}/v1", "m", tmp_path))


def test_a_trial_is_built_by_the_stage_that_sends_the_real_request(tmp_path: Path) -> None:
    job = job_of(
        "http://127.0.0.1:9/v1",
        "m",
        tmp_path,
        caption={"system": "You watch videos.", "temperature": 0.3, "max_tokens": 700},
        ask={"system": "You write.", "max_tokens": 4000, "reply_format": "json_schema"},
        checks={"judge": {"policy": "drop", "temperature": 0.0}},
    )
    assert {stage.name for stage in stages_of(job, "llm")} >= {"ask", "reformat", "judge", "summarize"}
    (shown,) = (trial.request for trial in trials(job, "vlm") if trial.what.startswith("takes"))
    assert (shown.temperature, shown.max_tokens, shown.messages[0].role) == (0.3, 700, "system")
    asked = {trial.what: trial.request for trial in trials(job, "llm")}
    assert (asked["answers"].max_tokens, asked["answers"].messages[0].parts) == (4000, job.ask.asks().messages[0].parts)
    assert asked["answers as judge asks"].temperature == 0.0
    schema = asked["takes a JSON schema"].reply_schema
    assert schema is not None
    assert "options" in str(schema.schema), "the job's own"
    assert smallest(job, "checker") == asked["answers"], "which plays that role too"


def test_without_a_request_a_doubt_is_left_open() -> None:
    with server(error(403), {"*": answered()}) as there:
        endpoint = Endpoint(base_url=f"{there.url}/v1", model="m")
        found = asyncio.run(readiness(endpoint, SecretStr(""), None, sound=False))
        assert (found.sure, there.posts) == (False, [])
        assert found.warning == f"m at 127.0.0.1:{there.port}: does not show its list of models to this key (403)."


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({"data": [{"id": "a"}, {"id": "b"}]}, ("a", "b")),
        ([{"id": "a", "name": "A display name"}], ("a",)),
        (["a", "b"], ("a", "b")),
        ({"models": [{"name": "models/a"}]}, ("models/a",)),
        ({"models": [{"name": "a:latest", "model": "a:latest"}]}, ("a:latest",)),
        ({"data": [{"id": "a-2411", "aliases": ["a", "a"]}]}, ("a-2411", "a")),
        ({"object": "list", "data": []}, ()),
        ({"object": "list", "data": None}, None),
        ({"error": "Unexpected endpoint or method. (GET /models)"}, None),
        ({"data": [1, 2]}, None),
        ("OK", None),
        (None, None),
    ],
)
def test_lists_in_all_shapes(body: object, names: tuple[str, ...] | None) -> None:
    found = ModelList.of(body)
    assert (None if found is None else found.names) == names


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://h:1234", "http://h:1234/v1"),
        ("https://openrouter.ai", "https://openrouter.ai/api/v1"),
        ("https://generativelanguage.googleapis.com/v1beta", "https://generativelanguage.googleapis.com/v1beta/openai"),
        ("https://me.openai.azure.com", "https://me.openai.azure.com/openai/v1"),
        ("http://h/v1/v1", "http://h/v1"),
        ("http://h/v1/chat", "http://h/v1"),
        ("http://h:11434/api", "http://h:11434/v1"),
        ("https://h:8000/v1", "http://h:8000/v1"),
    ],
)
def test_the_address_that_was_probably_meant_is_among_the_alternatives(url: str, meant: str) -> None:
    assert meant in list(alternatives(url))
    assert url not in list(alternatives(url))
