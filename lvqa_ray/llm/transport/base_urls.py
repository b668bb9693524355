"""Suggestions for a wrong base URL: other spellings, and which of them answers with a list of models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from pydantic import SecretStr

from lvqa_ray.errors import ApiError, AuthFailed, ConfigError
from lvqa_ray.llm.endpoint import Endpoint
from lvqa_ray.llm.endpoint_url import AZURE
from lvqa_ray.llm.transport.chat_completions import OpenAITransport

BASE_URL_TIMEOUT_S = 10.0
_KNOWN = {
    "generativelanguage.googleapis.com": "/v1beta/openai",
    "dashscope.aliyuncs.com": "/compatible-mode/v1",
    "dashscope-intl.aliyuncs.com": "/compatible-mode/v1",
    "openrouter.ai": "/api/v1",
    "api.groq.com": "/openai/v1",
    "api.fireworks.ai": "/inference/v1",
    "open.bigmodel.cn": "/api/paas/v4",
    "ark.cn-beijing.volces.com": "/api/v3",
}
"""Paths from the vendors' own documentation."""
_VERSION = re.compile(r"/v\d+\w*(/openai)?$")


def alternatives(url: str) -> Iterator[str]:
    """Other base URLs of the same host that may have been meant, the most likely first."""
    parts = urlsplit(url)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    found = []
    if known := _KNOWN.get(parts.hostname or "") or ("/openai/v1" if (parts.hostname or "").endswith(AZURE) else ""):
        found.append(origin + known)
    if not _VERSION.search(path):
        found.append(f"{url.rstrip('/')}/v1")
    above = path
    while above := above.rpartition("/")[0]:
        found.append(origin + above)
    found += [f"{origin}{other}" for other in ("/v1", "/api/v1", "/openai/v1", "")]
    other_scheme = f"{'http' if parts.scheme == 'https' else 'https'}://{parts.netloc}"
    found += [f"{other_scheme}{path}", f"{other_scheme}{path}/v1"]
    yield from (each for each in dict.fromkeys(found) if each != url)


async def likely_base_url(endpoint: Endpoint, key: SecretStr) -> str:
    """The most likely alternative that answers as an endpoint does; empty if none does. Costs nothing.

    Args:
        endpoint: The endpoint with the doubtful base URL.
        key: Its key; not sent over http if the base URL is https.
    """
    urls = list(alternatives(endpoint.base_url))
    answers = await asyncio.gather(*(_speaks(endpoint, url, key) for url in urls))
    for wanted in (2, 1):
        for url, answer in zip(urls, answers, strict=True):
            if answer == wanted:
                return url
    return ""


async def _speaks(endpoint: Endpoint, url: str, key: SecretStr) -> int:
    """2 for a list of models, 1 for a versioned path that asks for a key, 0 for anything else."""
    exposed = endpoint.base_url.startswith("https:") and url.startswith("http:")
    try:
        other = endpoint.model_copy(update={"base_url": url})
        transport = OpenAITransport(other, SecretStr("") if exposed else key)
    except (ConfigError, ValueError):
        return 0
    try:
        async with asyncio.timeout(BASE_URL_TIMEOUT_S):
            await transport.list_models()
    except AuthFailed:
        return 1 if _VERSION.search(url) else 0
    except (ApiError, TimeoutError):
        return 0
    finally:
        await transport.aclose()
    return 2
