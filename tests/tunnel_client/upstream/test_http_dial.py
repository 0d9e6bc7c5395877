"""One look-up for one connection, to an address that was judged."""

import asyncio
import socket
from typing import Any

import pytest

from shared.errors import ResetCode
from tests.tunnel_client.upstream.http_support import OK, ask, pool, raw_server, says
from tunnel_client.upstream.egress import Egress
from tunnel_client.upstream.http_target import target_from


def resolving(monkeypatch: pytest.MonkeyPatch, *turns: list[str]) -> list[str]:
    """Answer look-ups of names turn by turn, the last one from then on; returns what was asked."""
    loop = asyncio.get_running_loop()
    real, asked = loop.getaddrinfo, []

    async def resolve(host: Any, port: Any, **more: Any) -> list[Any]:
        if host != "rebinding.example":
            found: list[Any] = await real(host, port, **more)
            return found
        asked.append(host)
        addresses = turns[min(len(asked), len(turns)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    return asked


async def test_a_name_that_changes_its_mind_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row R02: the address that was judged is the address that is dialled."""
    async with raw_server(says(OK)) as server:
        asked = resolving(monkeypatch, ["127.0.0.1"], ["169.254.169.254"])
        target = target_from(f"http://rebinding.example:{server.port}/mcp")
        async with pool(target) as upstream:
            assert (await ask(upstream)).status == 200
            assert len(asked) == 1
            assert server.seen[0].header(b"host") == f"rebinding.example:{server.port}".encode()


@pytest.mark.parametrize("answer", [["169.254.169.254"], ["127.0.0.1", "169.254.169.254"]])
async def test_a_name_that_leads_to_metadata_is_not_dialled(
    monkeypatch: pytest.MonkeyPatch, answer: list[str]
) -> None:
    """Rows R01 and R02."""
    async with raw_server(says(OK)) as server:
        resolving(monkeypatch, answer)
        target = target_from(f"http://rebinding.example:{server.port}/mcp")
        async with pool(target) as upstream:
            reply = await ask(upstream)
        assert reply.failure is not None
        assert reply.failure[0] is ResetCode.UPSTREAM_UNREACHABLE
        assert "169" not in reply.failure[1]
        assert server.connections == 0


async def test_an_address_outside_the_upstreams_networks_is_not_dialled() -> None:
    async with raw_server(says(OK)) as server:
        target = target_from(server.url, egress=Egress.of(["10.0.0.0/8"]))
        async with pool(target) as upstream:
            assert (await ask(upstream)).failure is not None
        assert server.connections == 0
        inside = target_from(server.url, egress=Egress.of(["127.0.0.0/8"]))
        async with pool(inside) as upstream:
            assert (await ask(upstream)).status == 200


async def test_the_next_address_is_tried_when_one_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with raw_server(says(OK)) as server:
        resolving(monkeypatch, ["127.0.0.77", "127.0.0.1"])
        target = target_from(f"http://rebinding.example:{server.port}/mcp")
        async with pool(target) as upstream:
            assert (await ask(upstream)).status == 200


async def test_a_connection_to_somebody_else_carries_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row R02: who answered is compared once more with who was meant."""
    loop = asyncio.get_running_loop()
    real = loop.create_connection

    async def astray(protocol: Any, host: str, port: int, **more: Any) -> Any:
        assert host == "127.0.0.9"
        return await real(protocol, "127.0.0.1", port, **more)

    async with raw_server(says(OK)) as server:
        resolving(monkeypatch, ["127.0.0.9"])
        monkeypatch.setattr(loop, "create_connection", astray)
        target = target_from(f"http://rebinding.example:{server.port}/mcp")
        async with pool(target) as upstream:
            reply = await ask(upstream)
        assert reply.failure is not None
        assert "somebody else" in reply.failure[1]
        assert server.seen == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_a_proxy_of_the_environment_has_no_say(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Row R12."""
    async with raw_server(says(OK)) as proxy, raw_server(says(OK)) as server:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with pool(server.url) as upstream:
            assert (await ask(upstream)).status == 200
        assert proxy.connections == 0
