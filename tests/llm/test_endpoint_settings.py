"""Endpoint settings: bad values are one sentence without secrets, and the key comes from the environment."""

from __future__ import annotations

import json
import pickle

import pytest
from pydantic import ValidationError

from lvqa_ray import errors
from lvqa_ray.llm.endpoint import Endpoint

SECRET = "sk-test-PLANTED-0123456789"  # noqa: S105 - planted, to look for it

BAD_ENDPOINTS: list[dict[str, object]] = [
    {"base_url": f"https://user:{SECRET}@host/v1"},
    {"base_url": f"https://host/v1?key={SECRET}"},
    {"base_url": f"{SECRET}"},
    {"base_url": "ftp://host/v1"},
    {"base_url": "https://host:port/v1"},
    {"base_url": "https://host/v1/chat/completions"},
    {"api_key_env": SECRET},
    {"api_key": SECRET},
    {"extra_body": {"messages": []}},
]


@pytest.mark.parametrize("fields", BAD_ENDPOINTS, ids=str)
def test_a_bad_endpoint_is_one_sentence_without_secrets(fields: dict[str, object]) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        Endpoint.model_validate({"base_url": "https://host/v1", "model": "m", **fields})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("fields", [{"max_worker": 3}, {"extra_body": {"top_p": float("nan")}}, {"timeout_s": 0}])
def test_wrong_fields_are_named(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Endpoint.model_validate({"base_url": "https://host/v1", "model": "m", **fields})


def test_every_field_is_documented() -> None:
    assert all(field.description for field in Endpoint.model_fields.values())
    json.dumps(Endpoint.model_json_schema())


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    remote = Endpoint(base_url="https://host/v1/", model="m", api_key_env="SOME_KEY")
    local = Endpoint(base_url="http://localhost:8000/v1", model="m", api_key_env="SOME_KEY")
    assert remote.base_url == "https://host/v1"
    with pytest.raises(errors.ConfigError, match="SOME_KEY"):
        remote.api_key()
    assert local.api_key().get_secret_value() == ""
    monkeypatch.setenv("SOME_KEY", f"{SECRET}\n")
    assert remote.api_key().get_secret_value() == local.api_key().get_secret_value() == SECRET
    assert SECRET not in repr(remote) + str(remote) + repr(remote.api_key()) + repr(pickle.dumps(remote))
    assert Endpoint(base_url="https://host/v1", model="m", api_key_env="").api_key().get_secret_value() == ""
