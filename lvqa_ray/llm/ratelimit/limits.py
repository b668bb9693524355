"""What is allowed by one key at one endpoint, and the permission that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.ratelimit.circuit_breaker import OPEN_AFTER
from lvqa_ray.llm.ratelimit.outcome import TokenEstimate


@dataclass(frozen=True, slots=True)
class Limits:
    """What holds for one key at one endpoint; ``None`` for no limit. Windows are of any 60 s, a day is of any 24 h."""

    max_concurrency: int
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    input_tokens_per_minute: int | None = None
    output_tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    max_outage_s: float = 900.0
    open_after: int = OPEN_AFTER
    max_rejections: int | None = None

    @classmethod
    def of(cls, *endpoints: Endpoint) -> Limits:
        """The limits of endpoints that share a key: of each limit the strictest."""

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
            max_rejections=least("max_rejections"),
            # It opens before a request has used up its attempts.
            open_after=max(2, min(OPEN_AFTER, min(endpoint.max_attempts for endpoint in endpoints) - 1)),
        )

    @property
    def only_places(self) -> bool:
        """Whether nothing but the number in flight is limited, so that a place may be used again at once."""
        return (
            self.requests_per_minute is None
            and self.tokens_per_minute is None
            and self.input_tokens_per_minute is None
            and self.output_tokens_per_minute is None
            and self.requests_per_day is None
        )


class SendLease(NamedTuple):
    """The permission to send one request at once, and to have it in flight.

    A tuple, as all that is told for every request: it is pickled in a tenth of the time of a frozen dataclass.

    Attributes:
        id: Names the lease among those of all limiters.
        estimate: Tokens set aside for the request.
        reuse_s: For so many seconds the place may be used again for another request without asking.
    """

    id: str
    estimate: TokenEstimate
    reuse_s: float = 0.0
