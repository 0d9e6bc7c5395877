"""What is known of an issuer, and for how long."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.tunnel_relay.identity.key_host import KeyHost, key_host
from tests.tunnel_relay.identity.minting import OTHER, curve_jwk, key_set, rsa_jwk
from tests.tunnel_relay.identity.running import running
from tunnel_relay.identity.providers import (
    MAX_AGE,
    SPACING,
    Provider,
    Vanished,
    endpoint,
    metadata_urls,
)
from tunnel_relay.settings_issuers import DEFAULT_ALGORITHMS


class Watched:
    """A provider whose clock stands still, and what it said of changes."""

    def __init__(self, url: str, **more: Any) -> None:
        self.now = 1000.0
        self.vanished: list[Vanished] = []
        self.provider = Provider(
            url,
            DEFAULT_ALGORITHMS,
            on_change=self.vanished.append,
            clock=lambda: self.now,
            **more,
        )

    def ready(self) -> bool:
        return self.provider.ready

    def may_look(self) -> bool:
        return self.provider.may_look


@asynccontextmanager
async def watched(**more: Any) -> AsyncIterator[tuple[KeyHost, Watched]]:
    async with key_host() as host:
        host.be_issuer()
        yield host, Watched(host.url, **more)


async def test_keys_are_found_by_the_issuers_own_metadata() -> None:
    async with watched() as (host, made):
        provider = made.provider
        assert not made.ready()
        assert await provider.fetch()
        assert made.ready()
        assert provider.key("k1", "RS256")
        assert provider.key("k1", "ES256") is None
        assert host.asked == ["/.well-known/openid-configuration", "/keys"]


async def test_what_an_operator_is_told_of_an_issuer() -> None:
    async with watched() as (host, made):
        facts = {"issuer": host.url, "ready": False, "keys": 0, "age": None, "problem": None}
        assert made.provider.facts() == facts
        await made.provider.fetch()
        made.now += 60
        assert made.provider.facts() == facts | {"ready": True, "keys": 3, "age": 60}
        host.pages.clear()
        await made.provider.fetch()
        told = made.provider.facts()
        assert (told["ready"], told["keys"], told["age"]) == (True, 3, 60)
        assert "404" in told["problem"]
        host.be_issuer()
        await made.provider.fetch()
        assert made.provider.facts() == facts | {"ready": True, "keys": 3, "age": 0}


async def test_a_configured_address_needs_no_metadata() -> None:
    async with key_host() as host:
        host.pages["/certs"] = key_set()
        made = Watched("https://idp.example.com", jwks_url=f"{host.url}/certs")
        assert await made.provider.fetch()
        assert host.asked == ["/certs"]


def test_where_metadata_may_be() -> None:
    assert metadata_urls("https://idp.example.com/realms/a") == [
        "https://idp.example.com/realms/a/.well-known/openid-configuration",
        "https://idp.example.com/.well-known/oauth-authorization-server/realms/a",
        "https://idp.example.com/.well-known/openid-configuration/realms/a",
    ]
    assert len(metadata_urls("https://idp.example.com/")) == 2


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"jwks_uri": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://10.0.0.1/keys"},
        {"jwks_uri": "http://127.0.0.1:1/keys"},
        {"jwks_uri": "http://169.254.169.254/latest"},
    ],
)
async def test_r04_metadata_that_leads_elsewhere_is_not_followed(metadata: dict[str, Any]) -> None:
    async with watched() as (host, made):
        host.be_issuer(**metadata)
        assert not await made.provider.fetch()
        assert not made.ready()
        assert "/keys" not in host.asked


async def test_a_key_that_vanished_or_changed_is_told_and_gone() -> None:
    async with watched() as (host, made):
        await made.provider.fetch()
        assert made.vanished == [frozenset()]
        host.be_issuer({"keys": [rsa_jwk(OTHER), curve_jwk()]})
        await made.provider.fetch()
        assert made.vanished[1:] == [{("k1", "RS256"), ("k1", "PS256"), ("k3", "EdDSA")}]
        await made.provider.fetch()
        assert len(made.vanished) == 2


async def test_keys_outlive_a_fetch_that_fails_but_not_for_ever() -> None:
    async with watched() as (host, made):
        await made.provider.fetch()
        for broken in ({}, {"keys": "none"}, b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"):
            host.pages["/keys"] = broken
            assert not await made.provider.fetch()
            assert made.ready()
        made.now += MAX_AGE
        assert not made.ready()
        assert not await made.provider.fetch()
        assert len(made.vanished[-1]) == 4


async def test_one_waits_for_a_fetch_and_no_more_than_one_in_ten_seconds() -> None:
    async with watched() as (host, made):
        provider = made.provider
        assert made.may_look()
        async with running(provider.run):
            await provider.look()
            assert made.ready()
            assert not made.may_look()
            made.now += SPACING
            assert made.may_look()
            host.be_issuer({"keys": [rsa_jwk(kid="new")]})
            await provider.look()
            assert provider.key("new", "RS256")
            assert not made.may_look()


async def test_an_endpoint_is_only_where_it_is_safe() -> None:
    async with watched() as (host, made):
        host.be_issuer(
            token_endpoint=f"{host.url}/token",
            authorization_endpoint="http://evil.example/auth",
            userinfo_endpoint=7,
        )
        await made.provider.fetch()
        assert endpoint(made.provider, "token_endpoint") == f"{host.url}/token"
        assert endpoint(made.provider, "authorization_endpoint") is None
        assert endpoint(made.provider, "userinfo_endpoint") is None
        assert endpoint(made.provider, "revocation_endpoint") is None
