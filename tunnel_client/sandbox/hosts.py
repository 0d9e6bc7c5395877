"""Which places a sandboxed program may reach, and which addresses never count as one; pure."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)(\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
_LOOKS_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Host:
    """One place: a name in lower case, or the text of an address, and a port."""

    name: str
    port: int

    @property
    def address(self) -> Address | None:
        """The address, when it is one and not a name."""
        try:
            return ipaddress.ip_address(self.name)
        except ValueError:
            return None


def parse_host(text: str) -> Host:
    """Read `name:port`, `a.b.c.d:port` or `[v6]:port`; raises ValueError for anything else.

    Spellings that another reader would take for an address (`127.1`, `0x7f000001`) are refused.
    """
    name, _, port = text.rpartition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65_535:
        raise ValueError('a host is "name:port", as in "api.example.com:443"')
    if name.startswith("[") and name.endswith("]") and "%" not in name:
        return Host(str(ipaddress.IPv6Address(name[1:-1])), int(port))
    name = name.lower()
    try:
        return Host(str(ipaddress.IPv4Address(name)), int(port))
    except ValueError:
        pass
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise ValueError("not a host name, and not an address")
    if _LOOKS_NUMERIC.fullmatch(name.rpartition(".")[2]):
        raise ValueError("write an IPv4 address as four decimal numbers")
    return Host(name, int(port))


def is_public(address: Address) -> bool:
    """Tell whether an address is one of the public internet's, whatever it is wrapped in."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
        if address.is_site_local:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def allowed_addresses(host: Host, found: Iterable[str]) -> list[Address]:
    """Return those of a listed host's addresses that may be dialled, in their order.

    A name must lead to the public internet; a private address may only be listed as an address.
    """
    if host.address is not None:
        return [host.address]
    addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
    return [each for each in addresses if is_public(each)]
