"""Prometheus metrics of a run, exported by each node at the port of Ray's own metrics.

Their names begin with ``ray_lvqa_`` there. The lengths of the queues between steps are among Ray Data's own metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ray.util.metrics import Counter, Gauge

from lvqa_ray.errors import ApiError
from lvqa_ray.llm.messages import Chat, ChatReply, ChatRequest
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.records import Usage


class CountCalls:
    """Middleware that counts the requests of a stage: each attempt, by outcome.

    Args:
        inner: The transport.
        stage: Name of the stage.
    """

    def __init__(self, inner: Chat, stage: str) -> None:
        self._inner = inner
        self._stage = stage

    async def __call__(self, request: ChatRequest) -> ChatReply:
        """Send a request; raises what the transport raises."""
        try:
            reply = await self._inner(request)
        except ApiError as error:
            self._count(error.kind, Usage.of(error))
            raise
        self._count("answered", reply.usage)
        return reply

    def _count(self, outcome: str, usage: Usage) -> None:
        stage = {"stage": self._stage}
        _counter("lvqa_calls", "Requests sent.", "stage", "outcome").inc(1, stage | {"outcome": outcome})
        tokens = _counter("lvqa_tokens", "Tokens that endpoints counted.", "stage", "direction")
        for direction, count in (("in", usage.input_tokens), ("out", usage.output_tokens)):
            if count:
                tokens.inc(count, stage | {"direction": direction})
        if usage.cached_tokens:
            about = "Prompt tokens from the prompt caches of endpoints, part of lvqa_tokens."
            _counter("lvqa_cached_tokens", about, "stage").inc(usage.cached_tokens, stage)
        if usage.cost_usd:
            _counter("lvqa_cost_usd", "US dollars, where prices are known.", "stage").inc(usage.cost_usd, stage)


def count_rows(table: str, outcomes: Mapping[str, int]) -> None:
    """Count written rows: videos by record or kind of failure, clips with and without a caption, questions.

    Args:
        table: ``videos``, ``clips`` or ``questions``.
        outcomes: Number of rows by outcome.
    """
    for outcome, count in outcomes.items():
        if count:
            _counter(f"lvqa_{table}", f"The {table} that were written.", "outcome").inc(count, {"outcome": outcome})


def show(stats: Mapping[str, EndpointStats]) -> None:
    """Set the gauges of each endpoint."""
    for endpoint, line in stats.items():
        for name, about, value in (
            ("lvqa_requests_in_flight", "Requests under way.", line.in_flight),
            ("lvqa_requests_limit", "Requests that may be under way now.", line.most_in_flight),
            ("lvqa_endpoint_down_seconds", "For how long the endpoint has been down.", line.down_s),
        ):
            _gauge(name, about).set(value, {"endpoint": endpoint})


@cache
def _counter(name: str, about: str, *tags: str) -> Counter:
    return Counter(name, about, tags)


@cache
def _gauge(name: str, about: str) -> Gauge:
    return Gauge(name, about, ("endpoint",))
