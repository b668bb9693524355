"""Command lines of model servers: program, arguments, environment and health path of one replica.

`server_command` is called on the node that starts the server, because it looks for the engine there. vLLM has a
command too: it serves a model where Ray's extra ``ray[llm]``, which needs one exact version of vLLM, is not installed.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from pydantic import JsonValue

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.engines.engine_args import complete_args
from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint

_ENVIRONMENT: Mapping[str, str] = {"PYTHONUNBUFFERED": "1", "DO_NOT_TRACK": "1", "VLLM_NO_USAGE_STATS": "1"}
"""Log lines come at once, and no engine reports its use."""
_ALL_LAYERS = 999
"""llama.cpp puts as many layers of the model on the GPU as it has, up to this number."""


@dataclass(frozen=True, slots=True)
class ServerCommand:
    """How to start one model server.

    Attributes:
        argv: Program and arguments.
        env: Environment variables on top of those of the process.
        health: Path that answers 200 once the model is loaded.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    health: str = "/health"


def server_command(served: ServedEndpoint, model_path: str, host: str, port: int) -> ServerCommand:
    """The command of one replica.

    Args:
        served: The model.
        model_path: Local folder or file of the model, or its name on the hub.
        host: Address to listen on.
        port: Port to listen on.

    Raises:
        ConfigError: The engine cannot serve this path.
    """
    if served.engine == "command":
        values = {"model": model_path, "host": host, "port": str(port), "slots": str(served.slots_per_replica)}
        return ServerCommand(tuple(_filled(word, values) for word in served.command), _ENVIRONMENT, "/v1/models")
    start = {"vllm": _vllm, "sglang": _sglang, "llama_cpp": _llama_cpp}[served.engine]
    address = ("--host", host, "--port", str(port))
    return ServerCommand((*start(served, model_path), *address), _ENVIRONMENT)


def _filled(word: str, values: Mapping[str, str]) -> str:
    """A word of a command with its placeholders replaced; other braces stay, since JSON has them too."""
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _vllm(served: ServedEndpoint, model_path: str) -> Iterator[str]:
    if find_spec("vllm"):
        yield from (sys.executable, "-m", "vllm.entrypoints.cli.main")
    else:
        yield shutil.which("vllm") or "vllm"
    yield from ("serve", model_path, "--served-model-name", served.model)
    quiet: dict[str, JsonValue] = {"uvicorn_log_level": "warning"}
    for name, value in (quiet | complete_args(served)).items():
        yield from _option(name, value, negated="no-", several=True)


def _sglang(served: ServedEndpoint, model_path: str) -> Iterator[str]:
    yield from (sys.executable, "-m", "sglang.launch_server", "--model-path", model_path)
    yield from ("--served-model-name", served.model)
    quiet: dict[str, JsonValue] = {"log_level_http": "warning"}
    for name, value in (quiet | complete_args(served)).items():
        yield from _option(name, value, negated="", several=True)


def _llama_cpp(served: ServedEndpoint, model_path: str) -> Iterator[str]:
    program = shutil.which("llama-server")
    yield from (program,) if program else (sys.executable, "-m", "lvqa_ray.llm.engines.xllamacpp_server")
    given = complete_args(served)
    path = Path(model_path)
    if path.exists():
        model, projector = gguf_files(path)
        yield from ("--model", str(model))
        if projector and not given.keys() & {"mmproj", "mmproj_url"}:
            yield from ("--mmproj", str(projector))
    elif program:
        yield from ("--hf-repo", model_path)
    else:
        raise ConfigError(
            f"{served.label}: there is no such file on this node, and xllamacpp downloads none from the hub: give the "
            "path of a .gguf file or its bucket as model, or install the program llama-server."
        )
    yield from ("--alias", served.model)
    # Without these it would take all cores, and any GPU of the node, from decoders and other models.
    polite: dict[str, JsonValue] = {}
    if not given.keys() & {"n_gpu_layers", "gpu_layers"}:
        polite["n_gpu_layers"] = _ALL_LAYERS if served.gpus else 0
    if "threads" not in given:
        polite["threads"] = max(1, int(served.cpus))
    for name, value in (polite | given).items():
        yield from _option(name, value, negated="no-", several=False)


def gguf_files(path: Path) -> tuple[Path, Path | None]:
    """The GGUF file of a model (of several parts, the first), and that of its image projector, if there is one.

    Raises:
        ConfigError: The folder has none or several models.
    """
    if path.is_file():
        return path, None
    found = sorted(path.glob("*.gguf"))
    projectors = [file for file in found if "mmproj" in file.name.lower()]
    models = [file for file in found if file not in projectors]
    parts = [file for file in models if "-of-" in file.stem and "-00001-of-" not in file.stem]
    models = [file for file in models if file not in parts]
    if len(models) != 1:
        names = ", ".join(file.name for file in models) or "none"
        raise ConfigError(f"The folder {path} must hold one GGUF model, and holds {names}: name the file in model.")
    return models[0], projectors[0] if projectors else None


def _option(name: str, value: JsonValue, *, negated: str, several: bool) -> Iterator[str]:
    """An argument as words of a command line.

    Args:
        name: Its name with underscores.
        value: Its value; true is a flag alone, null is left out.
        negated: Prefix of the flag for false; empty if the engine has none, and false is left out.
        several: A list becomes several words; otherwise one, with commas.
    """
    flag = name.replace("_", "-")
    if value is None or (value is False and not negated):
        return
    if isinstance(value, bool):
        yield f"--{flag}" if value else f"--{negated}{flag}"
    elif isinstance(value, list):
        words = [_word(each) for each in value]
        yield from (f"--{flag}", *(words if several else [",".join(words)]))
    else:
        yield from (f"--{flag}", _word(value))


def _word(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value)
