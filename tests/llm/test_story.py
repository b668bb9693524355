"""The docstring of the package tells what happens after a failure in numbers: those of the code, and no others."""

from __future__ import annotations

import re

import lvqa_ray.llm
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.middleware.retry import LONGEST_RETRY_AFTER_S, SPARED_AT_MOST
from lvqa_ray.llm.middleware.truncation import LARGER
from lvqa_ray.llm.ratelimit import circuit_breaker as breaker
from lvqa_ray.llm.ratelimit.adaptive_concurrency import MEMORY, TOLERATED
from lvqa_ray.llm.ratelimit.limits import LONGEST_HOLD_S
from lvqa_ray.llm.transport.chat_completions import ENDPOINT_CONNECT_S
from tests.blocks import ROOT

STATUSES = {"429", "503", "529", "5", "401", "404"}
PLACES = {"1", "2", "3", "4"}
"""Numbers of the list, and of the effects that are referred to."""


def default(name: str) -> str:
    return f"{Endpoint.model_fields[name].default:g}"


def test_every_number_in_the_story_is_a_constant() -> None:
    story = " ".join((lvqa_ray.llm.__doc__ or "").split())
    pauses = [breaker.FIRST_PAUSE_S * 2**doubled for doubled in range(3)]
    told = [
        f"within ``timeout_s`` ({default('timeout_s')} s), or no connection within {ENDPOINT_CONNECT_S:g} s",
        f"up to {default('backoff_base_s')} s (``backoff_base_s``)",
        f"up to {default('backoff_cap_s')} s (``backoff_cap_s``)",
        f"{default('max_attempts')} times at most (``max_attempts``)",
        f"A Retry-After of more than {LONGEST_RETRY_AFTER_S:g} s ends it at once",
        f"headers say, {LONGEST_HOLD_S:g} s at most",
        f"more than {TOLERATED:.0%} of about the last {MEMORY} requests".replace("%", " %"),
        f"opens after {breaker.OPEN_AFTER} failures in a row",
        f"after {', '.join(f'{pause:g}' for pause in pauses)} and at most {breaker.LONGEST_PAUSE_S:g} s",
        f"up to {SPARED_AT_MOST} such attempts do not count",
        f"if ``max_attempts`` is below {breaker.OPEN_AFTER + 1}",
        f"After {default('max_outage_s')} s (``max_outage_s``)",
        f"with {LARGER} times the tokens",
        "rises again by 1 for each round",
    ]
    assert [sentence for sentence in told if sentence not in story] == []
    known = {number for sentence in told for number in re.findall(r"\d+(?:\.\d+)?", sentence)}
    assert set(re.findall(r"\d+(?:\.\d+)?", story)) <= known | STATUSES | PLACES


def test_the_page_about_endpoints_says_the_same() -> None:
    page = " ".join((ROOT / "docs" / "endpoints.md").read_text(encoding="utf-8").split())
    told = [
        f"`backoff_base_s` ({default('backoff_base_s')} s)",
        f"`backoff_cap_s` ({default('backoff_cap_s')} s)",
        f"`max_attempts` ({default('max_attempts')})",
        f"`Retry-After` of more than {LONGEST_RETRY_AFTER_S:g} s ends it",
        f"After {breaker.OPEN_AFTER} failures in a row",
    ]
    assert [sentence for sentence in told if sentence not in page] == []
