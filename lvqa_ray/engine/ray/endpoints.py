"""Connections of each role: endpoint, API key and the actor that enforces its rate limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

import ray
from pydantic import SecretStr

from lvqa_ray.engine.ray import Handle
from lvqa_ray.engine.ray.rate_limit_actor import RateLimiter
from lvqa_ray.engine.ray.rate_limit_actor import start as start_rate_limiters
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.ratelimit.endpoint_stats import EndpointStats
from lvqa_ray.llm.ratelimit.limits import SharedBy, shared, shared_by
from lvqa_ray.stage import Role
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:  # it imports every stage, and with them the video libraries
    from lvqa_ray.config import Job


@dataclass(frozen=True, slots=True)
class EndpointHandle:
    """Connection to one endpoint, as a chat worker needs it; the key is masked in any text.

    Attributes:
        budget: Handle of the budget actor, if the job sets a limit.
        retry_failures: Send requests again whose cached reply was refused, filtered or cut off.
        queue: Handle of the queue of file batches, if requests of the endpoint are or may be in one.
    """

    endpoint: Endpoint
    api_key: SecretStr
    rate_limiter: RateLimiter
    budget: Handle = None
    retry_failures: bool = False
    queue: Handle = None


Lines = Mapping[Role, Sequence[EndpointHandle]]
"""The endpoints of every role: one, or several replicas with the same model and settings."""


def connect_endpoints(
    job: Job,
    keys: Mapping[Role, Sequence[SecretStr]],
    folder: StoragePath,
    budget: Handle = None,
    queues: Mapping[SharedBy, Handle] = MappingProxyType({}),
) -> Lines:
    """Start a rate limiter for each combination of base URL, key and model, all in one actor.

    Roles that share one get the strictest value of each limit.

    Args:
        job: The job.
        keys: The key of every endpoint of every role.
        folder: Folder of the files that count requests per day.
        budget: Handle of the shared budget actor, if there is one.
        queues: The queues of the endpoints with file batches.
    """
    known = {role: list(zip(job.endpoints.endpoints_of(role), keys[role], strict=True)) for role in keys}
    groups = shared(chain.from_iterable(known.values()))
    started = start_rate_limiters((group.limits, folder / group.day_file) for group in groups.values())
    rate_limiters = dict(zip(groups, started, strict=True))
    return {
        role: [
            EndpointHandle(
                endpoint,
                key,
                rate_limiters[shared_by(endpoint, key)],
                budget,
                job.engine.retry_failures,
                queues.get(shared_by(endpoint, key)),
            )
            for endpoint, key in pairs
        ]
        for role, pairs in known.items()
    }


def endpoint_stats(lines: Lines) -> dict[str, EndpointStats]:
    """The request statistics of each rate limiter, by the label of its endpoint; roles may share one."""
    rate_limiters: dict[str, RateLimiter] = {}
    for line in chain.from_iterable(lines.values()):
        if line.rate_limiter not in rate_limiters.values():
            same = sum(name.partition(" (")[0] == line.endpoint.label for name in rate_limiters)  # another key
            rate_limiters[f"{line.endpoint.label} ({same + 1})" if same else line.endpoint.label] = line.rate_limiter
    answers = ray.get([limiter.traffic() for limiter in rate_limiters.values()])
    return dict(zip(rate_limiters, answers, strict=True))


def why_halted(lines: Lines) -> str:
    """Why no more requests can be sent: all endpoints of one role have halted; else empty."""
    for role in lines.values():
        reasons = [answer.halted for answer in ray.get([line.rate_limiter.traffic() for line in role])]
        if all(reasons):
            return str(reasons[0])
    return ""


def halt(lines: Lines, reason: str) -> None:
    """Stop sending requests to any endpoint; requests in flight still complete."""
    for line in chain.from_iterable(lines.values()):
        line.rate_limiter.halt(reason)
