"""Rate limits of one key at one endpoint, which endpoints share them, and the lease that the limiter grants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import SecretStr

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.ratelimit.circuit_breaker import OPEN_AFTER
from lvqa_ray.llm.ratelimit.outcome import TokenEstimate

LONGEST_HOLD_S = 300.0
"""Longest pause of all requests with a key that one reply can cause (s)."""
SharedBy = tuple[str, str, str]
"""What identifies a shared limit: base URL, key and model."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one key at one endpoint; ``None`` for no limit. Windows are any 60 s, a day is any 24 h.

    ``max_full_s`` is how long a tier may refuse every request for lack of capacity (s): not limited if requests fall
    back to the standard tier, and at least the timeout, since a request that the tier has accepted may be answered.
    """

    max_concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    max_outage_s: float = 900.0
    max_full_s: float | None = None
    open_after: int = OPEN_AFTER
    max_rejections: int | None = None

    @classmethod
    def of(cls, *endpoints: Endpoint) -> Limits:
        """The limits of endpoints that share a key: the strictest of each."""

        def least(name: str) -> int | None:
            values = [value for endpoint in endpoints if (value := getattr(endpoint, name)) is not None]
            return min(values, default=None)

        return cls(
            max_concurrency=min(endpoint.max_concurrency for endpoint in endpoints),
            requests_per_minute=least("requests_per_minute"),
            tokens_per_minute=least("tokens_per_minute"),
            input_tokens_per_minute=least("input_tokens_per_minute"),
            output_tokens_per_minute=least("output_tokens_per_minute"),
            requests_per_day=least("requests_per_day"),
            max_outage_s=min(endpoint.max_outage_s for endpoint in endpoints),
            max_full_s=_longest_full_s(endpoints),
            max_rejections=least("max_rejections"),
            # The breaker must open before a request has used up its attempts.
            open_after=max(2, min(OPEN_AFTER, min(endpoint.max_attempts for endpoint in endpoints) - 1)),
        )

    @property
    def only_places(self) -> bool:
        """Whether only concurrency is limited, so that a lease may be reused at once."""
        return (
            self.requests_per_minute is None
            and self.tokens_per_minute is None
            and self.input_tokens_per_minute is None
            and self.output_tokens_per_minute is None
            and self.requests_per_day is None
        )


def _longest_full_s(endpoints: Iterable[Endpoint]) -> float | None:
    waiting = [endpoint for endpoint in endpoints if endpoint.tier in {"flex", "batch_chat"}]
    if any(endpoint.fallback_after_min is not None for endpoint in waiting):
        return None
    return max((max(endpoint.max_outage_s, endpoint.attempt_timeout_s) for endpoint in waiting), default=None)


@dataclass(frozen=True, slots=True)
class Shared:
    """Limits shared by several endpoints.

    Attributes:
        limits: The strictest of each limit.
        day_file: Name of the file of the daily quota; it does not depend on the key.
    """

    limits: Limits
    day_file: str

    @classmethod
    def of(cls, *endpoints: Endpoint) -> Shared:
        """The shared limits of endpoints with one base URL, key and model."""
        first = endpoints[0]
        public = f"{first.base_url} {first.api_key_env} {first.model}"
        return cls(Limits.of(*endpoints), f"requests-{hashlib.sha256(public.encode()).hexdigest()[:16]}.json")


def shared_by(endpoint: Endpoint, key: SecretStr) -> SharedBy:
    """What identifies the shared limits of an endpoint."""
    return endpoint.server, key.get_secret_value(), endpoint.model


def shared(endpoints: Iterable[tuple[Endpoint, SecretStr]]) -> dict[SharedBy, Shared]:
    """Group endpoints by their shared limits; the first of a group names the file of the daily quota."""
    groups: dict[SharedBy, list[Endpoint]] = {}
    for endpoint, key in endpoints:
        groups.setdefault(shared_by(endpoint, key), []).append(endpoint)
    return {name: Shared.of(*group) for name, group in groups.items()}


class SendLease(NamedTuple):
    """Permission to send one request now and to have it in flight.

    A tuple, since it is sent between processes for each request: it pickles in a tenth of the time of a frozen class.

    Attributes:
        id: Unique id, over all limiters.
        estimate: Tokens reserved for the request.
        reuse_s: How long the lease may be reused for other requests without asking the limiter (s).
    """

    id: str
    estimate: TokenEstimate
    reuse_s: float = 0.0
