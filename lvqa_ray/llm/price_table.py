"""Price table of providers that genai-prices lacks, read from ``dashscope_prices.toml``, which gives its sources."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

TABLE = "dashscope_prices.toml"
_SNAPSHOT = re.compile(r"-(?:latest|\d{4}-\d{2}-\d{2})$")
"""A model's dated snapshots and its alias ``-latest`` cost what the model itself does."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices in US dollars per million tokens.

    Attributes:
        input: Prompt tokens.
        output: Reply tokens.
        cached: Prompt tokens read from the endpoint's prompt cache.
        cache_write: Prompt tokens written to it.
        thinking: Reply tokens of a reply that reasoned.
        source: Where the prices come from, with version or date.
    """

    input: float
    output: float
    cached: float
    cache_write: float
    thinking: float
    source: str


def table_rates(model: str, base_url: str, prompt_tokens: int) -> Rates | None:
    """Prices in the table for a prompt of this length; ``None`` if the table lacks the model.

    Args:
        model: Name of the model at the endpoint.
        base_url: URL of the endpoint; prices differ between regions.
        prompt_tokens: Length of the prompt, which selects the price of all tokens of the request.
    """
    table = _table()
    host = urlsplit(base_url).hostname or ""
    models = table["hosts"].get(table["aliases"].get(host, host), {})
    steps = models.get(model) or models.get(_SNAPSHOT.sub("", model))
    if steps is None:
        return None
    step = next(step for step in steps if prompt_tokens <= step.get("up_to", prompt_tokens))
    return Rates(
        input=step["input"],
        output=step["output"],
        cached=step.get("cached", table["cached"]) * step["input"],
        cache_write=table["cache_write"] * step["input"],
        thinking=step.get("thinking", step["output"]),
        source=f"{TABLE} of {table['as_of']}",
    )


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(files("lvqa_ray.llm").joinpath(TABLE).read_text(encoding="utf-8"))
