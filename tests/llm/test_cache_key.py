"""The name of an answer says all that can change it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import ChatRequest, Message, Text
from tests.journal.paid import ENDPOINT, FRAME, REQUEST


def other(endpoint: Endpoint = ENDPOINT, request: ChatRequest = REQUEST, **fields: Any) -> str:
    return cache_key(Endpoint.model_validate({**endpoint.model_dump(), **fields}), request)


# The key is a promise to everyone who has paid for answers: when one of these changes, all their journals are lost.
GOLDEN = {
    "plain": "61b8cd30f85969bddbaf3adc7ca57b347c4b204715f49aa075399bb5ae38b361",
    "second attempt": "6ec6a80c1b012a38593af9269119ca89cdd21d5f56bdce87e4795d39b1749824",
    "extra body": "37ce28540c20a0ad4dd590aaf643c7f63dc66e93c7fe59e7017bce3731398a3b",
}


def test_golden_keys() -> None:
    assert {
        "plain": cache_key(ENDPOINT, REQUEST),
        "second attempt": cache_key(ENDPOINT, replace(REQUEST, attempt=1, max_tokens=9)),
        "extra body": other(extra_body={"b": [1, 2.5, None], "a": {"z": "é"}}),
    } == GOLDEN


@pytest.mark.parametrize(
    "fields",
    [
        {"max_concurrency": 1},
        {"timeout_s": 1},
        {"max_attempts": 1},
        {"requests_per_minute": 1},
        {"tokens_per_minute": 1},
        {"api_key_env": "ANOTHER"},
        {"price_in": 1, "price_out": 1},
        {"base_url": "https://API.openai.com/v1/"},
    ],
    ids=str,
)
def test_what_is_a_hit(fields: dict[str, Any]) -> None:
    assert other(**fields) == cache_key(ENDPOINT, REQUEST)


def test_the_stage_the_facts_and_the_bytes_do_not_count() -> None:
    parts = (replace(FRAME, data=b""), Text(text="Was ist das? äöü"))
    same = replace(
        REQUEST, stage="x", facts={"captions": "x"}, messages=(REQUEST.messages[0], Message(role="user", parts=parts))
    )
    assert cache_key(ENDPOINT, same) == cache_key(ENDPOINT, REQUEST)
    assert cache_key(ENDPOINT, replace(REQUEST, temperature=0.2)) == cache_key(ENDPOINT, REQUEST)


MISSES: dict[str, Callable[[], str]] = {
    "url": lambda: other(base_url="https://api.openai.com/v2"),
    "model": lambda: other(model="gpt-4o"),
    "temperature": lambda: other(temperature=0.3),
    "no temperature": lambda: other(temperature=None),
    "max_tokens": lambda: other(max_tokens=5),
    "extra_body": lambda: other(extra_body={"top_p": 0.8}),
    "version": lambda: cache_key(ENDPOINT, replace(REQUEST, version="2")),
    "attempt": lambda: cache_key(ENDPOINT, replace(REQUEST, attempt=1)),
    "request temperature": lambda: cache_key(ENDPOINT, replace(REQUEST, temperature=0.0)),
    "prompt": lambda: cache_key(ENDPOINT, replace(REQUEST, messages=(Message.of("user", "y"),))),
    "role": lambda: cache_key(ENDPOINT, replace(REQUEST, messages=(Message.of("system", "y"),))),
    "identity": lambda: cache_key(
        ENDPOINT, replace(REQUEST, messages=(Message(role="user", parts=(replace(FRAME, identity="fp2"),)),))
    ),
    "mime": lambda: cache_key(
        ENDPOINT, replace(REQUEST, messages=(Message(role="user", parts=(replace(FRAME, mime="video/mp4"),)),))
    ),
    "text like an identity": lambda: cache_key(
        ENDPOINT, replace(REQUEST, messages=(Message(role="user", parts=(Text(text=FRAME.identity),)),))
    ),
}


def test_what_is_a_miss() -> None:
    keys = [cache_key(ENDPOINT, REQUEST), *(make() for make in MISSES.values())]
    assert len(set(keys)) == len(keys)


@given(st.text(), st.text(), st.sampled_from(["m", "gpt"]))
def test_any_text_has_a_key_and_comes_back(text: str, identity: str, model: str) -> None:
    message = Message(role="user", parts=(Text(text=text + "\udc00"), replace(FRAME, identity=identity)))
    assert len(other(request=replace(REQUEST, messages=(message,)), model=model)) == 64
