"""Ray Serve LLM application of a model on vLLM: an OpenAI-compatible API in front of all replicas."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.log_faults import fault_of
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.engines.vllm_config import PREFIX_ROUTER, ingress_config, llm_config

if TYPE_CHECKING:
    from ray.serve import Application


def is_installed() -> bool:
    """Whether this Python has Ray Serve LLM with vLLM (``ray[llm]``); without it, vLLM's own command serves models."""
    return find_spec("vllm") is not None and find_spec("nixl") is not None


def build(served: ServedEndpoint, model_path: str, replicas: int) -> Application:
    """The application for ``serve.run``; it starts nothing.

    Args:
        served: The model.
        model_path: Local folder on every node, name on the hub, or bucket URL.
        replicas: Number of engines.

    Raises:
        ConfigError: vLLM does not accept the arguments, or the model's configuration cannot be read.
    """
    from ray.serve.config import RequestRouterConfig  # noqa: PLC0415 - only on machines with ray[llm]
    from ray.serve.llm import LLMConfig, build_openai_app  # noqa: PLC0415 - as above

    router: Any = RequestRouterConfig  # its annotations know no name of a class
    fields = llm_config(served, model_path, replicas)
    fields["deployment_config"]["request_router_config"] = router(request_router_class=PREFIX_ROUTER)
    try:
        app = build_openai_app(
            {"llm_configs": [LLMConfig(**fields)], "ingress_deployment_config": ingress_config(replicas)}
        )
    except (ValueError, ImportError, OSError) as error:
        raise ConfigError(f"{served.label} cannot be served: {fault_of('vllm', str(error), None)}") from None
    return app
