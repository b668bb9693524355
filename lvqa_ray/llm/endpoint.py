"""Endpoint settings: URL, model, limits and prices of one OpenAI-compatible API."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Annotated, Any, Self
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
from lvqa_ray.llm.credentials import holds_credential
from lvqa_ray.llm.endpoint_url import checked_base_url, is_loopback
from lvqa_ray.llm.messages import ChatRequest
from lvqa_ray.llm.price_tiers import BATCH_CHAT_TIMEOUT_S, Tier, check_host, url_of_tier
from lvqa_ray.llm.reasoning import Fields, Reasoning

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_LOOKS_LIKE_A_KEY_FIELD = re.compile(r"key|token|secret|password", re.IGNORECASE)
BACKOFF_BASE_S, BACKOFF_CAP_S = 0.5, 60.0
"""Defaults of exponential backoff."""
DEMO_MODEL = "lvqa-demo-no-vlm"
"""The model of the demo endpoint (`lvqa demo`)."""
CACHE_KEY = "prompt_cache_key"
_KNOW_CACHE_KEYS = frozenset({"api.openai.com", "api.mistral.ai"})
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
    price_cached: float | None = Field(
        default=None,
        ge=0,
        description="Price in US dollars per million prompt tokens that the endpoint reads from its prompt cache; null "
        "for the published price, or for price_in if that is set.",
    )
    price_cache_write: float | None = Field(
        default=None,
        ge=0,
        description="Price in US dollars per million prompt tokens that the endpoint writes to its prompt cache, where "
        "it bills them apart; null as for price_cached.",
    )
    price_minute: float | None = Field(
        default=None,
        ge=0,
        description="Price in US dollars per minute of audio, for speech-to-text; null for the published price.",
    )
    tier: Tier = Field(
        default="standard",
        description="Price tier: standard; flex (service_tier of OpenAI and Gemini: half the price, slower, sometimes "
        "refused); batch_chat (DashScope's batch host); batch (files of requests, answered within hours). It is not "
        "part of the cache key.",
    )
    fallback_after_min: float | None = Field(
        default=None,
        ge=0,
        description="Minutes after which a request that waits for capacity goes to the standard tier; null for never.",
    )
    batch_hours: float = Field(
        default=24.0,
        gt=0,
        description="tier batch: hours after which a batch that has not ended is cancelled; what it did not answer "
        "goes into another one.",
    )
    batch_requests: int = Field(default=50_000, ge=1, le=50_000, description="tier batch: most requests of one file.")
    batch_mb: float = Field(default=100.0, gt=0, le=200, description="tier batch: most megabytes of one file.")
    batch_wait_s: float = Field(default=600.0, ge=0, description="tier batch: longest time to fill one file (s).")
    batch_poll_s: float = Field(default=30.0, gt=0, description="tier batch: interval of the status requests (s).")

    leader_first: bool | None = Field(
        default=None,
        description="Whether the first request about a video goes alone and the others follow when it is answered, to "
        "find the captions in the endpoint's prompt cache; null for where that costs less. Never on tier batch.",
    )
    prompt_cache_key: bool | None = Field(
        default=None,
        description="Whether requests name their shared prefix (prompt_cache_key); null for OpenAI and Mistral only.",
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
        return checked_base_url(url)

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
        if holds_credential(body):
            raise ConfigError("extra_body holds what looks like a key: give the key's variable as api_key_env instead.")
        return body

    @model_validator(mode="after")
    def _tier_is_possible(self) -> Self:
        if self.tier != "standard" and "service_tier" in self.extra_body:
            raise ConfigError("extra_body sets service_tier, and tier too: keep one of them, best tier.")
        if self.tier == "batch" and self.stream:
            raise ConfigError("tier batch has no streamed replies: remove stream.")
        if not self.is_loopback:
            check_host(self.base_url, self.tier)
        return self

    @property
    def tier_url(self) -> str:
        """Base URL of requests on the endpoint's own tier; ``base_url`` stays the one in cache keys and prices."""
        return url_of_tier(self.base_url, self.tier)

    @property
    def is_served(self) -> bool:
        """Whether the run starts the model itself, see `lvqa_ray.llm.engines.served_endpoint`."""
        return False

    @property
    def server(self) -> str:
        """What receives the requests, for limits that several roles share."""
        return self.base_url

    @property
    def attempt_timeout_s(self) -> float:
        """Timeout of one attempt (s): ``timeout_s``, or the tier's own if that is not set."""
        own = self.tier == "batch_chat" and "timeout_s" not in self.model_fields_set
        return BATCH_CHAT_TIMEOUT_S if own else self.timeout_s

    @property
    def sends_cache_key(self) -> bool:
        """Whether requests with a shared prefix carry ``prompt_cache_key``."""
        if self.prompt_cache_key is not None:
            return self.prompt_cache_key
        known = urlsplit(self.base_url).hostname in _KNOW_CACHE_KEYS
        return self.tier != "batch" and known and CACHE_KEY not in self.extra_body

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
