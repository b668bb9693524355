"""The whole client path of a stage: cleaning, journal, retries, limits, then the wire. Knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat
from lvqa_ray.llm.middleware.budget import BudgetClient, BudgetMiddleware
from lvqa_ray.llm.middleware.cache import CacheMiddleware, RecordPaidReplies, ReplyStore
from lvqa_ray.llm.middleware.rate_limit import RateLimitMiddleware, Replica
from lvqa_ray.llm.middleware.retry import RetryMiddleware
from lvqa_ray.llm.middleware.truncation import RetryTruncated
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.replies.cleaning import Cleaning


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """A way to one endpoint.

    Attributes:
        endpoint: Who is asked.
        wire: Sends a request once.
        permits: Where its leases come from.
        budget: What the requests are paid from, where that is bounded.
    """

    endpoint: Endpoint
    wire: Chat
    permits: LeasePool
    budget: BudgetClient | None = None


def build_client(ways: Sequence[EndpointRoute], answers: ReplyStore, *, ask_again: bool = False) -> Chat:
    """What a stage asks by.

    Args:
        ways: The endpoints, which answer alike; the first names the answers of all of them.
        answers: The journal of the stage.
        ask_again: Ask anew for what the journal holds as a failure.
    """
    first = ways[0].endpoint
    key_of = partial(cache_key, first)
    on_wire: set[str] = set()

    def replica(way: EndpointRoute) -> Replica:
        wire: Chat = RecordPaidReplies(way.wire, answers, key_of, way.endpoint.model, on_wire)
        return Replica(wire if way.budget is None else BudgetMiddleware(wire, way.budget, way.endpoint), way.permits)

    limited = RateLimitMiddleware(*map(replica, ways))
    retrying = RetryMiddleware(limited, first.max_attempts)
    cached = CacheMiddleware(retrying, answers, key_of, ask_again=ask_again, on_wire=on_wire, on_hit=limited.prove)
    return Cleaning(RetryTruncated(cached, first))
