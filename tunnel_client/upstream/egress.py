"""Which addresses the client connects to, by the address itself and never by how it was written.

A name is looked up once; every answer is judged; the connection goes to an address that was
judged, and whoever answered it is compared with that address once more.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_METADATA = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("169.254.0.0/16", "fe80::/10"),  # link-local: where most clouds keep theirs
        *("fd00:ec2::/32", "fd20:ce::254/128"),  # AWS, Google
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),  # Alibaba, Azure, Oracle
    )
)
"""They hand out the machine's own credentials to whoever asks from it."""
_NAT64 = tuple(ipaddress.ip_network(each) for each in ("64:ff9b::/96", "64:ff9b:1::/48"))


class EgressError(OSError):
    """An address is not one to connect to; the message does not name it."""


@dataclass(frozen=True, slots=True)
class Egress:
    """Networks an upstream may be in; empty: any address but those of metadata services."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[object]) -> "Egress":
        """Make one of networks as they stand in the configuration."""
        return cls(tuple(ipaddress.ip_network(str(each)) for each in networks))

    def refusal(self, text: str) -> str | None:
        """Say why an address is not connected to, None when it may be; total."""
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return "not an address"
        meant = _meanings(address)
        if self.networks:
            inside = all(any(each in network for network in self.networks) for each in meant)
            return None if inside else "the upstream's address is not in its networks"
        if any(each in network for each in meant for network in _METADATA):
            return "the upstream's address is one of a metadata service"
        if any(each.is_unspecified or each.is_multicast for each in meant):
            return "the upstream's address is not one machine's"
        return None

    def check(self, text: str) -> None:
        """Raise EgressError unless an address may be connected to."""
        refused = self.refusal(text)
        if refused is not None:
            raise EgressError(refused)


def _meanings(address: Address) -> list[Address]:
    """Return an address and the IPv4 addresses that it stands for."""
    meant: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            meant = [address.ipv4_mapped]  # the same machine in other words
        elif any(address in network for network in _NAT64):
            meant.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        elif address.sixtofour is not None:
            meant.append(address.sixtofour)
        elif address.teredo is not None:
            meant += address.teredo
    return meant


async def look_up(host: str, port: int, egress: Egress) -> list[str]:
    """Return the addresses of a host, judged, each once; raises OSError and EgressError.

    One answer that is refused refuses them all: a name that also leads elsewhere is not trusted.
    """
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = []
    for family, _, _, _, place in found:
        text = str(place[0])
        if family == socket.AF_INET6 and len(place) == 4 and place[3] and "%" not in text:
            text = f"{text}%{place[3]}"
        addresses.append(text)
    for address in addresses:
        egress.check(address)
    return list(dict.fromkeys(addresses))


def same_place(address: str, peer: object) -> bool:
    """Tell whether a socket's peer is the address that was judged; total."""
    try:
        judged = ipaddress.ip_address(address.partition("%")[0])
        reached = ipaddress.ip_address(str(peer[0]).partition("%")[0])  # type: ignore[index]
    except (ValueError, TypeError, IndexError):
        return False
    return _meanings(judged)[0] == _meanings(reached)[0]
