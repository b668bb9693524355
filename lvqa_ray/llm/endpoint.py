"""Endpoint settings: URL, model, limits and prices of one OpenAI-compatible API."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from lvqa_ray.errors import ConfigError
from lvqa_ray.llm.messages import ChatRequest
from lvqa_ray.llm.reasoning import Fields, Reasoning

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_LOOKS_LIKE_A_KEY_FIELD = re.compile(r"key|token|secret|password", re.IGNORECASE)
_CREDENTIAL = re.compile(r"api[-_ ]?key|authorization|secret|password|(access|auth|bearer)[-_ ]?token", re.IGNORECASE)
_HOST = re.compile(
    r"(?:localhost|\d+(?:\.\d+){3}|(?P<name>[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,6}))(?::\d+)?(?:/[a-z0-9/_-]{0,30})?"
)
"""A URL without its scheme. It cannot be a key, so an error message may quote it."""
_API_PATHS = (
    "/chat/completions",
    "/completions",
    "/responses",
    "/embeddings",
    "/models",
    "/audio/transcriptions",
    "/messages",
)
AZURE = (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com")
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.5, 60.0
"""Defaults of exponential backoff."""
DEMO_MODEL = "lvqa-demo-no-vlm"
"""The model of the demo endpoint (`lvqa demo`)."""
_RESERVED_FIELDS = frozenset({"model", "messages", "stream", "n", "temperature", "max_tokens"})


class Endpoint(BaseModel):
    """Settings of one model behind one OpenAI-compatible URL, with the name of the key's variable, never the key.

    A bad URL or variable name raises `ConfigError` and not pydantic's error, which quotes its input: that may hold a
    secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    base_url: str = Field(description="URL without /chat/completions, such as https://api.openai.com/v1.")
    model: Annotated[str, Field(min_length=1)] = Field(description="Name of the model at the endpoint.")
    api_key_env: str | None = Field(
        default="OPENAI_API_KEY",
        description="Name of the environment variable that holds the API key; null if the endpoint needs none.",
    )
    max_concurrency: int = Field(
        default=16,
        ge=1,
        description="Maximum number of requests in flight, over all workers. Reduced automatically while the "
        "endpoint is slow or rejects requests.",
    )
    timeout_s: float = Field(
        default=1800.0, gt=0, description="Timeout of one attempt, from sending to the end of the reply (s)."
    )
    max_attempts: int = Field(default=6, ge=1, description="Maximum number of attempts per request; 1 for no retries.")
    backoff_base_s: float = Field(
        default=BACKOFF_BASE_S,
        gt=0,
        description="Longest random wait in seconds before a request is sent again; it doubles with each failure of "
        "the same kind, and comes on top of what the endpoint asks for (Retry-After).",
    )
    backoff_cap_s: float = Field(default=BACKOFF_CAP_S, gt=0, description="Most seconds that this wait grows to.")
    requests_per_minute: int | None = Field(
        default=None, ge=1, description="Maximum number of requests in any 60 seconds; null for no limit."
    )
    tokens_per_minute: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of tokens, prompt and reply together, in any 60 seconds; null for no limit.",
    )
    input_tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Maximum number of prompt tokens in any 60 seconds; null for no limit."
    )
    output_tokens_per_minute: int | None = Field(
        default=None, ge=1, description="Maximum number of reply tokens in any 60 seconds; null for no limit."
    )
    requests_per_day: int | None = Field(
        default=None,
        ge=1,
        description="Maximum number of requests in any 24 hours, over all runs into the same output folder; null "
        "for no limit.",
    )
    max_outage_s: float = Field(
        default=900.0,
        gt=0,
        description="How long to wait for an endpoint that is down before the run stops (s).",
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        description="Sampling temperature for stages that set none; null for the endpoint's default.",
    )
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Maximum length of a reply in tokens, for stages that set none; null for the endpoint's default.",
    )
    extra_body: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Further fields of the request body, such as {top_p: 0.8}. They affect the reply, so they are "
        "part of the cache key.",
    )
    reasoning: Reasoning | None = Field(
        default=None,
        description="How much a reasoning model thinks: {effort: high}, {budget_tokens: 4000} or off, sent as the "
        "provider's own parameters. They affect the reply, so they are part of the cache key. null for the model's "
        "default.",
    )
    stream: bool = Field(
        default=False,
        description="Request streamed replies, for models that support nothing else. The content is the same. "
        "Automatic if the endpoint's error says that it only streams.",
    )
    max_rejections: int | None = Field(
        default=5,
        ge=1,
        description="How many requests of one stage an endpoint may reject for the same reason, without having "
        "answered that stage, before the run stops; ten times as many if an earlier run has replies. "
        "null for no limit.",
    )
    price_in: float | None = Field(
        default=None, ge=0, description="Price in US dollars per million prompt tokens; null for the published price."
    )
    price_out: float | None = Field(
        default=None, ge=0, description="Price in US dollars per million reply tokens; null for the published price."
    )

    price_minute: float | None = Field(
        default=None,
        ge=0,
        description="Price in US dollars per minute of audio, for speech-to-text; null for the published price.",
    )

    @model_validator(mode="before")
    @classmethod
    def _reject_key_fields(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        for name in sorted(map(str, set(given) - set(cls.model_fields))):
            if _LOOKS_LIKE_A_KEY_FIELD.search(name):
                raise ConfigError(
                    f"{name!r} is not a field of an endpoint: put the key into an environment variable and give the "
                    "variable's name as api_key_env."
                )
        body = given.get("extra_body")
        if isinstance(body, dict) and isinstance(body.get("stream"), bool) and "stream" not in given:
            rest = {name: value for name, value in body.items() if name != "stream"}
            return {**given, "extra_body": rest, "stream": body["stream"]}  # not in extra_body: it changes no answer
        return given

    @field_validator("base_url")
    @classmethod
    def _http_url(cls, url: str) -> str:
        try:
            parts = urlsplit(url.strip())
            host, has_credentials = parts.hostname, "@" in parts.netloc
            _ = parts.port  # raises ValueError if it is no number
        except ValueError:
            raise ConfigError("base_url is not a URL.") from None
        if has_credentials:
            raise ConfigError(
                "base_url holds a user name or a password: name the key's variable as api_key_env instead."
            )
        if parts.query or parts.fragment:
            azure = "; Azure takes the part up to /openai/v1" if (host or "").endswith(AZURE) else ""
            raise ConfigError(f"base_url holds a query or a fragment: give the part before the '?' or the '#'{azure}.")
        if parts.scheme not in {"http", "https"} or not host:
            bare = _HOST.fullmatch(url.strip().strip("'\""))
            suggestion = bare and f"{'https' if bare['name'] else 'http'}://{bare[0]}"
            raise ConfigError(
                "base_url must be an http:// or https:// URL with a host, "
                + (f"probably {suggestion}." if suggestion else "such as https://api.openai.com/v1.")
            )
        if any(char.isspace() or not char.isprintable() for char in url.strip()) or host in {"http", "https"}:
            raise ConfigError("base_url is not one URL: it holds a space, an invisible character or a second http://.")
        path = parts.path.rstrip("/")
        if api_path := next((end for end in _API_PATHS if path.endswith(end)), ""):
            raise ConfigError(f"base_url ends in {api_path}: give the part before it.")
        return f"{parts.scheme}://{parts.netloc.lower()}{path}"

    @field_validator("api_key_env")
    @classmethod
    def _variable_name(cls, name: str | None) -> str | None:
        if name and not _VARIABLE.fullmatch(name):
            raise ConfigError(
                "api_key_env must be the name of an environment variable, in capital letters, such as OPENAI_API_KEY; "
                "its value is not shown here, as it may be the key itself."
            )
        return name or None

    @field_validator("extra_body")
    @classmethod
    def _reject_reserved_fields(cls, body: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name in sorted(_RESERVED_FIELDS & set(body)):
            raise ConfigError(f"extra_body cannot set {name!r}: it is set by the job.")
        if _CREDENTIAL.search(" ".join(_names(body))):
            raise ConfigError("extra_body holds what looks like a key: give the key's variable as api_key_env instead.")
        return body

    @field_validator("reasoning")
    @classmethod
    def _known_to_the_provider(cls, reasoning: Reasoning | None, info: ValidationInfo) -> Reasoning | None:
        if reasoning is not None and (base_url := info.data.get("base_url")):
            reasoning.request_fields(base_url)
        return reasoning

    @property
    def label(self) -> str:
        """Model and host, for messages to the user."""
        return f"{self.model} at {urlsplit(self.base_url).netloc}"

    @property
    def answering(self) -> dict[str, Any]:
        """The settings that can change an answer."""
        names = {"base_url", "model", "temperature", "max_tokens", "extra_body"}
        if self.reasoning is not None:  # jobs of earlier releases keep their hash
            names.add("reasoning")
        return self.model_dump(mode="json", include=names)

    @property
    def is_loopback(self) -> bool:
        """Whether the endpoint is on this machine."""
        return is_loopback(self.base_url)

    @property
    def is_demo(self) -> bool:
        """Whether this is the local demo endpoint, the only one that receives the stage and facts of a request."""
        return self.model == DEMO_MODEL and self.is_loopback

    def api_key(self) -> SecretStr:
        """The API key, read from the environment of this process.

        An endpoint on this machine needs no key, but uses one if the variable is set.

        Returns:
            The key; empty if the endpoint needs none.

        Raises:
            ConfigError: The variable is not set, is empty, or holds an invalid character.
        """
        key = os.environ.get(self.api_key_env, "").strip() if self.api_key_env else ""
        if not key and self.api_key_env and not self.is_loopback:
            raise ConfigError(
                f"The environment variable {self.api_key_env} is not set: it holds the key for {self.label}."
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"the environment variable {self.api_key_env} holds a character that no key has, such as a line break; "
                "its value is not shown here."
            )
        return SecretStr(key)

    @property
    def _reasoning_fields(self) -> Fields:
        return {} if self.reasoning is None else self.reasoning.request_fields(self.base_url)

    def sampling(self, request: ChatRequest) -> dict[str, JsonValue]:
        """Sampling fields of the request body: the request's own settings, then the endpoint's defaults.

        Both the transport and the cache key use this.
        """
        fields: dict[str, JsonValue] = _merged(self._reasoning_fields, self.extra_body)
        temperature = self.temperature if request.temperature is None else request.temperature
        max_tokens = self.max_tokens if request.max_tokens is None else request.max_tokens
        if temperature is not None:
            fields["temperature"] = float(temperature)
        if max_tokens is not None:
            fields["max_tokens"] = max_tokens
        if (required := request.reply_schema) is not None:
            schema: dict[str, JsonValue] = {"name": required.name, "strict": True, "schema": dict(required.schema)}
            fields["response_format"] = {"type": "json_schema", "json_schema": schema}
        return fields


def _merged(fields: Fields, over: Mapping[str, JsonValue]) -> Fields:
    """Fields with others over them; nested objects are merged."""
    merged = dict(fields)
    for name, value in over.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _names(value: JsonValue) -> Iterator[str]:
    """Names of all fields in a JSON value, nested ones included."""
    if isinstance(value, dict):
        yield from value
        for inner in value.values():
            yield from _names(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _names(inner)


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
