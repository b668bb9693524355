"""Arguments of the inference engines: known names, the closest name of a typing error, slots, and required packages.

`engine_args.toml` lists the names that known releases take; ``python benchmarks/engine_args.py`` reads them from the
packages' own types. The list only finds typing errors: a name that it lacks and that resembles none goes to the engine,
which may be newer and checks its arguments before it loads a model.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.util import find_spec

from pydantic import JsonValue

from lvqa_ray.llm.engines.served_endpoint import SLOTS_ARGUMENT, ServedEndpoint

ENGINE_TITLES: Mapping[str, str] = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llama_cpp": "llama.cpp",
    "command": "the server command",
}
"""Names of the engines in messages."""
_MODEL = "set model in this section instead"
_ADDRESS = "the run chooses the address"
_REPLICAS = "set replicas in this section instead"
_NO_KEY = "only the run reaches the server, which needs no key"
_RESERVED: Mapping[str, str] = {
    "model": _MODEL,
    "model_tag": _MODEL,
    "model_path": _MODEL,
    "served_model_name": _MODEL,
    "alias": _MODEL,
    "model_url": _MODEL,
    "hf_repo": _MODEL,
    "hf_file": _MODEL,
    "host": _ADDRESS,
    "port": _ADDRESS,
    "uds": _ADDRESS,
    "root_path": _ADDRESS,
    "api_prefix": _ADDRESS,
    "api_key": _NO_KEY,
    "api_key_file": _NO_KEY,
    "data_parallel_size": _REPLICAS,
    "dp_size": _REPLICAS,
    "distributed_executor_backend": "the run chooses it",
}
"""Arguments that the run sets, and the remedy."""
_PARALLEL: Mapping[str, tuple[str, str]] = {
    "vllm": ("tensor_parallel_size", "pipeline_parallel_size"),
    "sglang": ("tp_size", "pp_size"),
}
"""Names of the tensor and pipeline parallelism, whose product is the number of GPUs."""
_MEMORY: Mapping[str, str] = {"vllm": "gpu_memory_utilization", "sglang": "mem_fraction_static"}
"""Share of a GPU's memory that an engine takes; without it, nearly all."""
_CLOSE = 0.8
_PACKAGES: Mapping[str, tuple[str, str, str]] = {
    "vllm": ("vllm", "vllm", 'pip install "lvqa-ray[vllm]"'),
    "sglang": ("sglang", "", 'pip install "lvqa-ray[sglang]"'),
    "llama_cpp": ("xllamacpp", "llama-server", 'pip install "lvqa-ray[llama_cpp]"'),
}
"""Package, program that does as well, and how to get the package."""


@cache
def known_arguments(engine: str) -> frozenset[str]:
    """Names of an engine's arguments, with underscores."""
    text = (files("lvqa_ray.llm.engines") / "engine_args.toml").read_text(encoding="utf-8")
    return frozenset(tomllib.loads(text).get(engine, {}).get("names", "").split())


def check_engine_args(served: ServedEndpoint) -> str:
    """What is wrong with the engine arguments of a model, in one sentence; empty if nothing is."""
    title, known = ENGINE_TITLES[served.engine], known_arguments(served.engine)
    for name in served.engine_args:
        plain = name.lstrip("-").replace("-", "_")
        if plain in _RESERVED:
            return f"{served.label}: engine_args.{name} is not a setting here: {_RESERVED[plain]}."
        if name in known:
            continue
        if plain in known:
            return f"{served.label}: engine_args.{name} must be written {plain}."
        if closest := get_close_matches(plain, known, 1, _CLOSE):
            return f"{served.label}: {title} has no argument {name}; the closest is engine_args.{closest[0]}."
    return _gpu_fault(served)


def _gpu_fault(served: ServedEndpoint) -> str:
    """A contradiction between the GPUs of a replica and the engine's arguments, in one sentence."""
    if served.engine not in _PARALLEL or served.gpus <= 0:
        return ""
    if served.gpus < 1:
        name = _MEMORY[served.engine]
        share = served.engine_args.get(name)
        if not isinstance(share, int | float) or share > served.gpus:
            return (
                f"{served.label}: gpus is {served.gpus:g}, so set engine_args.{name} to {served.gpus:g} or less, or "
                f"{ENGINE_TITLES[served.engine]} takes the memory of the whole GPU."
            )
        return ""
    tensor, pipeline = _PARALLEL[served.engine]
    product = _number(served, tensor, _tensor_parallel(served)) * _number(served, pipeline, 1)
    if product == served.gpus:
        return ""
    return (
        f"{served.label}: gpus is {served.gpus:g}, but engine_args.{tensor} times {pipeline} is {product}; make them "
        f"equal, or remove {tensor}, which follows gpus."
    )


def complete_args(served: ServedEndpoint) -> dict[str, JsonValue]:
    """The engine's arguments with those that follow from the section: slots, and parallelism over several GPUs."""
    args: dict[str, JsonValue] = {name: value for name, value in served.engine_args.items() if value is not None}
    slots = SLOTS_ARGUMENT.get(served.engine)
    if slots:
        args[slots] = served.slots_per_replica
    if served.engine in _PARALLEL and served.gpus > 1:
        args.setdefault(_PARALLEL[served.engine][0], _tensor_parallel(served))
    return args


def _tensor_parallel(served: ServedEndpoint) -> int:
    """Tensor parallelism that fills the GPUs of a replica."""
    pipeline = _number(served, _PARALLEL[served.engine][1], 1)
    return max(1, int(served.gpus) // max(1, pipeline))


def _number(served: ServedEndpoint, name: str, default: int) -> int:
    value = served.engine_args.get(name)
    return value if isinstance(value, int) else default


def missing_extra(engine: str) -> str:
    """The package that an engine lacks on this machine, in one sentence with the command; empty if nothing is missing.

    The nodes that serve the model need it; the machine of the driver does not.
    """
    if engine not in _PACKAGES:
        return ""
    package, program, install = _PACKAGES[engine]
    if find_spec(package) or (program and shutil.which(program)):
        return ""
    instead = f" or install the program {program}" if program else ""
    return f"{ENGINE_TITLES[engine]} is not installed: on each node that serves the model, run {install}{instead}."
