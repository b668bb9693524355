"""Settings of a model that the run serves itself, on its own Ray, instead of an endpoint at a URL."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.credentials import holds_credential
from lvqa_ray.llm.endpoint import DEMO_MODEL, Endpoint

EngineName = Literal["vllm", "sglang", "llama_cpp", "command"]
GPU_ENGINES = frozenset({"vllm", "sglang"})
"""Engines that need a GPU, unless ``gpus`` says otherwise."""
SLOTS_ARGUMENT: Mapping[str, str] = {
    "vllm": "max_num_seqs",
    "sglang": "max_running_requests",
    "llama_cpp": "parallel",
}
"""The argument of each engine that says how many requests it runs at once."""
DEFAULT_SLOTS: Mapping[str, int] = {"vllm": 256, "sglang": 128, "llama_cpp": 4, "command": 16}
"""Requests at once if neither ``slots`` nor the engine's argument is set."""
REFUSED: Mapping[str, str] = {
    "base_url": "the run starts the model and knows its address: remove base_url, or remove engine to use an endpoint "
    "that is up already",
    "api_key_env": "a model that the run serves needs no key: remove api_key_env",
    "max_concurrency": "the number of requests in flight is replicas times slots: set slots instead",
    "requests_per_minute": "a model that the run serves has no limits per minute: set slots instead",
    "tokens_per_minute": "a model that the run serves has no limits per minute: set slots instead",
    "input_tokens_per_minute": "a model that the run serves has no limits per minute: set slots instead",
    "output_tokens_per_minute": "a model that the run serves has no limits per minute: set slots instead",
    "requests_per_day": "a model that the run serves has no limit per day: remove requests_per_day",
    "price_in": "a model that the run serves has no price per token: set price_gpu_hour instead",
    "price_out": "a model that the run serves has no price per token: set price_gpu_hour instead",
    "price_cached": "a model that the run serves has no price per token: set price_gpu_hour instead",
    "price_cache_write": "a model that the run serves has no price per token: set price_gpu_hour instead",
    "price_minute": "a model that the run serves has no price per minute: set price_gpu_hour instead",
    "tier": "a model that the run serves has no price tiers: remove tier",
    "fallback_after_min": "a model that the run serves has no price tiers: remove fallback_after_min",
    "batch_hours": "a model that the run serves has no file batches: remove batch_hours",
    "batch_requests": "a model that the run serves has no file batches: remove batch_requests",
    "batch_mb": "a model that the run serves has no file batches: remove batch_mb",
    "batch_wait_s": "a model that the run serves has no file batches: remove batch_wait_s",
    "batch_poll_s": "a model that the run serves has no file batches: remove batch_poll_s",
    "prompt_cache_key": "the engines match prompt prefixes themselves: remove prompt_cache_key",
}
"""Settings of an endpoint that a served model does not have, and the remedy."""
_SERVING = ("engine", "model", "replicas", "gpus", "cpus", "slots", "engine_args", "command")
_KEY_ARGUMENT = re.compile(r"(^|[-_])(token|api[-_]?key|secret|password)$", re.IGNORECASE)
PORT, MODEL = "{port}", "{model}"
"""Placeholders of ``command``, besides ``{host}`` and ``{slots}``."""


class ServedEndpoint(Endpoint):
    """Settings of a model that the run starts on its own Ray before the first request, and ends with the run.

    Cache keys and job hashes hold the fixed ``base_url``, the model and the sampling settings, never the address or
    ``engine_args``: a rerun on another address, with other replicas or another engine's version pays nothing again.
    """

    base_url: str = Field(default="", description="Fixed by engine; not a setting.")
    api_key_env: str | None = Field(default=None, description="Not a setting.")
    engine: EngineName = Field(
        description="Inference engine that the run starts: vllm (extra vllm), sglang (extra sglang), llama_cpp, or "
        "command for any server with an OpenAI-compatible API."
    )
    model: str = Field(
        min_length=1,
        description="The model: its name on the Hugging Face hub, a local folder or file, or a folder or file in a "
        "bucket (s3://...), which each node downloads once. It is also the name in requests.",
    )
    replicas: Literal["auto"] | int = Field(
        default="auto",
        description="Number of model servers behind one address; auto: as many as the GPUs that no other model "
        "reserves allow, and 1 if gpus is 0.",
    )
    gpus: float = Field(
        default=0.0,
        ge=0,
        description="GPUs of one replica; a whole number above 1 for tensor parallelism. Default 1 for vllm and "
        "sglang, 0 for llama_cpp and command.",
    )
    cpus: float = Field(default=1.0, ge=0, description="CPU cores that one replica reserves.")
    slots: int | None = Field(
        default=None,
        ge=1,
        description="Requests that a replica runs at once; null for the value in engine_args (max_num_seqs, "
        "max_running_requests, parallel), else 256 for vllm, 128 for sglang, 4 for llama_cpp and 16 for command.",
    )
    engine_args: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="The engine's own arguments by its own names, such as {max_model_len: 32768}. They are not part "
        "of the cache key: change the output folder after a change that affects replies.",
    )
    command: tuple[str, ...] = Field(
        default=(),
        description="engine command: program and arguments of the server; {model}, {host}, {port} and {slots} are "
        "replaced. Not part of the cache key, like engine_args.",
    )
    warmup_s: float = Field(
        default=1800.0, gt=0, description="Longest time to load the model and answer a first request (s)."
    )
    price_gpu_hour: float | None = Field(
        default=None, ge=0, description="Dollars per GPU and hour, for the cost in audits and estimates; null: unknown."
    )
    _address: str = PrivateAttr(default="")
    _model_path: str = PrivateAttr(default="")

    @model_validator(mode="before")
    @classmethod
    def _refuse_settings_of_urls(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        engine, model = given.get("engine"), given.get("model")
        fixed = _base_url(str(engine))
        own = {name: value for name, value in given.items() if not (name == "base_url" and value == fixed)}
        for name, remedy in REFUSED.items():
            if own.get(name) is not None:
                raise ConfigError(f"{model} on {engine}: {remedy}.")
        own = {name: value for name, value in own.items() if name not in REFUSED}
        if own.get("gpus") is None:
            own["gpus"] = 1.0 if engine in GPU_ENGINES else 0.0
        return {**own, "base_url": fixed} if engine is not None else own

    @field_validator("replicas")
    @classmethod
    def _at_least_one(cls, replicas: Literal["auto"] | int) -> Literal["auto"] | int:
        if isinstance(replicas, int) and replicas < 1:
            raise ValueError("it must be auto, or at least 1")
        return replicas

    @field_validator("gpus")
    @classmethod
    def _whole_gpus(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("above 1 it must be a whole number")
        return gpus

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if holds_credential(self.engine_args) or any(map(_KEY_ARGUMENT.search, self.engine_args)):
            raise ConfigError(
                f"{self.label}: engine_args holds what looks like a key: set the engine's environment variable, such "
                "as HF_TOKEN, on the nodes instead."
            )
        if any(_KEY_ARGUMENT.search(word.partition("=")[0].rstrip()) for word in self.command[1:]):
            raise ConfigError(
                f"{self.label}: command holds what looks like a key: set an environment variable on the nodes instead."
            )
        if (self.engine == "command") != bool(self.command):
            raise ConfigError(
                f"{self.label}: "
                + (
                    "give the command that starts the server."
                    if not self.command
                    else "only engine command has a command."
                )
            )
        if self.command and not any(PORT in word for word in self.command):
            raise ConfigError(f"{self.label}: command must contain {PORT}, where the server has to listen.")
        if self.engine == "command" and self.engine_args:
            raise ConfigError(f"{self.label}: engine command has no engine_args: put them into command.")
        self._model_path = _absolute(self.model)
        self.__dict__["max_concurrency"] = self.slots_per_replica * (1 if self.replicas == "auto" else self.replicas)
        return self

    @model_serializer(mode="wrap")
    def _without_refused(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if name not in REFUSED}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema without the settings that a served model refuses."""
        schema = handler(core)
        section = handler.resolve_ref_schema(schema)
        for name in REFUSED:
            section["properties"].pop(name, None)
        return schema

    @property
    def is_served(self) -> bool:
        """Whether the run starts the model itself: always."""
        return True

    @property
    def digest(self) -> str:
        """Hash (12 hex digits) of everything that decides which servers run; equal sections share one."""
        content = self.model_dump(mode="json", include=set(_SERVING)) | {"model": self.model_path}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def model_path(self) -> str:
        """What the servers load: the model as given, and a local path as absolute, since they have another folder."""
        return self._model_path

    @property
    def slots_per_replica(self) -> int:
        """Requests that a replica runs at once."""
        if self.slots is not None:
            return self.slots
        given = self.engine_args.get(SLOTS_ARGUMENT.get(self.engine, ""))
        return given if isinstance(given, int) and given > 0 else DEFAULT_SLOTS[self.engine]

    @property
    def address(self) -> str:
        """Base URL of the running servers; empty before they run."""
        return self._address

    def with_address(self, address: str, *, replicas: int) -> Self:
        """A copy with the address of the running servers, and with the requests in flight that they take.

        Args:
            address: Base URL, such as ``http://10.0.0.1:8100/lvqa-model-0123456789ab/v1``.
            replicas: Number of servers behind it.
        """
        found = self.model_copy(update={"max_concurrency": replicas * self.slots_per_replica})
        found._address = address
        return found

    @property
    def tier_url(self) -> str:
        """Base URL of requests: the address of the running servers.

        Raises:
            ConfigError: They do not run.
        """
        if not self._address:
            raise ConfigError(
                f"{self.label} is not running: only lvqa run starts it; lvqa serve-model keeps one up, whose address "
                "can be given as base_url."
            )
        return self._address

    @property
    def server(self) -> str:
        """What receives the requests, for limits: the servers of this digest."""
        return f"{self.base_url}#{self.digest}"

    @property
    def answering(self) -> dict[str, Any]:
        """The settings that can change an answer."""
        return super().answering | {"base_url": self.base_url}

    @property
    def label(self) -> str:
        """Model and engine, for messages to the user."""
        return f"{self.model} on {self.engine}"

    @property
    def is_demo(self) -> bool:
        """Whether the demo endpoint runs as its server, which receives the stage and facts of a request."""
        return self.model == DEMO_MODEL


def _absolute(model: str) -> str:
    """The absolute path of an existing local model; any other model as it is."""
    try:
        path = Path(model).expanduser()
        return str(path.resolve()) if path.exists() else model
    except (OSError, RuntimeError, ValueError):  # it can be no path
        return model


def _base_url(engine: str) -> str:
    """The URL in cache keys; no request ever goes there (RFC 2606 reserves ``.invalid``)."""
    return f"http://{engine}.served.invalid/v1"
