"""Reasoning settings of an endpoint, and the request parameters that each provider has for them.

The provider is recognized by the host of the base URL; any other host is taken for vLLM, SGLang or a server like them.
The table with the parameters, their sources and dates is in ``docs/endpoints.md``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Fields = dict[str, JsonValue]


class Reasoning(BaseModel):
    """How much a reasoning model thinks before it answers; exactly one field is set."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    effort: Effort | None = Field(
        default=None, description="Reasoning effort, for providers that take one; which levels a model knows differs."
    )
    budget_tokens: int | None = Field(
        default=None, ge=1, description="Maximum tokens of thinking, for providers that take a budget."
    )
    off: bool = Field(default=False, description="Turn thinking off, for models that can answer without.")

    @model_validator(mode="before")
    @classmethod
    def _yaml_off(cls, given: object) -> object:
        """Accept ``reasoning: off``, which YAML reads as false."""
        return {"off": True} if given is False or given == "off" else given

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.effort is not None) + (self.budget_tokens is not None) + self.off != 1:
            raise ValueError("set one of effort, budget_tokens and off")
        return self

    def request_fields(self, base_url: str) -> Fields:
        """Fields of the request body for the provider at a base URL.

        Raises:
            ValueError: The provider has no such parameter; one sentence with what it takes.
        """
        host = urlsplit(base_url).hostname or ""
        return next((make for end, make in _PROVIDERS.items() if host == end or host.endswith(f".{end}")), _server)(
            self
        )


def streams_thoughts(base_url: str, reasoning: Reasoning | None) -> bool:
    """Whether a provider may return thoughts in streamed replies only, for the settings given."""
    host = urlsplit(base_url).hostname or ""
    return reasoning is not None and not reasoning.off and host.endswith(_STREAMED)


_STREAMED = (".aliyuncs.com", ".modelscope.cn")


def _openai(asked: Reasoning) -> Fields:
    if asked.budget_tokens is not None:
        raise ValueError("OpenAI takes no budget_tokens: set effort, and limit the reply by max_tokens")
    return {"reasoning_effort": asked.effort or "none"}


def _dashscope(asked: Reasoning) -> Fields:
    if asked.effort is not None:
        raise ValueError("DashScope and ModelScope take no effort: set budget_tokens or off")
    if asked.off:
        return {"enable_thinking": False}
    return {"enable_thinking": True, "thinking_budget": asked.budget_tokens}


def _deepseek(asked: Reasoning) -> Fields:
    if asked.budget_tokens is not None:
        raise ValueError("DeepSeek takes no budget_tokens: set effort, and limit the reply by max_tokens")
    if asked.off or asked.effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled"}, "reasoning_effort": asked.effort}


def _gemini(asked: Reasoning) -> Fields:
    if asked.off or asked.effort == "none":
        return {"reasoning_effort": "none"}
    config: Fields = {"include_thoughts": True}
    if asked.budget_tokens is not None:
        config["thinking_budget"] = asked.budget_tokens
    else:  # reasoning_effort and thinking_config exclude each other, and only the latter asks for thoughts
        config["thinking_level"] = asked.effort
    return {"extra_body": {"google": {"thinking_config": config}}}


def _openrouter(asked: Reasoning) -> Fields:
    if asked.budget_tokens is not None:
        return {"reasoning": {"max_tokens": asked.budget_tokens}}
    return {"reasoning": {"effort": asked.effort or "none"}}


def _anthropic(asked: Reasoning) -> Fields:
    if asked.effort is not None:
        raise ValueError("Anthropic's compatible endpoint takes no effort: set budget_tokens or off")
    if asked.off:
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled", "budget_tokens": asked.budget_tokens}}


def _mistral(asked: Reasoning) -> Fields:
    if asked.budget_tokens is not None:
        raise ValueError("Mistral takes no budget_tokens: set effort, and limit the reply by max_tokens")
    return {"reasoning_effort": asked.effort or "none"}


def _server(asked: Reasoning) -> Fields:
    """Parameters of vLLM and SGLang; templates ignore the arguments that they do not know."""
    thinks = not asked.off and asked.effort != "none"
    fields: Fields = {"chat_template_kwargs": {"enable_thinking": thinks, "thinking": thinks}}
    if asked.budget_tokens is not None:
        fields["thinking_token_budget"] = asked.budget_tokens
        fields["chat_template_kwargs"] = {
            "enable_thinking": True,
            "thinking": True,
            "thinking_budget": asked.budget_tokens,
        }
    elif thinks:
        fields["reasoning_effort"] = asked.effort
    return fields


_PROVIDERS: Mapping[str, Callable[[Reasoning], Fields]] = {
    "api.openai.com": _openai,
    "openai.azure.com": _openai,
    "services.ai.azure.com": _openai,
    "aliyuncs.com": _dashscope,
    "modelscope.cn": _dashscope,
    "api.deepseek.com": _deepseek,
    "generativelanguage.googleapis.com": _gemini,
    "openrouter.ai": _openrouter,
    "api.anthropic.com": _anthropic,
    "api.mistral.ai": _mistral,
}
"""Providers by the end of their host names."""
