"""Which addresses of a network a stranger's URL may lead to, checked where the connection is made.

A check of the name alone would be worth nothing: the name may mean another address a moment later, a server may
redirect, and an address can be written in many ways. So the address of each socket is looked at before it is opened,
by the hook that aiohttp has for making sockets; what is checked is what is connected to.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # who fetches nothing need not load it
    import aiohttp

NAT64 = ip_network("64:ff9b::/96")


class ForbiddenAddressError(OSError):
    """The address is none of the public network."""

    def __init__(self) -> None:
        super().__init__("the address is not one of the public network")  # the same for all of a host's


@dataclass(frozen=True, slots=True)
class SsrfGuard:
    """Lets connections to the public network pass, and to networks that are named.

    Attributes:
        networks: Networks that may be connected to although they are private, such as ``10.0.0.0/8``.
    """

    networks: tuple[str, ...] = ()

    def refuses(self, address: str) -> bool:
        """Whether an address may not be connected to.

        Args:
            address: An IPv4 or IPv6 address, as the resolver gives it.
        """
        found = ip_address(address.partition("%")[0])
        if any(found in ip_network(network) for network in self.networks):
            return False
        meant = _meant(found)
        if meant != found:
            return self.refuses(str(meant))
        return not found.is_global or found.is_multicast or found.is_reserved or found.is_unspecified

    async def client(self, **options: Any) -> aiohttp.ClientSession:  # noqa: ANN401 - as aiohttp takes them
        """A client that connects nowhere else, also after a redirect; no proxy connects for it."""
        import aiohttp  # noqa: PLC0415 - as above

        connector = aiohttp.TCPConnector(socket_factory=self._socket)
        return aiohttp.ClientSession(connector=connector, trust_env=False, **options)

    def _socket(self, found: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = found
        if self.refuses(address[0]):
            raise ForbiddenAddressError
        return socket.socket(family=family, type=kind, proto=protocol)


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 one leads to, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo[1] if address.teredo else None
    return address.ipv4_mapped or address.sixtofour or teredo or address
