"""SSRF check: which network addresses a client's URL may connect to, checked at each connection.

A check of the host name would not suffice: it may resolve to another address later (DNS rebinding), a server may
redirect, and an address can be written in many ways. So aiohttp's socket factory checks the resolved address of each
socket just before it is opened.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # not loaded without downloads
    import aiohttp

NAT64 = ip_network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """The address is not public."""

    def __init__(self) -> None:
        super().__init__("the address is not one of the public network")  # one text for all addresses of a host


@dataclass(frozen=True, slots=True)
class SsrfGuard:
    """Allows connections to public addresses, and to listed networks.

    Attributes:
        networks: Private networks to allow, such as ``10.0.0.0/8``.
    """

    networks: tuple[str, ...] = ()

    def refuses(self, address: str) -> bool:
        """Whether connections to an address are refused.

        Args:
            address: An IPv4 or IPv6 address, as the resolver gives it.
        """
        found = ip_address(address.partition("%")[0])
        if any(found in ip_network(network) for network in self.networks):
            return False
        target = _embedded_ipv4(found)
        if target != found:
            return self.refuses(str(target))
        return not found.is_global or found.is_multicast or found.is_reserved or found.is_unspecified

    async def client(self, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - passed on to aiohttp
        """An aiohttp session that connects only to allowed addresses, also after a redirect, and uses no proxy."""
        import aiohttp  # noqa: PLC0415 - as above

        connector = aiohttp.TCPConnector(socket_factory=self._socket)
        return aiohttp.ClientSession(connector=connector, trust_env=False, **options)

    def _socket(self, found: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = found
        if self.refuses(address[0]):
            raise ForbiddenAddressError
        return socket.socket(family=family, type=kind, proto=protocol)


def _embedded_ipv4(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address embedded in an IPv6 one (NAT64, mapped, 6to4, Teredo); else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
