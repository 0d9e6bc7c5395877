"""Addresses are judged as addresses, whatever stood in the configuration or in DNS."""

import asyncio
import socket
from typing import Any

import pytest

from tunnel_client.upstream.egress import Egress, EgressError, look_up, same_place

METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "100.100.100.200",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]


@pytest.mark.parametrize("address", METADATA)
def test_metadata_services_are_refused_in_every_disguise(address: str) -> None:
    """Row R01."""
    assert Egress().refusal(address) is not None


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "", "x", "127.1"])
def test_what_is_not_one_machine_is_refused(address: str) -> None:
    assert Egress().refusal(address) is not None


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "192.0.2.1", "::1", "2001:db8::1"])
def test_private_and_public_addresses_are_what_the_client_is_for(address: str) -> None:
    assert Egress().refusal(address) is None


def test_networks_of_an_upstream_are_a_list_of_all_it_may_be_in() -> None:
    egress = Egress.of(["10.0.0.0/8", "fd00::/8", "169.254.169.254/32"])
    for inside in ("10.255.0.1", "fd12::1", "::ffff:10.0.0.1", "169.254.169.254"):
        assert egress.refusal(inside) is None
    for outside in ("11.0.0.1", "127.0.0.1", "::1", "fe80::1", "64:ff9b::a00:1"):
        assert egress.refusal(outside) is not None


def answers(*addresses: str) -> list[Any]:
    return [
        (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80))
        for each in addresses
    ]


async def test_one_bad_answer_refuses_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row R02: several records, one of which leads inside."""
    asked: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return answers("192.0.2.7", "169.254.169.254")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    with pytest.raises(EgressError):
        await look_up("metadata.google.internal", 80, Egress())
    assert asked == ["metadata.google.internal"]


async def test_an_address_is_looked_up_as_itself() -> None:
    assert await look_up("127.0.0.1", 80, Egress()) == ["127.0.0.1"]


def test_peers_are_compared_as_addresses() -> None:
    assert same_place("127.0.0.1", ("127.0.0.1", 80))
    assert same_place("::1", ("0:0:0:0:0:0:0:1", 80, 0, 0))
    assert same_place("127.0.0.1", ("::ffff:127.0.0.1", 80, 0, 0))
    assert same_place("fe80::1%eth0", ("fe80::1", 80, 0, 2))
    for other in (("127.0.0.2", 80), ("", 80), (), None, "/run/x.sock", 7):
        assert not same_place("127.0.0.1", other)
