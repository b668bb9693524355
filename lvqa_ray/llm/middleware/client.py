"""The client stack of a stage: cleaning, cache, leader-first, retry, rate limit, budget, transport. Imports no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from lvqa_ray.llm.batches.batched_chat import BatchedChat, BatchRoute
from lvqa_ray.llm.cache_key import cache_key
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.messages import Chat
from lvqa_ray.llm.middleware.budget import BudgetClient, BudgetMiddleware
from lvqa_ray.llm.middleware.cache import CacheMiddleware, RecordPaidReplies, ReplyStore
from lvqa_ray.llm.middleware.leader import LeaderFirst, WarmPrefixes, goes_first
from lvqa_ray.llm.middleware.rate_limit import RateLimitMiddleware, Replica
from lvqa_ray.llm.middleware.retry import RetryMiddleware
from lvqa_ray.llm.middleware.truncation import RetryTruncated
from lvqa_ray.llm.ratelimit.lease_pool import LeasePool
from lvqa_ray.llm.replies.cleaning import Cleaning


@dataclass(frozen=True, slots=True)
class EndpointRoute:
    """Route to one endpoint.

    Attributes:
        endpoint: The endpoint.
        wire: The transport, which sends a request once.
        permits: Pool of rate-limit leases.
        budget: Budget of the run, if it has one.
        batches: How its requests get into file batches, on the tier ``batch``.
    """

    endpoint: Endpoint
    wire: Chat
    permits: LeasePool
    budget: BudgetClient | None = None
    batches: BatchRoute | None = None


def build_client(
    routes: Sequence[EndpointRoute],
    answers: ReplyStore,
    *,
    ask_again: bool = False,
    prefixes: WarmPrefixes | None = None,
) -> Chat:
    """Build the client of a stage.

    Args:
        routes: Equivalent endpoints; the first one determines the cache keys and the retry settings.
        answers: The reply cache of the stage.
        ask_again: Send requests again whose cached result is a failure.
        prefixes: The prompt prefixes that endpoints have cached, shared by the clients of a process.
    """
    first = routes[0].endpoint
    key_of = partial(cache_key, first)
    on_wire: set[str] = set()

    def replica(route: EndpointRoute) -> Replica:
        wire: Chat = RecordPaidReplies(route.wire, answers, key_of, route.endpoint.model, on_wire)
        if route.budget is not None:
            wire = BudgetMiddleware(wire, route.budget, route.endpoint)
        at = route.endpoint
        return Replica(wire, route.permits, f"{at.base_url} {at.api_key_env}", at.max_concurrency)

    limited = RateLimitMiddleware(*map(replica, routes))
    minutes = first.fallback_after_min
    retrying = RetryMiddleware(
        limited,
        first.max_attempts,
        base_s=first.backoff_base_s,
        cap_s=first.backoff_cap_s,
        fallback_s=None if minutes is None else 60 * minutes,
    )
    sending: Chat = LeaderFirst(retrying, first, prefixes or WarmPrefixes()) if goes_first(first) else retrying
    if (batches := routes[0].batches) is not None:
        sending = BatchedChat(batches, sending, answers, key_of, routes[0].budget)
    cached = CacheMiddleware(sending, answers, key_of, ask_again=ask_again, on_wire=on_wire, on_hit=limited.prove)
    return Cleaning(RetryTruncated(cached, first))
