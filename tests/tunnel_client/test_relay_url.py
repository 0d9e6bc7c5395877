"""The relay's address: what may be dialled and how it is written."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnel_client.relay_url import BadRelayUrlError, RelayUrl


@pytest.mark.parametrize(
    ("text", "origin", "port"),
    [
        ("wss://relay.example", "wss://relay.example", 443),
        ("wss://Relay.Example:443/", "wss://relay.example", 443),
        ("wss://relay.example:8443", "wss://relay.example:8443", 8443),
        ("wss://[2001:db8::1]:8443", "wss://[2001:db8::1]:8443", 8443),
        ("ws://127.0.0.1:8000", "ws://127.0.0.1:8000", 8000),
        ("ws://[::1]", "ws://[::1]", 80),
        ("ws://localhost:80", "ws://localhost", 80),
    ],
)
def test_an_address_has_one_way_to_be_written(text: str, origin: str, port: int) -> None:
    url = RelayUrl.parse(text)
    assert (url.origin, url.port) == (origin, port)
    assert RelayUrl.parse(url.origin) == url


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ws://relay.example", "loopback only"),
        ("ws://localhost.relay.example", "loopback only"),
        ("ws://10.0.0.1:80", "loopback only"),
        ("https://relay.example", "starts with wss"),
        ("relay.example", "starts with wss"),
        ("wss://", "names a host"),
        ("wss://:443", "names a host"),
        ("wss://a..b", "names a host"),
        (f"wss://{'a' * 64}.example", "names a host"),
        ("wss://relay.example:0", "names a host"),
        ("wss://[fe80::1%25eth0]", "names a host"),
        ("wss://re lay", "names a host"),
        ("wss://relay.example:99999", "not a URL"),
        ("wss://[::1", "not a URL"),
        ("wss://me:secret@relay.example", "no user or password"),
        ("wss://relay.example/tunnel", "ends after"),
        ("wss://relay.example?x=1", "ends after"),
        ("wss://relay.example#x", "ends after"),
    ],
)
def test_any_other_address_is_refused(text: str, why: str) -> None:
    with pytest.raises(BadRelayUrlError, match=why) as caught:
        RelayUrl.parse(text)
    assert "secret" not in str(caught.value)


@given(st.text())
def test_reading_an_address_is_total(text: str) -> None:
    for candidate in (text, f"wss://{text}"):
        with contextlib.suppress(BadRelayUrlError):
            RelayUrl.parse(candidate)
