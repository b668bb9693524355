"""Price tiers of endpoints, and the host of DashScope's Batch Chat."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from lvqa_ray.errors import ConfigError

Tier = Literal["standard", "flex", "batch_chat", "batch"]
"""Price tiers of endpoints; docs/endpoints.md tells which provider has which."""
BATCH_CHAT_TIMEOUT_S = 3600.0
"""How long DashScope keeps a request of Batch Chat waiting, at most and by default (s)."""
_BATCH_CHAT_HOSTS = {"dashscope.aliyuncs.com": "batch.dashscope.aliyuncs.com"}


def url_of_tier(base_url: str, tier: Tier) -> str:
    """Base URL of requests on a tier of an endpoint."""
    parts = urlsplit(base_url)
    if tier != "batch_chat" or parts.hostname not in _BATCH_CHAT_HOSTS:
        return base_url
    return parts._replace(netloc=_BATCH_CHAT_HOSTS[parts.hostname]).geturl()


def check_host(base_url: str, tier: Tier) -> None:
    """Refuse Batch Chat for a host that does not offer it.

    Raises:
        ConfigError: Names the host.
    """
    host = urlsplit(base_url).hostname or ""
    if tier == "batch_chat" and host not in {*_BATCH_CHAT_HOSTS, *_BATCH_CHAT_HOSTS.values()}:
        raise ConfigError(
            f"tier batch_chat is not offered by {host}: only DashScope's {', '.join(_BATCH_CHAT_HOSTS)} has it."
        )
