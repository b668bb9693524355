"""Ray Serve LLM application of a model on vLLM: an OpenAI-compatible API in front of all replicas."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.log_faults import fault_of
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.engines.vllm_config import PREFIX_ROUTER, ingress_config, llm_config

if TYPE_CHECKING:
    from ray.serve import Application


def is_installed() -> bool:
    """Whether this Python has Ray Serve LLM and the release of vLLM that it needs (``ray[llm]``).

    Where it is missing or another release, vLLM's own command serves the model. No GPU is needed.
    """
    needed = [found[1] for line in requires("ray") or () if (found := re.match(r"vllm\S*==([\w.]+)", line))]
    try:
        return version("vllm").partition("+")[0] in (needed or [version("vllm").partition("+")[0]])
    except PackageNotFoundError:
        return False


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
