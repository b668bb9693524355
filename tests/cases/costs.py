"""Costs of replies: cached prompt tokens billed twice or not at all, prices by the length of a prompt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.transport.chat_completions import OpenAITransport
from lvqa_ray.records import Usage
from tests.cases import Row, case

LOCAL = "http://127.0.0.1:1/v1"
SINGAPORE = "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"


def used(usage: Mapping[str, Any] | None, model: str = "m", url: str = LOCAL, **prices: float) -> Usage:
    """Usage of a reply with this usage object."""
    transport = OpenAITransport(Endpoint(base_url=url, model=model, **prices), SecretStr(""))  # type: ignore[arg-type]
    choice = {"message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}
    return transport._reply({"choices": [choice], "usage": usage}).usage


def dollars(*given: Any, **prices: Any) -> str:
    cost = used(*given, **prices).cost_usd
    return "unknown" if cost is None else f"${cost:.6f}"


@case("76", "cached tokens are billed once, at their price")
def billed_once(_: Path) -> Iterable[Row]:
    gemini = {
        "prompt_tokens": 20212, "completion_tokens": 931, "total_tokens": 21143,
        "prompt_tokens_details": {"cached_tokens": 16298},
    }  # fmt: skip
    prices = {"price_in": 0.5, "price_out": 3.0, "price_cached": 0.05}
    yield "input rate on all tokens (pi #2148)", "$0.005565", dollars(gemini, **prices)
    fireworks = {"prompt_tokens": 44341, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 41518}}
    prices = {"price_in": 1.4, "price_out": 1.0, "price_cached": 0.26}
    yield "configured cache price ignored (litellm #26016)", "$0.014747", dollars(fireworks, **prices)
    claude = {
        "prompt_tokens": 17111, "completion_tokens": 0, "total_tokens": 17111,
        "cache_read_input_tokens": 17102, "cache_creation_input_tokens": 0,
    }  # fmt: skip
    prices = {"price_in": 1.0, "price_out": 5.0, "price_cached": 0.1}
    yield "counts of the cache are part of the prompt (aider #5516)", "$0.001719", dollars(claude, **prices)
    beside = {"input_tokens": 7, "output_tokens": 0, "cache_read_input_tokens": 20646}
    yield "counts of the cache are beside it (browser-use #4294)", "$0.002072", dollars(beside, **prices)
    yield "  and so are the prompt tokens", 20653, used(beside).input_tokens
    deepseek = {
        "prompt_tokens": 100, "completion_tokens": 50, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36,
        "completion_tokens_details": {"reasoning_tokens": 30},
    }  # fmt: skip
    counts = used(deepseek)
    yield "DeepSeek's fields dropped (prism #1021)", (64, 30), (counts.cached_tokens, counts.reasoning_tokens)


@case("76", "what is not reported is not zero")
def not_reported(_: Path) -> Iterable[Row]:
    null = {"prompt_tokens": 25, "completion_tokens": 4, "total_tokens": 29, "prompt_tokens_details": None}
    yield "prompt_tokens_details: null (vllm #44961)", None, used(null).cached_tokens
    yield "  at full price", "$0.000029", dollars(null, price_in=1.0, price_out=1.0, price_cached=0.1)
    yield "no usage at all", "unknown", dollars(None, price_in=1.0, price_out=1.0)
    yield "no price of the model (litellm #22848)", "unknown", dollars(null, "qwen9-max", SINGAPORE)


@case("76", "prices of DashScope")
def dashscope(_: Path) -> Iterable[Row]:
    long = {"prompt_tokens": 300_000, "completion_tokens": 2_000}
    yield (
        "all tokens at the price of the prompt's length (litellm #34729)",
        "$0.079000",
        dollars(long, "qwen-flash", SINGAPORE),
    )
    hit = {"prompt_tokens": 3000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 2048}}
    yield "implicit hits cost 20 %, not 10 % (litellm #40090)", "$0.000545", dollars(hit, "qwen-plus", SINGAPORE)
    thought = {
        "prompt_tokens": 0, "completion_tokens": 1000, "completion_tokens_details": {"reasoning_tokens": 900}
    }  # fmt: skip
    yield "a reply that reasoned", "$0.004000", dollars(thought, "qwen-plus", SINGAPORE)
