"""A model that the run serves: its settings, what it refuses, and what a job file keeps of it."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from lvqa_ray.config import Job
from lvqa_ray.corpus.video_table import Videos
from lvqa_ray.engine.executors import chosen
from lvqa_ray.engine.preflight.model_costs import ModelCost
from lvqa_ray.engine.preflight.validation import check_prices
from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.endpoint import DEMO_MODEL
from lvqa_ray.llm.engines.served_endpoint import REFUSED, ServedEndpoint
from lvqa_ray.llm.pricing import cost_usd, price_source
from lvqa_ray.llm.ratelimit.limits import shared
from lvqa_ray.records import Usage

COMMAND: dict[str, Any] = {"engine": "command", "model": "m", "command": ["serve", "--port", "{port}"]}
VLLM: dict[str, Any] = {"engine": "vllm", "model": "Qwen/Qwen2.5-VL-7B-Instruct"}
URL: dict[str, Any] = {"base_url": "http://127.0.0.1:1/v1", "model": "m"}


def job(vlm: Any = None, llm: Any = None, **more: Any) -> Job:
    endpoints = {"vlm": vlm or COMMAND, "llm": llm or URL}
    return Job.of({"videos": "v.mp4", "output": "out", "endpoints": endpoints, **more})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (COMMAND | {"base_url": "http://h/v1"}, "remove base_url"),
        (COMMAND | {"api_key_env": "KEY"}, "needs no key"),
        (COMMAND | {"price_in": 1}, "set price_gpu_hour"),
        (COMMAND | {"requests_per_minute": 9}, "set slots"),
        (COMMAND | {"max_concurrency": 9}, "set slots"),
        (COMMAND | {"tier": "batch"}, "remove tier"),
        (COMMAND | {"command": []}, "give the command"),
        (COMMAND | {"command": ["serve"]}, "{port}"),
        (COMMAND | {"command": ["serve", "{port}", "--api-key", "x"]}, "looks like a key"),
        (COMMAND | {"engine_args": {"a": 1}}, "put them into command"),
        (COMMAND | {"gpus": 1.5}, "whole number"),
        (COMMAND | {"replicas": 0}, "at least 1"),
        (COMMAND | {"replicas": "many"}, "endpoints.vlm.replicas"),
        (COMMAND | {"engine": "ollama"}, "'vllm', 'sglang', 'llama_cpp' or 'command'"),
        (VLLM | {"command": ["x", "{port}"]}, "only engine command"),
        (VLLM | {"engine_args": {"hf_token": "x"}}, "HF_TOKEN"),
        ([COMMAND, URL], "set its replicas instead"),
    ],
    ids=str,
)
def test_a_wrong_section_is_one_sentence(given: Any, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        job(given)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_refused_setting_is_none_of_the_schema() -> None:
    properties = Job.model_json_schema()["$defs"]["ServedEndpoint"]["properties"]
    assert not set(REFUSED) & set(properties)
    assert all(field["description"] for field in properties.values())


def test_the_job_file_of_an_output_can_be_run_again() -> None:
    given = job(llm=VLLM | {"replicas": 2, "slots": 3})
    again = Job.of(given.model_dump(mode="json"))
    assert again == given
    assert again.job_hash == given.job_hash
    assert again.endpoints.of("llm").max_concurrency == 6


def test_roles_with_equal_servers_share_one() -> None:
    same = job(COMMAND | {"temperature": 0.1}, COMMAND)
    apart = job(COMMAND, COMMAND | {"replicas": 2})
    assert len(same.endpoints.served) == 1
    assert len(apart.endpoints.served) == 2
    assert len(shared((apart.endpoints.of(role), apart.endpoints.of(role).api_key()) for role in ("vlm", "llm"))) == 2


def test_requests_go_to_the_address_and_keys_stay() -> None:
    at = ServedEndpoint.model_validate(VLLM | {"engine_args": {"max_num_seqs": 12}})
    with pytest.raises(ConfigError, match="is not running"):
        _ = at.tier_url
    running = pickle.loads(pickle.dumps(at.with_address("http://10.0.0.1:1/m/v1", replicas=3)))  # noqa: S301 - our own
    assert running.tier_url == "http://10.0.0.1:1/m/v1"
    assert running.max_concurrency == 36
    assert running.base_url == at.base_url == "http://vllm.served.invalid/v1"
    assert running.label == f"{VLLM['model']} on vllm"
    assert "10.0.0.1" not in json.dumps(running.model_dump(mode="json"))


@pytest.mark.parametrize("model", ["gpt-4o", "qwen-vl-max", "claude-3-5-sonnet-latest"])
def test_a_served_model_has_no_price_per_token(model: str) -> None:
    at = ServedEndpoint.model_validate(VLLM | {"model": model})
    assert cost_usd(at, Usage(input_tokens=1000, output_tokens=1000)) is None
    assert price_source(at) == "unknown"
    priced = ServedEndpoint.model_validate(VLLM | {"model": model, "price_gpu_hour": 2.5})
    assert cost_usd(priced, Usage(input_tokens=1000, output_tokens=1000)) == 0.0
    assert price_source(priced) == "GPU hours instead of tokens"


def test_a_model_without_a_gpu_costs_nothing() -> None:
    at = ServedEndpoint.model_validate(COMMAND)
    assert (at.gpus, at.price_gpu_hour) == (0.0, None)
    assert cost_usd(at, Usage(input_tokens=1000, output_tokens=1000)) == 0.0
    assert ModelCost(at.label, 0.0, None, 0.0).cost_usd == 0.0
    check_prices(job(COMMAND, URL | {"price_in": 1, "price_out": 1}, engine={"max_cost": 1}))


def test_a_cost_limit_needs_an_endpoint_with_a_price() -> None:
    priced = URL | {"price_in": 1, "price_out": 1}
    check_prices(job(COMMAND | {"price_gpu_hour": 2.5}, priced, engine={"max_cost": 1}))
    with pytest.raises(ConfigError, match=r"endpoints\.vlm\.price_gpu_hour"):
        check_prices(job(COMMAND | {"gpus": 1}, priced, engine={"max_cost": 1}))


def test_a_served_model_needs_ray() -> None:
    assert chosen(job(), Videos.of([])) == "ray"
    with pytest.raises(ConfigError, match=r"engine\.executor"):
        job(engine={"executor": "local"})


def test_only_the_demo_model_gets_facts() -> None:
    assert ServedEndpoint.model_validate(COMMAND | {"model": DEMO_MODEL}).is_demo
    assert not ServedEndpoint.model_validate(COMMAND).is_demo


def test_a_local_model_is_its_absolute_path_for_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs in two folders do not share the servers of their ./model, and cache keys keep the name as written."""
    found = []
    for name in ("one", "two"):
        (tmp_path / name / "model").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        found.append(ServedEndpoint.model_validate(COMMAND | {"model": "./model"}))
    monkeypatch.chdir(tmp_path)
    one, two = found
    assert (one.model_path, two.model_path) == (str(tmp_path / "one" / "model"), str(tmp_path / "two" / "model"))
    assert one.digest != two.digest
    assert pickle.loads(pickle.dumps(one)).digest == one.digest  # noqa: S301 - our own
    assert (one.model, one.answering) == ("./model", two.answering)
    assert ServedEndpoint.model_validate(VLLM).model_path == VLLM["model"]
    assert ServedEndpoint.model_validate(VLLM | {"model": "x" * 5000}).model_path == "x" * 5000


def test_a_model_that_is_served_once_has_one_price() -> None:
    with pytest.raises(ConfigError, match="give it the same price_gpu_hour in each"):
        job(COMMAND | {"price_gpu_hour": 1}, COMMAND | {"price_gpu_hour": 2})
    job(COMMAND | {"price_gpu_hour": 1}, COMMAND | {"price_gpu_hour": 1, "temperature": 0.5})
