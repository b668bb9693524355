"""Check of an endpoint's base URL."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from lvqa_ray.errors import ConfigError

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


def checked_base_url(url: str) -> str:
    """A base URL in its normal form: lower-case host, no slash at the end.

    Raises:
        ConfigError: It is no URL of an API; the message does not quote it, since it may hold a secret.
    """
    try:
        parts = urlsplit(url.strip())
        host, has_credentials = parts.hostname, "@" in parts.netloc
        _ = parts.port  # raises ValueError if it is no number
    except ValueError:
        raise ConfigError("base_url is not a URL.") from None
    if has_credentials:
        raise ConfigError("base_url holds a user name or a password: name the key's variable as api_key_env instead.")
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


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
