"""Broken ways to a relay, with real sockets, TLS and proxies: the doctor names the broken layer."""

import json
import time
from pathlib import Path

import pytest

from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.stranger import stranger
from tests.helpers.tls import Authority
from tests.helpers.tunnel import free_port
from tests.tunnel_client.doctor.doctored import answering, enrolled, ready, said, verdict
from tunnel_client.doctor.errors import ClockError, RelayNotReadyError
from tunnel_client.doctor.way import judge_clock, judge_ready
from tunnel_client.errors import NotARelayError

NAME = "relay.test"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(autouse=True)
def _no_proxy_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def trusting(authority: Authority, folder: Path) -> str:
    return f"ca_file = {json.dumps(str(authority.write(folder / 'ca.pem')))}"


def relay_like(line: str) -> bytes:
    return ready() if "/readyz" in line else said(404, b"not found\n")


async def test_a_name_without_an_address(tmp_path: Path) -> None:
    found = await verdict(enrolled(tmp_path, "wss://no-such-host.invalid", 'proxy = "none"'))
    assert (found.broken, found.code) == ("dns", "MT2201")
    assert "no-such-host.invalid" in found.cause
    assert found.lines["tcp"].note == found.lines["signature"].note == "needs: dns"
    assert found.outcome("identity") == found.outcome("policy file") == "PASS"


async def test_a_relay_that_is_down_or_a_wrong_port(tmp_path: Path) -> None:
    port = free_port()
    found = await verdict(enrolled(tmp_path, f"wss://localhost:{port}"))
    assert (found.broken, found.code) == ("tcp", "MT2202")
    assert f"the relay does not accept TCP at localhost:{port}" in found.cause


async def test_a_proxy_that_is_down(tmp_path: Path) -> None:
    proxy = f'proxy = "http://127.0.0.1:{free_port()}"'
    found = await verdict(enrolled(tmp_path, f"wss://{NAME}", proxy))
    assert (found.broken, found.code) == ("tcp", "MT2202")
    assert "the proxy does not accept TCP" in found.cause


@pytest.mark.parametrize("login", [None, "worker:wrong"])
async def test_a_proxy_whose_login_is_missing_or_wrong(tmp_path: Path, login: str | None) -> None:
    async with ConnectProxy(login="worker:right") as proxy:
        lines = [f'proxy = "http://127.0.0.1:{proxy.port}"']
        if login is not None:
            lines.append('proxy_auth = "env:LOGIN"')
        settings = enrolled(tmp_path, f"wss://{NAME}", *lines)
        found = await verdict(settings, environ={"LOGIN": login or ""})
    assert (found.broken, found.code) == ("proxy", "MT2711")
    assert proxy.refused
    assert proxy.asked == []
    assert "wrong" not in found.lines["proxy"].text()


async def test_a_proxy_that_is_something_else(tmp_path: Path) -> None:
    async with answering(lambda _: b"220 mail.example ESMTP\r\n\r\n") as port:
        settings = enrolled(tmp_path, f"wss://{NAME}", f'proxy = "http://127.0.0.1:{port}"')
        found = await verdict(settings)
    assert (found.broken, found.code) == ("proxy", "MT2203")


async def test_a_middlebox_that_opens_tls_is_named(tmp_path: Path) -> None:
    """No CA file is configured, and the certificate is nobody's whom this system knows."""
    middlebox = Authority()
    async with (
        answering(relay_like, middlebox.server(NAME)) as port,
        ConnectProxy({f"{NAME}:443": ("127.0.0.1", port)}) as proxy,
    ):
        settings = enrolled(tmp_path, f"wss://{NAME}", f'proxy = "http://127.0.0.1:{proxy.port}"')
        found = await verdict(settings)
    assert (found.broken, found.code) == ("tls", "MT2704")
    assert "trustme" in found.cause, "the issuer is shown"
    assert found.outcome("proxy") == "PASS"


async def test_a_wrong_authority(tmp_path: Path, authority: Authority) -> None:
    async with answering(relay_like, Authority().server("localhost")) as port:
        settings = enrolled(tmp_path, f"wss://localhost:{port}", trusting(authority, tmp_path))
        found = await verdict(settings)
    assert (found.broken, found.code) == ("tls", "MT2204")
    assert "ca.pem" in found.cause


async def test_a_certificate_for_another_name(tmp_path: Path, authority: Authority) -> None:
    async with answering(relay_like, authority.server("other.test")) as port:
        settings = enrolled(tmp_path, f"wss://localhost:{port}", trusting(authority, tmp_path))
        found = await verdict(settings)
    assert (found.broken, found.code) == ("tls", "MT2204")
    assert "for other.test, not for localhost" in found.cause


async def test_a_certificate_that_has_expired(tmp_path: Path, authority: Authority) -> None:
    tls = authority.server("localhost", expired=True)
    async with answering(relay_like, tls) as port:
        settings = enrolled(tmp_path, f"wss://localhost:{port}", trusting(authority, tmp_path))
        found = await verdict(settings)
    assert (found.broken, found.code) == ("tls", "MT2204")
    assert "this clock says" in found.cause


async def test_a_web_server_is_not_a_relay(tmp_path: Path, authority: Authority) -> None:
    page = said(200, b"<h1>It works</h1>")
    async with answering(lambda _: page, authority.server("localhost")) as port:
        settings = enrolled(tmp_path, f"wss://localhost:{port}", trusting(authority, tmp_path))
        found = await verdict(settings)
    assert (found.broken, found.code) == ("relay", "MT2702")
    assert found.lines["websocket"].note == "needs: relay"
    assert "issued by" in found.lines["tls"].note


async def test_what_speaks_no_http_is_not_a_relay(tmp_path: Path) -> None:
    async with answering(lambda _: b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        found = await verdict(enrolled(tmp_path, f"ws://127.0.0.1:{port}"))
    assert (found.broken, found.code) == ("relay", "MT2702")


@pytest.mark.parametrize("reason", ["stopping", "store", "audit"])
async def test_a_relay_that_drains_or_cannot_write(tmp_path: Path, reason: str) -> None:
    body = json.dumps({"ready": False, "reason": reason, "links": 0}).encode()
    async with answering(lambda _: said(503, body)) as port:
        found = await verdict(enrolled(tmp_path, f"ws://127.0.0.1:{port}"))
    assert (found.broken, found.code) == ("relay", "MT2703")


async def test_a_balancer_that_passes_no_websockets(tmp_path: Path) -> None:
    async with answering(relay_like) as port:
        found = await verdict(enrolled(tmp_path, f"ws://127.0.0.1:{port}"))
    assert (found.broken, found.code) == ("websocket", "MT2702")
    assert found.outcome("relay") == "PASS"


async def test_a_websocket_of_somebody_else_is_not_a_relay(tmp_path: Path) -> None:
    async with stranger() as port:
        found = await verdict(enrolled(tmp_path, f"ws://127.0.0.1:{port}"))
    assert (found.broken, found.code) == ("websocket", "MT2702")
    assert f"something else than a relay answers at 127.0.0.1:{port}" in found.cause
    assert found.outcome("relay") == "PASS"


async def test_each_address_has_its_lines_and_a_broken_one_is_named(tmp_path: Path) -> None:
    dead = free_port()
    async with answering(relay_like) as port:
        urls = [f"ws://127.0.0.1:{port}", f"ws://127.0.0.1:{dead}"]
        found = await verdict(enrolled(tmp_path, urls))
        turned = await verdict(enrolled(tmp_path / "turned", urls[::-1]))
    here, there = f"127.0.0.1:{port}", f"127.0.0.1:{dead}"
    assert (found.broken, turned.broken) == (f"websocket {here}", f"tcp {there}")
    for each in (found, turned):
        assert each.outcome(f"relay {here}") == each.outcome(f"clock {here}") == "PASS"
        assert each.outcome(f"tcp {there}") == "FAIL"
        assert each.lines[f"signature {there}"].note == f"needs: tcp {there}"
        assert "tcp" not in each.lines


async def test_a_clock_that_is_off(tmp_path: Path) -> None:
    def later(line: str) -> bytes:
        return ready(time.time() + 7200) if "/readyz" in line else said(404, b"")

    async with answering(later) as port:
        found = await verdict(enrolled(tmp_path, f"ws://127.0.0.1:{port}"))
    fault = found.lines["clock"].fault
    assert fault is not None
    assert fault.code == "MT2705"
    assert "behind the relay's" in fault.cause


async def test_a_proxy_with_a_login_is_gone_through(tmp_path: Path, authority: Authority) -> None:
    async with (
        answering(relay_like, authority.server(NAME)) as port,
        ConnectProxy({f"{NAME}:443": ("127.0.0.1", port)}, login="worker:right") as proxy,
    ):
        lines = (f'proxy = "http://127.0.0.1:{proxy.port}"', 'proxy_auth = "env:LOGIN"')
        settings = enrolled(tmp_path, f"wss://{NAME}", *lines, trusting(authority, tmp_path))
        found = await verdict(settings, environ={"LOGIN": "worker:right"})
    assert [found.outcome(name) for name in ("dns", "tcp", "proxy", "tls", "relay")] == ["PASS"] * 5
    assert "with a login" in found.lines["proxy"].note
    assert "right" not in "".join(line.text() for line in found.lines.values())


def test_what_answers_to_readyz_is_judged() -> None:
    with pytest.raises(RelayNotReadyError, match="balancer"):
        judge_ready(502, b"bad gateway", "r")
    with pytest.raises(NotARelayError, match="does not know itself"):
        judge_ready(421, b"", "r")
    with pytest.raises(NotARelayError):
        judge_ready(200, b"[" * 100_000, "r")
    assert judge_ready(200, b'{"ready": true, "links": 3}', "r") == "ready, 3 links"


def test_a_minute_between_two_clocks_is_borne() -> None:
    assert judge_clock(1000.0, 1059.0) == "59 s apart"
    with pytest.raises(ClockError, match="61 s ahead of"):
        judge_clock(1000.0, 1061.0)
