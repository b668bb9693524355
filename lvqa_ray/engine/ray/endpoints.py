"""The ways to the endpoints: who plays which role, with which key, under which governor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import ray
from pydantic import SecretStr

from lvqa_ray.engine.ray import rate_limit_actor as governor
from lvqa_ray.engine.ray.rate_limit_actor import EndpointStats
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.ratelimit.limits import Limits
from lvqa_ray.stage import Role
from lvqa_ray.storage.paths import StoragePath

if TYPE_CHECKING:  # it knows every stage, and with them the video libraries
    from lvqa_ray.config import Job


@dataclass(frozen=True, slots=True)
class EndpointHandle:
    """What a chat worker needs to reach one endpoint; its key shows in no text.

    Attributes:
        budget: Handle of the budget, if the job has one.
        retry_failures: Ask again for what the journal holds as refused, filtered or cut off.
    """

    endpoint: Endpoint
    api_key: SecretStr
    governor: Any
    budget: Any = None
    retry_failures: bool = False


Lines = Mapping[Role, Sequence[EndpointHandle]]
"""The endpoints of every role: one, or several that answer alike."""


def connect_endpoints(
    job: Job,
    keys: Mapping[Role, Sequence[SecretStr]],
    folder: StoragePath,
    budget: Any = None,  # noqa: ANN401 - Ray's handles have no type of their own
) -> Lines:
    """Start a governor for every base URL, key and model; roles that share one are under the strictest limits of each.

    Args:
        job: The job.
        keys: The key of every endpoint of every role.
        folder: Where the requests of the day are counted.
        budget: Handle of the budget that all share, if there is one.
    """
    shared: dict[tuple[str, str, str], list[Endpoint]] = {}
    names: dict[Role, list[tuple[str, str, str]]] = {}
    for role, role_keys in keys.items():
        for endpoint, key in zip(job.endpoints.replicas(role), role_keys, strict=True):
            name = (endpoint.base_url, key.get_secret_value(), endpoint.model)
            names.setdefault(role, []).append(name)
            shared.setdefault(name, []).append(endpoint)
    governors = {}
    for name, endpoints in shared.items():
        public = f"{endpoints[0].base_url} {endpoints[0].api_key_env} {endpoints[0].model}"  # nothing made of the key
        day = folder / f"requests-{hashlib.sha256(public.encode()).hexdigest()[:16]}.json"
        governors[name] = governor.start(Limits.of(*endpoints), day)
    return {
        role: [
            EndpointHandle(endpoint, key, governors[name], budget, job.engine.retry_failures)
            for endpoint, key, name in zip(job.endpoints.replicas(role), keys[role], names[role], strict=True)
        ]
        for role in keys
    }


def traffic(lines: Lines) -> dict[str, EndpointStats]:
    """The traffic of each governor by its endpoint's label; roles that share one count together."""
    governors: dict[str, Any] = {}
    for line in chain.from_iterable(lines.values()):
        if line.governor not in governors.values():
            same = sum(name.partition(" (")[0] == line.endpoint.label for name in governors)  # another key
            governors[f"{line.endpoint.label} ({same + 1})" if same else line.endpoint.label] = line.governor
    answers = ray.get([handle.traffic.remote() for handle in governors.values()])
    return dict(zip(governors, answers, strict=True))


def why_halted(lines: Lines) -> str:
    """Why no more can be asked: one role has no endpoint left."""
    for role in lines.values():
        reasons = [answer.halted for answer in ray.get([line.governor.traffic.remote() for line in role])]
        if all(reasons):
            return str(reasons[0])
    return ""


def halt(lines: Lines, reason: str) -> None:
    """Let no more be asked of any endpoint; what is under way comes home."""
    for line in chain.from_iterable(lines.values()):
        line.governor.halt.remote(reason)
