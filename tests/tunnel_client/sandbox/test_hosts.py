"""Which spellings name a host, and which addresses a name may lead to."""

import ipaddress

import pytest

from tunnel_client.sandbox.hosts import Host, allowed_addresses, is_public, parse_host


def test_names_and_addresses_are_read() -> None:
    assert parse_host("API.example.com:443") == Host("api.example.com", 443)
    assert parse_host("10.0.0.7:5432") == Host("10.0.0.7", 5432)
    assert parse_host("[2001:DB8::1]:443") == Host("2001:db8::1", 443)
    assert parse_host("localhost:1").address is None


@pytest.mark.parametrize(
    "text",
    [
        *("", ":443", "example.com", "example.com:", "example.com:0", "example.com:65536"),
        *("example.com:443x", "127.1:80", "2130706433:80", "0x7f000001:80", "0177.0.0.1:80"),
        *("1.2.3.4.5:80", "user@example.com:443", "example.com.:443", "exa mple.com:443"),
        *("http://example.com:443", "*.example.com:443", "[::1:80", "[fe80::1%eth0]:80"),
        *("[127.0.0.1]:80", "-a.com:1", "a..b:1", "ex\u0430mple.com:443", "a.com:443\r\nX: y"),
        *("example.com:\u0664\u0664\u0663", "a" * 254 + ":1"),
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    """R01: no spelling that another reader takes for an address."""
    with pytest.raises(ValueError, match=r"."):
        parse_host(text)


@pytest.mark.parametrize(
    "text",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "fe80::1"),
        *("fc00::1", "fd00:ec2::254", "ff02::1", "fec0::1", "::ffff:127.0.0.1", "::7f00:1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:0:1::1"),
    ],
)
def test_addresses_of_this_machine_and_its_network_are_not_public(text: str) -> None:
    """R01."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["93.184.215.14", "2606:4700::1111", "64:ff9b::808:808"])
def test_public_addresses_are(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


def test_a_name_may_only_lead_to_the_public_internet() -> None:
    """R02: of several answers the private ones are left out."""
    name = Host("example.com", 443)
    found = allowed_addresses(name, ["10.0.0.1", "93.184.215.14", "fe80::1%2", "::1"])
    assert list(map(str, found)) == ["93.184.215.14"]
    assert allowed_addresses(Host("metadata.google.internal", 80), ["169.254.169.254"]) == []


def test_a_private_address_may_be_listed_as_what_it_is() -> None:
    assert list(map(str, allowed_addresses(Host("10.0.0.7", 80), []))) == ["10.0.0.7"]
