"""Configuration of Ray Serve LLM for a model on vLLM, as plain data: what ``ray.serve.llm`` is given.

No scaling (the run says how many replicas there are), prefix-aware routing (requests with the same beginning go to the
replica that has it in its cache), one placement group per replica with its GPUs on one node, and no prompts in logs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lvqa_ray.llm.engines.engine_args import complete_args
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint

PREFIX_ROUTER = "ray.serve.llm.request_router:PrefixCacheAffinityRouter"
"""Class that routes requests; Ray imports it by this name."""
REPLICAS_PER_INGRESS = 4
"""Model replicas for each process that takes HTTP requests for them (a guess: no GPU has run it)."""
_ENVIRONMENT: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",  # prompts do not belong into logs
}
_HEALTH_PERIOD_S, _HEALTH_TIMEOUT_S = 10, 60
"""Interval and patience of Serve's health checks; a busy engine answers late."""
_GRACE_S = 20
"""Longest time that a replica waits for its requests when the model is stopped."""


def llm_config(served: ServedEndpoint, model_path: str, replicas: int) -> dict[str, Any]:
    """The fields of ``ray.serve.llm.LLMConfig``.

    Args:
        served: The model.
        model_path: Local folder on every node, name on the hub, or bucket URL, which Ray downloads on each node.
        replicas: Number of engines.
    """
    workers = max(1, int(served.gpus))
    bundle = {"GPU": min(1.0, served.gpus)} if served.gpus else {"CPU": served.cpus}
    return {
        "model_loading_config": {"model_id": served.model, "model_source": model_path},
        "engine_kwargs": complete_args(served),
        "log_engine_metrics": not served.engine_args.get("disable_log_stats", False),
        "accelerator_config": {"kind": "gpu" if served.gpus else "cpu"},
        # Over the network, tensor parallelism is slower than one GPU less: all GPUs of a replica are on one node.
        "placement_group_config": {"bundles": [bundle] * workers, "strategy": "STRICT_PACK"},
        "deployment_config": {
            "num_replicas": replicas,
            "max_ongoing_requests": 2 * served.slots_per_replica,
            "health_check_period_s": _HEALTH_PERIOD_S,
            "health_check_timeout_s": _HEALTH_TIMEOUT_S,
            "graceful_shutdown_timeout_s": _GRACE_S,
            "ray_actor_options": {"num_cpus": served.cpus if served.gpus else 0},
        },
        "runtime_env": {"env_vars": dict(_ENVIRONMENT)},
    }


def ingress_config(replicas: int) -> dict[str, Any]:
    """Options of the deployment that takes the requests: a fixed number of processes, which reserve no core."""
    return {
        "num_replicas": -(-replicas // REPLICAS_PER_INGRESS),
        "autoscaling_config": None,
        "ray_actor_options": {"num_cpus": 0},
    }
