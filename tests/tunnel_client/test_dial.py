"""The way to the relay: TLS that is checked, proxies that are used when they should be."""

import asyncio
import contextlib
import os
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import uvloop
from pydantic import SecretStr

from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.tls import Authority, old_tls
from tunnel_client import dial as dialling
from tunnel_client.dial import DialTarget, choose_proxy, dial, tls_context
from tunnel_client.errors import (
    CertificateError,
    ConnectError,
    DialError,
    DialSettingsError,
    NameLookupError,
    ProxyError,
    TlsError,
)
from tunnel_client.relay_url import RelayUrl

LOGIN = "worker:p@ss:word"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> Path:
    return authority.write(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


class Listener(asyncio.Protocol):
    """Greets at once, then echoes: data can reach the dialler before it expects any."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(b"hello ")

    def data_received(self, data: bytes) -> None:
        self.transport.write(data.upper())


class Caller(asyncio.Protocol):
    """Says "ping" once connected and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.made = 0
        self.all_heard = asyncio.Event()
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert not self.heard
        self.made += 1
        cast(asyncio.Transport, transport).write(b"ping")

    def data_received(self, data: bytes) -> None:
        self.heard += data
        if self.heard.endswith(b"PING"):
            self.all_heard.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@contextlib.asynccontextmanager
async def listening(tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    server = await asyncio.get_running_loop().create_server(Listener, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def at(host: str, port: int, **more: Any) -> DialTarget:
    return DialTarget(RelayUrl(True, host, port), **more)


async def converse(target: DialTarget) -> None:
    """Dial, exchange a few bytes, hang up."""
    transport, caller = await dial(target, Caller)
    try:
        await caller.all_heard.wait()
        assert caller.heard == b"hello PING"
        assert caller.made == 1
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        transport.abort()
    await caller.lost.wait()


def on_each_loop(talk: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        with anyio.fail_after(10):
            await talk()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())


def test_tls_is_agreed_directly_on_either_loop(authority: Authority, ca_file: Path) -> None:
    async def talk() -> None:
        async with listening(authority.server("localhost")) as port:
            await converse(at("localhost", port, ca_file=ca_file))

    on_each_loop(talk)


def test_tls_is_agreed_through_a_proxy_on_either_loop(authority: Authority, ca_file: Path) -> None:
    async def talk() -> None:
        async with (
            listening(authority.server("relay.test")) as port,
            ConnectProxy({"relay.test:443": ("127.0.0.1", port)}) as proxy,
        ):
            url = f"http://127.0.0.1:{proxy.port}"
            await converse(at("relay.test", 443, ca_file=ca_file, proxy=url))
            assert proxy.asked == ["relay.test:443"]

    on_each_loop(talk)


def test_a_proxy_may_speak_tls_itself(authority: Authority, ca_file: Path) -> None:
    async def talk() -> None:
        async with (
            listening(authority.server("relay.test")) as port,
            ConnectProxy(
                {"relay.test:443": ("127.0.0.1", port)}, tls=authority.server("localhost")
            ) as proxy,
        ):
            url = f"https://localhost:{proxy.port}"
            await converse(at("relay.test", 443, ca_file=ca_file, proxy=url))

    on_each_loop(talk)


async def test_loopback_without_tls_is_reached_directly() -> None:
    with anyio.fail_after(10):
        async with listening(None) as port:
            await converse(DialTarget(RelayUrl.parse(f"ws://127.0.0.1:{port}")))


async def test_a_proxy_that_wants_a_login_gets_it(authority: Authority, ca_file: Path) -> None:
    with anyio.fail_after(10):
        async with (
            listening(authority.server("relay.test")) as port,
            ConnectProxy({"relay.test:443": ("127.0.0.1", port)}, login=LOGIN) as proxy,
        ):
            url = f"http://127.0.0.1:{proxy.port}"
            auth = SecretStr(LOGIN)
            await converse(at("relay.test", 443, ca_file=ca_file, proxy=url, proxy_auth=auth))
            with pytest.raises(ProxyError, match=r"407 to CONNECT.*proxy_auth"):
                await dial(at("relay.test", 443, ca_file=ca_file, proxy=url), Caller)
            assert (len(proxy.asked), proxy.refused) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "hung up without an answer to CONNECT relay.test: it may not reach that"),
        (b"HTTP/1.1 2", "hung up without an answer"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "502 .*could not reach it"),
        (b"SSH-2.0-Server\r\n\r\n", "does not speak HTTP"),
    ],
)
def test_a_proxy_that_does_not_connect_us_is_told_by_what_it_did(answer: bytes, why: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async def talk() -> None:
        loose: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, facts: loose.append(facts))
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        proxy = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            with pytest.raises(ProxyError, match=why) as caught:
                await dial(at("relay.test", 443, proxy=proxy), Caller)
            await asyncio.sleep(0.01)  # the loop hears of the end after we did
        finally:
            server.close()
        assert caught.value.next == f"curl -v --proxy {proxy} https://relay.test/"
        assert loose == []

    on_each_loop(talk)


@pytest.mark.parametrize(
    ("names", "expired", "trusted", "error", "why"),
    [
        (["other.test"], False, True, CertificateError, "Hostname mismatch|not valid for"),
        (["relay.test"], False, False, CertificateError, "unable to get local issuer|self"),
        (["relay.test"], True, True, CertificateError, "expired"),
    ],
    ids=["wrong host", "unknown authority", "expired"],
)
async def test_a_bad_certificate_is_refused_directly_and_through_a_proxy(
    authority: Authority,
    ca_file: Path,
    names: list[str],
    expired: bool,
    trusted: bool,
    error: type[DialError],
    why: str,
) -> None:
    trust = ca_file if trusted else None
    local = [name.replace("relay.test", "localhost") for name in names]
    with anyio.fail_after(10):
        async with listening(authority.server(*local, expired=expired)) as port:
            with pytest.raises(error, match=why):
                await dial(at("localhost", port, ca_file=trust), Caller)
        async with (
            listening(authority.server(*names, expired=expired)) as port,
            ConnectProxy({"relay.test:443": ("127.0.0.1", port)}) as proxy,
        ):
            url = f"http://127.0.0.1:{proxy.port}"
            with pytest.raises(error, match=why):
                await dial(at("relay.test", 443, ca_file=trust, proxy=url), Caller)


async def test_tls_before_1_2_is_refused(authority: Authority, ca_file: Path) -> None:
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old = old_tls(authority.server("localhost"))
    with anyio.fail_after(10):
        async with listening(old) as port:
            with pytest.raises((TlsError, ConnectError)):
                await dial(at("localhost", port, ca_file=ca_file), Caller)


async def test_a_listener_without_tls_is_refused(ca_file: Path) -> None:
    with anyio.fail_after(10):
        async with listening(None) as port:
            with pytest.raises(TlsError):
                await dial(at("localhost", port, ca_file=ca_file), Caller)


async def test_nobody_listening_is_told_from_no_such_name() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectError, match=r"cannot connect to 127\.0\.0\.1") as refused:
            await dial(at("127.0.0.1", taken.getsockname()[1]), Caller)
        port = taken.getsockname()[1]
    assert refused.value.next.startswith(f"curl -v https://127.0.0.1:{port}/ from here")
    with pytest.raises(NameLookupError, match=r"no address for relay\.invalid") as unknown:
        await dial(at("relay.invalid", 443), Caller)
    assert unknown.value.next.startswith("getent hosts relay.invalid; ")


async def test_a_missing_ca_file_is_a_matter_of_configuration(tmp_path: Path) -> None:
    with pytest.raises(DialSettingsError, match="cannot read CA file") as caught:
        await dial(at("localhost", 1, ca_file=tmp_path / "none.pem"), Caller)
    assert (caught.value.exit_code, caught.value.retryable) == (78, False)


def test_a_ca_file_that_no_descriptor_is_left_for_is_not_a_matter_of_configuration(
    ca_file: Path,
) -> None:
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(ca_file, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, bounds[1]))
    try:
        with pytest.raises(DialError, match="cannot read CA file") as caught:
            tls_context(ca_file)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bounds)
    assert (caught.value.code, caught.value.retryable) == ("MT2200", True)


async def test_a_dial_that_is_given_up_leaves_no_connection() -> None:
    ended = asyncio.Event()

    class Silent(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            scope.cancel()  # while the answer to that is waited for

        def connection_lost(self, exc: Exception | None) -> None:
            ended.set()

    server = await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for proxy in ("none", f"http://127.0.0.1:{port}"):
        ended.clear()
        host = "localhost" if proxy == "none" else "relay.test"
        with anyio.fail_after(10) as scope:
            await dial(at(host, port, proxy=proxy), Caller)
        assert scope.cancelled_caught
        with anyio.fail_after(10):
            await ended.wait()
    server.close()


@contextlib.contextmanager
def swallowing() -> Iterator[tuple[str, int]]:
    """Listen without taking anybody: the kernel drops who comes beyond the few it keeps."""
    with contextlib.ExitStack() as stack:
        hole = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        yield hole.getsockname()


def resolving(monkeypatch: pytest.MonkeyPatch, *places: tuple[str, int]) -> None:
    """Have every name stand for these addresses."""

    async def resolve(*_: object, **__: object) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)


async def test_an_address_that_swallows_everything_does_not_hide_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As that of IPv6 behind a firewall that drops it."""
    with swallowing() as hole:
        async with listening(None) as port:
            resolving(monkeypatch, hole, ("127.0.0.1", port))
            with anyio.fail_after(9):
                await converse(DialTarget(RelayUrl(False, "localhost", port)))


async def test_no_number_of_such_addresses_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "_ADDRESS_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        holes = [stack.enter_context(swallowing()) for _ in range(6)]
        async with listening(None) as port:
            resolving(monkeypatch, *holes, ("127.0.0.1", port))
            with anyio.fail_after(9):
                await converse(DialTarget(RelayUrl(False, "localhost", port)))


async def test_the_last_that_refuses_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "_ADDRESS_SECONDS", 0.05)
    with swallowing() as hole, socket.create_server(("127.0.0.1", 0)) as gone:
        nobody = gone.getsockname()
        gone.close()
        resolving(monkeypatch, hole, nobody)
        with pytest.raises(ConnectError, match="refused"):
            await dial(at("localhost", nobody[1]), Caller)


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://bob:secret@proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "inside.test,.near.test")
    chosen = choose_proxy(at("relay.test", 443))
    assert chosen is not None
    assert (chosen.host, chosen.port) == ("proxy.test", 3128)
    assert (chosen.username, chosen.password) == ("bob", "secret")
    assert choose_proxy(at("inside.test", 443)) is None
    assert choose_proxy(at("relay.near.test", 443)) is None
    assert choose_proxy(at("localhost", 443)) is None
    assert choose_proxy(at("127.0.0.1", 443)) is None
    assert choose_proxy(at("relay.test", 443, proxy="none")) is None


def test_a_configured_proxy_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://other.test:1")
    monkeypatch.setenv("NO_PROXY", "*")
    chosen = choose_proxy(at("relay.test", 443, proxy="http://proxy.test:3128"))
    assert chosen is not None
    assert (chosen.host, chosen.username) == ("proxy.test", None)


@pytest.mark.parametrize("address", ["http://bob:secret@proxy.test:x", "socks5://bob:secret@h:1"])
def test_a_bad_proxy_address_is_refused_without_its_password(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(DialSettingsError) as caught:
        choose_proxy(at("relay.test", 443))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "secret" not in repr(at("relay.test", 443, proxy_auth=SecretStr("bob:secret")))
