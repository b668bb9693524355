"""State of served models as Ray Serve knows it: whether an application is there or failed, and its servers."""

from __future__ import annotations

from collections.abc import Collection

from ray import serve
from ray.serve.schema import ApplicationStatusOverview

from lvqa_ray.engine.ray.models.server_deployment import DEPLOYMENT

RUNNING = "RUNNING"
NOT_STARTED = frozenset({"DEPLOY_FAILED"})
NOT_RUNNING = NOT_STARTED | {"UNHEALTHY"}
ABSENT = NOT_STARTED | {"DELETING", "NOT_STARTED"}
"""An application in such a state is to be deployed again."""
FAILED_TO_START = "failed to start"
"""Ray Serve's words about a replica; it tries again many times."""
LLM_SERVER = "LLMServer"


def overview(app: str) -> ApplicationStatusOverview | None:
    """What Ray Serve, which must run, knows of an application; ``None`` if there is none."""
    found: ApplicationStatusOverview | None = serve.status().applications.get(app)
    return found


def failure(found: ApplicationStatusOverview | None, failed: Collection[str]) -> str:
    """What Ray Serve says about an application that does not start; empty while it may."""
    if found is None or found.status.value in ABSENT - set(failed):
        return ""
    messages = "\n".join((found.message, *(each.message for each in found.deployments.values())))
    is_starting = found.status.value not in NOT_RUNNING and FAILED_TO_START in messages
    return messages if found.status.value in failed or is_starting else ""


def live_servers(app: str) -> int:
    """The number of servers of an application that take requests."""
    return servers(app, frozenset({RUNNING}))


def servers(app: str, states: frozenset[str] = frozenset()) -> int:
    """The number of servers in some states, by default in any.

    The application of Ray Serve LLM has a second deployment, which takes the requests.
    """
    found = overview(app)
    deployments = {} if found is None else found.deployments
    servers = [each for name, each in deployments.items() if name == DEPLOYMENT or LLM_SERVER in name]
    return sum(
        number
        for each in servers
        for state, number in each.replica_states.items()
        if not states or getattr(state, "value", state) in states
    )
