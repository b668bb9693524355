"""Proxy settings of the environment: the proxy for a URL, and the variable that sets it.

The rules are those common to curl, requests and Go: ``http_proxy``, ``https_proxy`` and ``all_proxy`` in lower case go
before upper case, and ``no_proxy`` lists hosts that are contacted directly. Only the variable that applies to a URL is
read, so an invalid one does not affect hosts in NO_PROXY. A value may hold a password, so no message quotes one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from lvqa_ray.errors import ConfigError

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUOTABLE = re.compile(r"socks\w*|ftp|tcp|udp|wss?|ssh|quic|file", re.IGNORECASE)
"""Schemes that a message may quote; any other word there may be part of a password."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the environment variable that names it.

    Attributes:
        url: Its URL, with user name and password if given.
        variable: Name of the variable.
    """

    url: str = field(repr=False)
    variable: str


def proxy_for(url: str, environ: Mapping[str, str] = os.environ) -> Proxy | None:
    """The proxy for a URL; ``None`` for a direct connection.

    Args:
        url: An http or https URL. This machine itself is always contacted directly.
        environ: The environment.

    Raises:
        ConfigError: The variable that applies holds no valid proxy.
    """
    parts = urlsplit(url)
    host, scheme = (parts.hostname or "").rstrip("."), parts.scheme.lower()
    if not host or _is_this_machine(host) or _is_in_no_proxy(host, parts.port or _PORTS.get(scheme), environ):
        return None
    for name in (f"{scheme}_proxy", "all_proxy"):
        variable = next((each for each in (name, name.upper()) if each in environ), "")
        if value := environ.get(variable, "").strip():
            return Proxy(_checked(value, variable, host), variable)
    return None


def _checked(value: str, variable: str, host: str) -> str:
    """The URL of a proxy, completed with its scheme.

    Raises:
        ConfigError: It is no URL of an HTTP proxy.
    """
    advice = f"write http://HOST:PORT, or add {host} to NO_PROXY"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port
    except ValueError:
        raise ConfigError(
            f"the environment variable {variable} holds no URL of a proxy (a character of a password such as '/', '#' "
            f"or '?' must be percent-encoded): {advice}."
        ) from None
    if parts.scheme.lower() not in _PORTS:
        raise ConfigError(_wrong_scheme(parts, variable, advice))
    if not parts.hostname or any(char.isspace() or not char.isprintable() for char in value):
        raise ConfigError(f"the environment variable {variable} holds no URL of a proxy with a host: {advice}.")
    if not port:
        raise ConfigError(f"the environment variable {variable} names a proxy without a port: {advice}.")
    return f"{parts.scheme.lower()}://{parts.netloc}"


def _wrong_scheme(parts: SplitResult, variable: str, advice: str) -> str:
    if parts.scheme.lower().startswith("socks"):
        return (
            f"the environment variable {variable} names a SOCKS proxy ({parts.scheme}://), and only HTTP proxies are "
            f"supported: set {'HTTPS_PROXY and HTTP_PROXY' if 'all' in variable.lower() else 'it'} to the HTTP port of "
            f"the proxy, or {advice.partition(', or ')[2]}."
        )
    known = f" ({parts.scheme}://)" if _QUOTABLE.fullmatch(parts.scheme) else ""
    return f"the environment variable {variable} names a proxy of a scheme that is not http or https{known}: {advice}."


def _is_in_no_proxy(host: str, port: int | None, environ: Mapping[str, str]) -> bool:
    """Whether NO_PROXY covers a host."""
    listed = environ.get("no_proxy", environ.get("NO_PROXY", ""))
    return any(_matches(entry, host, port) for entry in re.split(r"[,;\s]+", listed.lower()) if entry)


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of NO_PROXY covers a host.

    An entry is ``*``, a domain (which covers its subdomains, with or without ``.`` or ``*.`` in front), an address, a
    network as CIDR, or a pattern with ``*``; each but a network may end in a port.
    """
    if entry == "*":
        return True
    entry = entry.partition("://")[2] if "://" in entry else entry
    address = _address(host)
    try:
        if "/" in entry:
            network = ip_network(entry.replace("[", "").replace("]", ""), strict=False)
            return address is not None and address in network
    except ValueError:
        entry = entry.partition("/")[0]  # a URL with a path
    name, wanted = _parted(entry)
    if wanted and wanted != str(port or ""):
        return False
    if (listed := _address(name)) is not None or address is not None:
        return listed == address or (address is not None and "*" in name and fnmatchcase(host, name))
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}") or ("*" in name and fnmatchcase(host, name)))


def _parted(entry: str) -> tuple[str, str]:
    """Host and port of an entry; the port is empty if there is none."""
    if entry.startswith("["):
        name, _, behind = entry[1:].partition("]")
        return name, behind.removeprefix(":")
    if entry.count(":") > 1:  # an IPv6 address without brackets
        return entry, ""
    name, _, port = entry.partition(":")
    return name, port


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _is_this_machine(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost" or host.endswith(".localhost")
