"""Enrolment against a relay that answers over real TLS."""

import asyncio
import contextlib
import json
import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from shared.ids import JOIN_PREFIX, new_token
from shared.keys import PrivateKey, decode_public, encode_public
from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.tls import Authority
from tunnel_client import enroll as enroll_module
from tunnel_client.dial import DialTarget
from tunnel_client.enroll import (
    Enrolled,
    EnrolPlan,
    check_code,
    check_room,
    check_scheme,
    config_option,
    enroll,
    next_steps,
    plan_from,
)
from tunnel_client.errors import (
    AlreadyEnrolledError,
    BadJoinCodeError,
    CertificateError,
    ClientError,
    ConnectError,
    DialSettingsError,
    EnrolBusyError,
    EnrolRefusedError,
    JoinCodeRefusedError,
)
from tunnel_client.identity import Identity, StateLock, is_enrolled
from tunnel_client.relay_url import RelayUrl
from tunnel_client.settings import load_settings

RELAY_KEY = encode_public(PrivateKey.generate().public)
CODE = SecretStr(new_token(JOIN_PREFIX))
WELCOME = json.dumps({"tunnel": "office", "relay_key": RELAY_KEY}).encode()


@dataclass
class Relay:
    """Answers every request with `answer` and keeps what was asked."""

    authority: Authority
    answer: bytes = b""
    heads: list[str] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0

    def says(self, status: int, body: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n"
        self.answer = head.encode() + body

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator["Relay"]:
        tls = self.authority.server("localhost", "relay.test")
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            length = next(line for line in head.split("\r\n") if line.startswith("Content-Length"))
            self.asked.append(json.loads(await reader.readexactly(int(length.split(": ")[1]))))
            writer.write(self.answer)
            await writer.drain()
        writer.transport.close()


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    relay = Relay(Authority())
    relay.authority.write(tmp_path / "ca.pem")
    relay.says(200, WELCOME)
    return relay


def plan(relay: Relay, tmp_path: Path, **more: Any) -> EnrolPlan:
    url = RelayUrl(True, "localhost", relay.port)
    target = more.pop("target", DialTarget(url, tmp_path / "ca.pem"))
    return EnrolPlan(target, tmp_path / "etc" / "client.toml", tmp_path / "state", **more)


async def test_ws_to_a_relay_that_speaks_tls_is_refused_before_the_code_is_asked_for(
    relay: Relay, tmp_path: Path
) -> None:
    with anyio.fail_after(10):
        async with relay.listening():
            plain = DialTarget(RelayUrl(False, "localhost", relay.port))
            made = plan(relay, tmp_path, target=plain)
            with pytest.raises(DialSettingsError, match="speaks TLS") as caught:
                await asyncio.to_thread(check_scheme, made)
            assert caught.value.next == f"tunnel-client enroll wss://localhost:{relay.port}"
            await asyncio.to_thread(check_scheme, plan(relay, tmp_path))


async def test_ws_to_a_relay_without_tls_and_to_nobody_is_as_it_was(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = EnrolPlan(DialTarget(RelayUrl(False, "127.0.0.1", port)), tmp_path / "c", tmp_path)
    async with server:
        await asyncio.to_thread(check_scheme, made)
    assert asked == [b"GET /healthz HTTP/1.1\r\n"]  # and no greeting of TLS, which a relay logs
    check_scheme(made)  # nobody listens any more


async def test_enrolling_keeps_a_key_and_pins_the_relays(relay: Relay, tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with relay.listening():
            made = plan(relay, tmp_path)
            enrolled = await enroll(made, CODE)
    identity = Identity.read(made.state_dir)
    (asked,) = relay.asked
    assert asked["join_code"] == CODE.get_secret_value()
    assert decode_public(asked["public_key"]) == identity.key.public
    assert (asked["instance"], identity.counter) == (identity.instance, 0)
    assert asked["origin"] == f"wss://localhost:{relay.port}"
    assert set(asked["host"]) == {"name", "platform", "version"}
    assert relay.heads[0].startswith("POST /tunnel/enroll HTTP/1.1\r\n")
    assert f"\r\nHost: localhost:{relay.port}\r\n" in relay.heads[0]
    settings = load_settings(made.config, {})
    assert (settings.relay.tunnel, settings.relay.public_key) == ("office", RELAY_KEY)
    assert settings.state_dir == made.state_dir
    assert made.config.stat().st_mode & 0o777 == 0o600
    files = [made.config, *made.state_dir.iterdir()]
    assert not any(CODE.get_secret_value() in path.read_text() for path in files)
    steps = next_steps(made, enrolled, {})
    assert f"tunnel-client run --config {made.config}" in steps


async def test_enrolling_goes_through_a_proxy(relay: Relay, tmp_path: Path) -> None:
    with anyio.fail_after(10):
        async with (
            relay.listening(),
            ConnectProxy({"relay.test:443": ("127.0.0.1", relay.port)}, login="a:b") as proxy,
        ):
            url = RelayUrl(True, "relay.test", 443)
            target = DialTarget(
                url, tmp_path / "ca.pem", f"http://127.0.0.1:{proxy.port}", SecretStr("a:b")
            )
            made = plan(relay, tmp_path, target=target, proxy_auth="env:LOGIN")
            await enroll(made, CODE)
    assert proxy.asked == ["relay.test:443"]
    assert "\r\nHost: relay.test\r\n" in relay.heads[0]
    written = tomllib.loads(made.config.read_text())["relay"]
    assert (written["proxy"], written["proxy_auth"]) == (target.proxy, "env:LOGIN")
    assert "HTTPS_PROXY" not in next_steps(made, Enrolled("office", RELAY_KEY), {})


async def test_a_proxy_of_the_environment_is_told_and_its_login_is_not(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another terminal, or a service, does not have the variable."""
    with anyio.fail_after(10):
        async with (
            relay.listening(),
            ConnectProxy(
                {"relay.test:443": ("127.0.0.1", relay.port)}, login="ada:letmepass"
            ) as proxy,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://ada:letmepass@127.0.0.1:{proxy.port}")
            monkeypatch.setenv("NO_PROXY", "elsewhere.test")
            target = DialTarget(RelayUrl(True, "relay.test", 443), tmp_path / "ca.pem")
            made = plan(relay, tmp_path, target=target)
            steps = next_steps(made, await enroll(made, CODE), {})
    assert proxy.asked == ["relay.test:443"]
    assert "relay.proxy" in steps
    assert "letmepass" not in steps + made.config.read_text()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b'{"error": "no"}', JoinCodeRefusedError),
        (429, b"", EnrolBusyError),
        (400, b"", EnrolRefusedError),
        (307, b"", EnrolRefusedError),
        (500, b"", EnrolRefusedError),
        (200, b"", EnrolRefusedError),
        (200, b"[" * 5000, EnrolRefusedError),
        (200, b'{"tunnel": "office"}', EnrolRefusedError),
        (200, b'{"tunnel": "../x", "relay_key": "%s"}' % RELAY_KEY.encode(), EnrolRefusedError),
        (200, b'{"tunnel": "office", "relay_key": "short"}', EnrolRefusedError),
        (200, b"x" * 100_000, EnrolRefusedError),
    ],
)
async def test_any_other_answer_is_told_and_keeps_nothing(
    relay: Relay, tmp_path: Path, status: int, body: bytes, error: type[ClientError]
) -> None:
    relay.says(status, body, "Location: https://elsewhere.test/\r\n")
    with anyio.fail_after(10):
        async with relay.listening():
            made = plan(relay, tmp_path)
            with pytest.raises(error) as caught:
                await enroll(made, CODE)
    assert CODE.get_secret_value() not in str(caught.value)
    assert not is_enrolled(made.state_dir)
    assert not made.config.exists()
    assert len(relay.asked) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"SSH-2.0-x\r\n", EnrolRefusedError), (b"", ConnectError), (b"HTTP/1.1 200", ConnectError)],
)
async def test_what_is_no_http_answer_is_told(
    relay: Relay, tmp_path: Path, answer: bytes, error: type[ClientError]
) -> None:
    relay.answer = answer
    with anyio.fail_after(10):
        async with relay.listening():
            with pytest.raises(error):
                await enroll(plan(relay, tmp_path), CODE)


async def test_the_code_never_goes_to_a_relay_that_is_not_trusted(
    relay: Relay, tmp_path: Path
) -> None:
    with anyio.fail_after(10):
        async with relay.listening():
            target = DialTarget(RelayUrl(True, "localhost", relay.port))
            with pytest.raises(CertificateError):
                await enroll(plan(relay, tmp_path, target=target), CODE)
    assert relay.asked == []


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("relay.example", "tunnel-client enroll wss://relay.example"),
        ("https://relay.example:8443/tunnel", "tunnel-client enroll wss://relay.example:8443"),
        ("ws://relay.example", "tunnel-client enroll wss://relay.example"),
        ("relay example", "tunnel-client enroll --help"),
    ],
)
def test_a_wrong_url_is_answered_with_the_one_that_was_meant(
    tmp_path: Path, typed: str, meant: str
) -> None:
    with pytest.raises(DialSettingsError) as caught:
        plan_from(
            typed,
            config=tmp_path / "client.toml",
            state_dir=tmp_path / "state",
            ca_file=None,
            proxy=None,
            proxy_auth=None,
            force=False,
            environ={},
        )
    assert caught.value.next == meant


async def test_a_relay_that_says_nothing_is_given_up(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, silent = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        await reader.read()
        writer.close()
        silent.set()

    tls = relay.authority.server("localhost")
    server = await asyncio.start_server(hold, "127.0.0.1", 0, ssl=tls)
    relay.port = server.sockets[0].getsockname()[1]
    with anyio.fail_after(60):
        for seconds in (0.2, 2.0, 20.0):  # until one was long enough to reach it
            monkeypatch.setattr(enroll_module, "ENROL_SECONDS", seconds)
            with pytest.raises(ConnectError, match="did not answer"):
                await enroll(plan(relay, tmp_path), CODE)
            if asked.is_set():
                break
        await silent.wait()
    server.close()


async def test_a_running_client_is_not_enrolled_under_its_feet(
    relay: Relay, tmp_path: Path
) -> None:
    made = plan(relay, tmp_path)
    with StateLock(made.state_dir), pytest.raises(ClientError, match="already uses"):
        await enroll(made, CODE)


def test_a_configuration_in_the_way_is_found_before_the_code_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "client.toml").touch()
    with pytest.raises(AlreadyEnrolledError, match="--force"):
        check_room(plan(Relay(Authority()), tmp_path))


@pytest.mark.parametrize("text", ["", "hunter2", "mts_" + "a" * 43, "mtj_" + "a" * 42])
def test_what_is_no_join_code_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(BadJoinCodeError) as caught:
        check_code(text)
    assert not text or text not in str(caught.value)
    assert check_code(f" {CODE.get_secret_value()}\n") == CODE


@pytest.mark.parametrize(
    ("relay", "proxy", "auth"),
    [
        ("ws://relay.example", None, None),
        ("https://relay.example", None, None),
        ("wss://relay.example", "http://u:secret@p:1", None),
        ("wss://relay.example", None, "u:secret"),
    ],
)
def test_a_command_line_that_must_not_be_followed_is_refused(
    tmp_path: Path, relay: str, proxy: str | None, auth: str | None
) -> None:
    with pytest.raises(DialSettingsError) as caught:
        plan_from(
            relay,
            config=tmp_path / "c",
            state_dir=tmp_path / "s",
            ca_file=None,
            proxy=proxy,
            proxy_auth=auth,
            force=False,
            environ={},
        )
    assert "secret@" not in str(caught.value)
    assert "u:secret" not in str(caught.value)


def test_a_pasted_command_names_the_file_only_when_it_must() -> None:
    assert config_option(Path("/x.toml"), {"TUNNEL_CLIENT_CONFIG": "/x.toml"}) == ""
    assert config_option(Path("/a b.toml"), {}) == " --config '/a b.toml'"
