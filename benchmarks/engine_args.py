"""Checks the arguments of served models against the engines' own types; needs the engines, but no GPU.

For each engine that is installed here: the names in ``engine_args.toml`` against those of its types, and the command of
a served model against its own parser. With ``ray[llm]``, the Ray Serve application is built as well (not started). An
engine that is not installed is named and skipped, so each can have an environment of its own.

    python benchmarks/engine_args.py            # status 1 if a name or a command does not fit
    python benchmarks/engine_args.py --write    # adds the names that the list lacks
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import tomllib
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lvqa_ray.llm.engines.served_endpoint import ServedEndpoint
from lvqa_ray.llm.engines.server_command import server_command

LIST = Path(__file__).parents[1] / "lvqa_ray/llm/engines/engine_args.toml"
SERVED: Mapping[str, Mapping[str, Any]] = {
    "vllm": {
        "gpus": 2,
        "engine_args": {
            "max_model_len": 32768,
            "max_num_seqs": 64,
            "gpu_memory_utilization": 0.85,
            "limit_mm_per_prompt": {"image": 16},
            "enable_prefix_caching": True,
            "enforce_eager": False,
            "dtype": "bfloat16",
        },
    },
    "sglang": {
        "gpus": 2,
        "engine_args": {"context_length": 32768, "mem_fraction_static": 0.8, "enable_multimodal": True},
    },
    "llama_cpp": {"cpus": 4, "engine_args": {"ctx_size": 16384, "parallel": 4}},
}
"""One model for each engine, with arguments of each kind: numbers, words, flags, and nested ones."""


def served(engine: str, model: str) -> ServedEndpoint:
    return ServedEndpoint.model_validate({"engine": engine, "model": model, **SERVED[engine]})


def arguments_of(command: tuple[str, ...], after: str) -> list[str]:
    """The words of a command that the engine's parser reads."""
    return list(command[command.index(after) + 1 :])


def vllm_names() -> set[str]:
    from vllm.engine.arg_utils import AsyncEngineArgs  # noqa: PLC0415 - only where it is installed
    from vllm.entrypoints.launchers.cli_args import FrontendArgs  # noqa: PLC0415 - only where it is installed

    return {field.name for kind in (AsyncEngineArgs, FrontendArgs) for field in dataclasses.fields(kind)}


def vllm_parses(model: str) -> dict[str, Any]:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # noqa: PLC0415 - only where it is installed
    from vllm.platforms import current_platform  # noqa: PLC0415 - only where it is installed
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # noqa: PLC0415 - only where it is installed

    if not current_platform.device_type:
        current_platform.device_type = "cpu"  # no GPU here: the parser asks for a device to compute its defaults
    command = server_command(served("vllm", model), model, "127.0.0.1", 8100)
    return vars(make_arg_parser(FlexibleArgumentParser()).parse_args(arguments_of(command.argv, "serve")))


def vllm_app(model: str) -> str:
    """Builds Ray Serve's application: this runs the checks of Ray and reads the model's configuration."""
    from lvqa_ray.engine.ray.models.vllm_app import build  # noqa: PLC0415 - only where it is installed

    return type(build(served("vllm", model), model, 3)).__name__


def sglang_parser() -> argparse.ArgumentParser:
    from sglang.srt.server_args import ServerArgs  # noqa: PLC0415 - only where it is installed

    parser = argparse.ArgumentParser()
    ServerArgs.add_cli_args(parser)
    return parser


def sglang_names() -> set[str]:
    return {action.dest for action in sglang_parser()._actions}


def sglang_parses(model: str) -> dict[str, Any]:
    command = server_command(served("sglang", model), model, "127.0.0.1", 8100)
    return vars(sglang_parser().parse_args(arguments_of(command.argv, "sglang.launch_server")))


def llama_names() -> set[str]:
    program = shutil.which("llama-server")
    if not program:
        raise ImportError("there is no program llama-server")
    told = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return {name.replace("-", "_") for name in re.findall(r"(?<![\w-])--([a-z][\w-]+)", told)}


CHECKS: Mapping[str, tuple[str, Callable[[], set[str]], tuple[Callable[[str], Any], ...]]] = {
    "vllm": ("vllm", vllm_names, (vllm_parses, vllm_app)),
    "sglang": ("sglang", sglang_names, (sglang_parses,)),
    "llama_cpp": ("", llama_names, ()),
}


def fits(engine: str, model: str, known: set[str], *, write: bool) -> bool | None:
    """Whether everything fits; ``None`` if the engine is not installed. Adds names to ``known`` on request."""
    package, names_of, checks = CHECKS[engine]
    if package and not find_spec(package):
        print(f"{engine}: not installed, skipped")
        return None
    try:
        names = {name for name in names_of() if not name.startswith("_") and name not in ("help", "config")}
    except ImportError as error:
        print(f"{engine}: not usable here ({error}), skipped")
        return None
    try:
        release = version(package) if package else "llama-server"
    except PackageNotFoundError:
        release = "unknown"
    lacking = sorted(names - known)
    print(f"{engine} {release}: {len(names)} names, the list lacks {len(lacking)}: {' '.join(lacking)}")
    good = not lacking or write
    known |= names
    for check in checks:
        got = check(model)
        print(f"{engine} {release}: {check.__name__} ok" if got else f"{engine}: {check.__name__} gave nothing")
        given = {name: value for name, value in SERVED[engine]["engine_args"].items() if isinstance(got, dict)}
        wrong = {name: got.get(name) for name, value in given.items() if got.get(name) != value}
        if wrong:
            print(f"{engine}: parsed differently: {wrong}")
            good = False
    return good


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="add the names that the list lacks")
    write: bool = parser.parse_args().write
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    results: list[bool | None] = []
    with tempfile.TemporaryDirectory() as folder:
        config = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl"}
        Path(folder, "config.json").write_text(json.dumps(config))
        for engine, content in listed.items():
            known = set(content["names"].split())
            results.append(fits(engine, folder, known, write=write))
            content["names"] = known
    if write:
        text = "# Arguments of the engines by their own names. Written by `python benchmarks/engine_args.py --write`.\n"
        for engine, content in listed.items():
            names = textwrap.fill(" ".join(sorted(content["names"])), 118, break_on_hyphens=False)
            text += f'\n[{engine}]\nreleases = {json.dumps(content["releases"])}\nnames = """\n{names}\n"""\n'
        LIST.write_text(text, encoding="utf-8")
    return 0 if all(result is not False for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
