"""llama.cpp server as a process: ``python -m lvqa_ray.llm.engines.xllamacpp_server --model FILE --port PORT``.

It takes the options of the program ``llama-server`` by the same names and serves the same API (``/health``,
``/v1/chat/completions``), with the server inside the package xllamacpp: a wheel, where the program has to be built. A
signal ends it at once, and so does the end of its parent process. The log goes to standard error.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import NoReturn

PARENT_POLL_S = 0.5
"""Interval of the checks that the parent process is alive."""
_Value = str | int | float | bool


def _yes(_: str) -> bool:
    return True


def _no(_: str) -> bool:
    return False


_OPTIONS: Mapping[str, tuple[str, Callable[[str], _Value]]] = {
    "model": ("model.path", str),
    "mmproj": ("mmproj.path", str),
    "host": ("hostnames", str),
    "port": ("port", int),
    "alias": ("model_alias", str),
    "parallel": ("n_parallel", int),
    "ctx-size": ("n_ctx", int),
    "predict": ("n_predict", int),
    "batch-size": ("n_batch", int),
    "ubatch-size": ("n_ubatch", int),
    "threads": ("cpuparams.n_threads", int),
    "threads-batch": ("cpuparams_batch.n_threads", int),
    "threads-http": ("n_threads_http", int),
    "n-gpu-layers": ("n_gpu_layers", int),
    "gpu-layers": ("n_gpu_layers", int),
    "main-gpu": ("main_gpu", int),
    "cache-ram": ("cache_ram_mib", int),
    "cache-reuse": ("n_cache_reuse", int),
    "ctx-checkpoints": ("n_ctx_checkpoints", int),
    "slot-prompt-similarity": ("slot_prompt_similarity", float),
    "image-min-tokens": ("image_min_tokens", int),
    "image-max-tokens": ("image_max_tokens", int),
    "chat-template": ("chat_template", str),
    "rope-freq-base": ("rope_freq_base", float),
    "rope-freq-scale": ("rope_freq_scale", float),
    "timeout": ("timeout_read", int),
    "verbosity": ("verbosity", int),
    "seed": ("sampling.seed", int),
    "temp": ("sampling.temp", float),
    "top-k": ("sampling.top_k", int),
    "top-p": ("sampling.top_p", float),
    "min-p": ("sampling.min_p", float),
    "repeat-penalty": ("sampling.penalty_repeat", float),
    "presence-penalty": ("sampling.penalty_present", float),
    "frequency-penalty": ("sampling.penalty_freq", float),
    "cache-type-k": ("cache_type_k", str),
    "cache-type-v": ("cache_type_v", str),
    "flash-attn": ("flash_attn_type", str),
    "split-mode": ("split_mode", str),
}
"""Options with a value: the setting in xllamacpp's parameters, and the type of the value."""
_FLAGS: Mapping[str, tuple[str, Callable[[str], _Value]]] = {
    "jinja": ("use_jinja", _yes),
    "no-jinja": ("use_jinja", _no),
    "kv-unified": ("kv_unified", _yes),
    "no-kv-unified": ("kv_unified", _no),
    "cont-batching": ("cont_batching", _yes),
    "no-cont-batching": ("cont_batching", _no),
    "cache-prompt": ("cache_prompt", _yes),
    "no-cache-prompt": ("cache_prompt", _no),
    "context-shift": ("ctx_shift", _yes),
    "no-context-shift": ("ctx_shift", _no),
    "warmup": ("warmup", _yes),
    "no-warmup": ("warmup", _no),
    "swa-full": ("swa_full", _yes),
    "metrics": ("endpoint_metrics", _yes),
    "mmproj-offload": ("mmproj_use_gpu", _yes),
    "no-mmproj-offload": ("mmproj_use_gpu", _no),
    "no-kv-offload": ("no_kv_offload", _yes),
    "offline": ("offline", _yes),
}
"""Options without a value."""
_ENUMS: Mapping[str, tuple[str, str]] = {
    "cache_type_k": ("ggml_type", "GGML_TYPE_"),
    "cache_type_v": ("ggml_type", "GGML_TYPE_"),
    "flash_attn_type": ("llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_"),
    "split_mode": ("llama_split_mode", "LLAMA_SPLIT_MODE_"),
}
"""Settings that are enumerations of xllamacpp: its name, and what the names of its members begin with."""
_SWITCH = {"on": "enabled", "off": "disabled"}
"""llama-server's words for the members of the flash attention type."""


class BadOption(ValueError):
    """An option that the server does not take, or with a bad value."""


def read_options(words: Sequence[str]) -> dict[str, _Value]:
    """Settings of xllamacpp from the options of a command line.

    Args:
        words: Options of llama-server: ``--name value``, ``--name=value`` or ``--flag``.

    Raises:
        BadOption: An option is unknown, its value is missing or not of its type, or no model is given.
    """
    settings: dict[str, _Value] = {}
    for option, value in _options(iter(words)):
        setting, kind = _OPTIONS[option] if option in _OPTIONS else _FLAGS[option]
        try:
            settings[setting] = kind(value)
        except ValueError:
            raise BadOption(f"invalid value for argument --{option}: {value!r}") from None
    if "cpuparams.n_threads" in settings:  # as llama-server does; xllamacpp would take every core for prompts
        settings.setdefault("cpuparams_batch.n_threads", settings["cpuparams.n_threads"])
    if "model.path" not in settings:
        raise BadOption("no GGUF file is given as --model: xllamacpp downloads none from the hub")
    return settings


def _options(words: Iterator[str]) -> Iterator[tuple[str, str]]:
    for word in words:
        name, assigned, value = word.removeprefix("--").partition("=")
        if name in _OPTIONS and word.startswith("--"):
            given = value if assigned else next(words, None)
            if given is None:
                raise BadOption(f"expected value for argument: --{name}")
            yield name, given
        elif name in _FLAGS and word.startswith("--") and not assigned:
            yield name, ""
        else:
            raise BadOption(f"xllamacpp does not take {word}")


def serve(settings: Mapping[str, _Value]) -> NoReturn:
    """Load the model and serve until a signal arrives.

    Args:
        settings: From `read_options`.

    Raises:
        BadOption: The installed xllamacpp has no such setting, or no such value of it.
        RuntimeError: The model cannot be loaded, or the port cannot be opened; the log says why.
    """
    import xllamacpp  # noqa: PLC0415 - a bad option is told without it

    params = xllamacpp.CommonParams()
    for setting, value in settings.items():
        _set(xllamacpp, params, setting, value)
    params.ui = False
    server = xllamacpp.Server(params)
    print(f"lvqa: the model is served at {server.listening_address}", file=sys.stderr, flush=True)  # noqa: T201 - a log
    while True:
        time.sleep(3600)


def _set(xllamacpp: ModuleType, params: object, setting: str, value: _Value) -> None:
    *outer, name = setting.split(".")
    for step in outer:
        params = getattr(params, step)
    if not hasattr(params, name):
        raise BadOption(f"the installed xllamacpp has no setting {setting}")
    if enum := _ENUMS.get(setting):
        member = _SWITCH.get(str(value), str(value)) if name == "flash_attn_type" else str(value)
        found = getattr(getattr(xllamacpp, enum[0]), enum[1] + member.upper(), None)
        if found is None:
            raise BadOption(f"invalid value for {setting}: {value!r}")
        setattr(params, name, found)
    else:
        setattr(params, name, {"hostnames": [value], "model_alias": {value}}.get(name, value))


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(1)


def main() -> int:
    """Entry point; a fault is one line ``error: ...`` after the log, and exit status 1."""
    # Before anything that takes time: the parent may end while the model loads.
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        serve(read_options(sys.argv[1:]))
    except (BadOption, RuntimeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the log of this process
        return 1


if __name__ == "__main__":
    sys.exit(main())
