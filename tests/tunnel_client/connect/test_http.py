"""HTTP of the bridge: whom it trusts, and what it says when it fails."""

import asyncio
import ssl
from pathlib import Path

import httpx2
import pytest

from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.tls import Authority
from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.http import http_for, read_body, translated
from tunnel_client.dial import tls_context
from tunnel_client.errors import (
    CertificateError,
    ConnectError,
    DialSettingsError,
    ProxyError,
)
from tunnel_client.errors_connect import ServerAnswerError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def serve(answer: bytes, context: ssl.SSLContext | None = None) -> asyncio.Server:
    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(visit, "127.0.0.1", 0, ssl=context)


async def ask(url: WebUrl, trust: ssl.SSLContext, limit: int = 100) -> bytes:
    async with translated(url), http_for(url, trust) as http, http.stream("GET", url.text) as got:
        return await read_body(got, limit)


def at(server: asyncio.Server, scheme: str = "http", host: str = "127.0.0.1") -> WebUrl:
    return WebUrl.parse(f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}/mcp")


async def test_a_private_authority_is_trusted_when_named_and_not_before(tmp_path: Path) -> None:
    authority = Authority()
    async with await serve(ANSWER, authority.server("127.0.0.1")) as server:
        named = tls_context(authority.write(tmp_path / "ca.pem"))
        assert await ask(at(server, "https"), named) == b"hello"
        with pytest.raises(CertificateError, match="--ca-file"):
            await ask(at(server, "https"), tls_context(None))
    async with await serve(ANSWER, authority.server("other.example")) as server:
        with pytest.raises(CertificateError):
            await ask(at(server, "https"), named)


async def test_what_fails_is_named_without_what_was_sent() -> None:
    trust = ssl.create_default_context()
    with pytest.raises(ConnectError, match="cannot connect to http"):
        await ask(WebUrl.parse("http://127.0.0.1:1/mcp"), trust)
    async with await serve(b"no http\r\n\r\n") as server:
        with pytest.raises(ServerAnswerError):
            await ask(at(server), trust)
    async with await serve(ANSWER) as server:
        with pytest.raises(ServerAnswerError, match="too large"):
            await ask(at(server), trust, limit=4)
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"
    async with await serve(packed) as server:
        with pytest.raises(ServerAnswerError, match="packed"):
            await ask(at(server), trust)


async def test_a_proxy_is_used_for_what_is_elsewhere_and_its_login_stays_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority = Authority()
    trust = tls_context(authority.write(tmp_path / "ca.pem"))
    async with await serve(ANSWER, authority.server("relay.example")) as server:
        place = f"relay.example:{at(server).port}"
        sees = {place: ("127.0.0.1", at(server).port)}
        url = WebUrl.parse(f"https://{place}/mcp")
        async with ConnectProxy(sees, login="user:canary") as proxy:
            await through(proxy, url, trust, monkeypatch)


async def through(
    proxy: ConnectProxy, url: WebUrl, trust: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:canary@127.0.0.1:{proxy.port}")
    assert await ask(url, trust) == b"hello"
    assert proxy.asked == [f"relay.example:{url.port}"]
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:wrong-canary@127.0.0.1:{proxy.port}")
    with pytest.raises(ProxyError) as refused:
        await ask(url, trust)
    assert "canary" not in str(refused.value)
    monkeypatch.setenv("HTTPS_PROXY", "ftp://user:canary@h")
    with pytest.raises(DialSettingsError) as wrong:
        http_for(url, trust)
    assert "canary" not in str(wrong.value)


async def test_this_machine_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with await serve(ANSWER) as server:
        assert await ask(at(server), ssl.create_default_context()) == b"hello"


async def test_a_redirect_is_an_answer_and_not_followed() -> None:
    """R03."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"
    async with await serve(moved) as server:
        url = at(server)
        async with http_for(url, ssl.create_default_context()) as http:
            answer = await http.get(url.text)
            assert isinstance(answer, httpx2.Response)
            assert answer.status_code == 302
