"""Token counts of a reply: parser of the usage object of OpenAI-compatible, Anthropic-shaped and other endpoints.

Fields as documented on 29 November 2026; ``details`` are ``prompt_tokens_details`` and ``completion_tokens_details``:

- OpenAI, Azure, xAI, DashScope (Qwen), Gemini's compatible API, vLLM (with ``--enable-prompt-tokens-details``), SGLang
  (with ``--enable-cache-report``): ``details.cached_tokens``, counted inside ``prompt_tokens``.
- DashScope's explicit cache: ``details.cache_creation_input_tokens``; OpenRouter: ``details.cache_write_tokens``;
  LiteLLM: ``details.cache_creation_tokens``; all inside ``prompt_tokens``.
- DeepSeek: ``prompt_cache_hit_tokens``, inside ``prompt_tokens``. Moonshot: ``cached_tokens`` beside ``prompt_tokens``
  at the top level, counted inside it.
- Anthropic: ``cache_read_input_tokens`` and ``cache_creation_input_tokens``, which ``input_tokens`` does not include.
  Gateways that translate it keep these names, and some add them to ``prompt_tokens`` (LiteLLM) and some do not.
- Reasoning: ``details.reasoning_tokens``, inside ``completion_tokens`` (OpenAI, DeepSeek, DashScope, vLLM) or outside
  (xAI, Gemini), which ``total_tokens`` shows.

docs/cost-and-speed.md gives the sources.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lvqa_ray.records import Usage

_READ = ("cached_tokens", "cache_read_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens")
_WRITTEN = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens", "created_cache_tokens")
_REASONED = ("reasoning_tokens",)


def usage_of(answer: Mapping[str, Any]) -> Usage | None:
    """Token counts of a reply, without its cost; ``None`` if it has no usage object.

    Nulls, missing fields and values that are no counts are ignored: an endpoint that reports no cache has ``None`` as
    its count, not 0. Prompt tokens include the cached ones, and completion tokens the reasoning, as in most APIs.
    """
    counts = answer.get("usage")
    if not isinstance(counts, Mapping):
        return None
    prompt, completion = _first([counts], "prompt_tokens"), _first([counts], "completion_tokens")
    tokens_in = _first([counts], "input_tokens") if prompt is None else prompt
    tokens_out = _first([counts], "output_tokens") if completion is None else completion
    tokens_in, tokens_out = tokens_in or 0, tokens_out or 0
    total = _first([counts], "total_tokens")
    inputs = [*_details(counts, "prompt_tokens_details", "input_tokens_details"), counts]
    read, written = _first(inputs, *_READ), _first(inputs, *_WRITTEN)
    reasoned = _first([*_details(counts, "completion_tokens_details", "output_tokens_details"), counts], *_REASONED)
    from_cache = (read or 0) + (written or 0)
    complete = total is not None and total == tokens_in + tokens_out
    anthropic = prompt is None and len(inputs) == 1 and not complete  # native names, and no object with details
    if from_cache and (anthropic or from_cache > tokens_in or total == tokens_in + tokens_out + from_cache):
        tokens_in += from_cache
    if total is not None and (hidden := total - tokens_in - tokens_out) > 0:  # billed as completion tokens
        reasoned = max(reasoned or 0, hidden)
        tokens_out += hidden
    if reasoned is not None:
        reasoned = min(reasoned, tokens_out)
    return Usage(
        calls=1,
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=reasoned,
    )


def _details(counts: Mapping[str, Any], *names: str) -> Iterator[Mapping[str, Any]]:
    for name in names:
        if isinstance(found := counts.get(name), Mapping):
            yield found


def _first(places: list[Mapping[str, Any]], *names: str) -> int | None:
    """The greatest count under any of these names; ``None`` if there is none."""
    return max(
        (count for place in places for name in names if (count := _count(place.get(name))) is not None), default=None
    )


def _count(value: object) -> int | None:
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == value // 1
    return int(value) if whole else None  # type: ignore[call-overload]
