"""Twelve broken set-ups of one that is whole: the doctor fails one line, that of the broken layer.

A relay behind TLS of a private authority, a CONNECT proxy with a login, an upstream with pinned
tools and a policy that allows them; then one thing is broken, and put back.
"""

import asyncio
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from shared.keys import PrivateKey
from tests.helpers.agent import call
from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.tls import Authority
from tests.helpers.tunnel import TUNNEL, Lab, end, free_port
from tests.integration.policies import POLICY, Desk, open_desk
from tests.integration.scene import OTHER, SERVER, eventually
from tests.tunnel_client.doctor.doctored import Verdict, answering, said, verdict
from tunnel_client.settings import ClientSettings, load_settings

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]

NAME = "relay.test"
LOGIN = "worker:right"
UPSTREAM, RULES = f"upstream {SERVER}", f"policy {SERVER}"


@asynccontextmanager
async def tls_front(context: ssl.SSLContext, port: int) -> AsyncIterator[int]:
    """End TLS as a balancer or a middlebox does, in front of a port; yields its own port."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@dataclass(frozen=True)
class SetUp:
    """What is whole; `environ` is what tests change of the client's surroundings."""

    desk: Desk
    proxy: ConnectProxy
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def lab(self) -> Lab:
        return self.desk.lab

    def settings(self) -> ClientSettings:
        """Return the client's settings in these surroundings."""
        return load_settings(self.lab.client_config, self.environ)

    def but(self, **changed: str) -> "SetUp":
        """Return it with other surroundings; an empty text takes one away."""
        environ = dict(self.environ)
        for name, value in changed.items():
            key = name if name == "LOGIN" else f"TUNNEL_CLIENT_RELAY__{name}"
            environ.pop(key, None)
            if value:
                environ[key] = value
        return replace(self, environ=environ)

    async def looked(self, settings: ClientSettings | None = None, **given: Any) -> Verdict:
        """Have the doctor look."""
        return await verdict(settings or self.settings(), environ=self.environ, **given)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SetUp]:
    folder, authority = tmp_path_factory.mktemp("set-up"), Authority()

    def prepare(lab: Lab) -> None:
        lab.environment["TUNNEL_RELAY_PUBLIC_URL"] = json.dumps([lab.origin, f"https://{NAME}"])

    async with (
        open_desk(prepare=prepare, start=False) as desk,
        tls_front(authority.server(NAME), desk.lab.port) as front,
        ConnectProxy({f"{NAME}:443": ("127.0.0.1", front)}, login=LOGIN) as proxy,
    ):
        made = SetUp(desk, proxy, folder, {"PATH": os.environ["PATH"]})
        yield made.but(
            URL=f"wss://{NAME}",
            PROXY=f"http://127.0.0.1:{proxy.port}",
            PROXY_AUTH="env:LOGIN",
            CA_FILE=str(authority.write(folder / "ca.pem")),
            LOGIN=LOGIN,
        )


def text(found: Verdict) -> str:
    return "\n".join(line.text() for line in found.lines.values())


def only(found: Verdict, line: str, code: str) -> None:
    """See that one line failed, and that what does not stand on it was looked at."""
    failed = [name for name, each in found.lines.items() if each.outcome.value == "FAIL"]
    assert (failed, found.code) == ([line], code), text(found)
    for name, each in found.lines.items():
        if each.outcome.value == "SKIP" and name != "daemon":
            assert each.note.startswith("needs: "), text(found)


async def test_of_what_is_whole_nothing_fails(whole: SetUp) -> None:
    found = await whole.looked()
    assert found.broken is None, text(found)
    skipped = [name for name, each in found.lines.items() if each.outcome.value == "SKIP"]
    assert skipped == ["daemon"]
    assert "with a login" in found.lines["proxy"].note


async def test_dns(whole: SetUp) -> None:
    only(await whole.but(PROXY="none", PROXY_AUTH="").looked(), "dns", "MT2201")
    only(await whole.but(PROXY="http://no-such-proxy.invalid:3128").looked(), "dns", "MT2201")


async def test_the_proxy(whole: SetUp) -> None:
    found = await whole.but(PROXY=f"http://127.0.0.1:{free_port()}").looked()
    only(found, "tcp", "MT2202")
    assert "the proxy" in found.cause
    async with answering(lambda _: said(403, b"not there")) as port:
        only(await whole.but(PROXY=f"http://127.0.0.1:{port}").looked(), "proxy", "MT2203")


@pytest.mark.parametrize("login", ["worker:wrong", ""])
async def test_the_proxys_login(whole: SetUp, login: str) -> None:
    broken = whole.but(LOGIN=login) if login else whole.but(PROXY_AUTH="")
    found = await broken.looked()
    only(found, "proxy", "MT2711")
    assert "wrong" not in text(found)


async def test_tls_that_is_opened_on_the_way(whole: SetUp) -> None:
    """By the proxy's own authority, whom nobody configured."""
    async with (
        tls_front(Authority().server(NAME), whole.lab.port) as front,
        ConnectProxy({f"{NAME}:443": ("127.0.0.1", front)}, login=LOGIN) as proxy,
    ):
        found = await whole.but(PROXY=f"http://127.0.0.1:{proxy.port}", CA_FILE="").looked()
    only(found, "tls", "MT2704")
    assert "trustme" in found.cause, "whose it is"


async def test_a_wrong_authority(whole: SetUp) -> None:
    other = Authority().write(whole.folder / "other.pem")
    found = await whole.but(CA_FILE=str(other)).looked()
    only(found, "tls", "MT2204")
    assert "other.pem" in found.cause


@pytest.mark.parametrize("seconds", [-7200, 7200])
async def test_the_clock(whole: SetUp, seconds: int) -> None:
    only(await whole.looked(now=lambda: time.time() + seconds), "clock", "MT2705")


async def test_a_wrong_key(whole: SetUp) -> None:
    settings = whole.settings()
    key = settings.state_dir / "client.key"
    kept = key.read_bytes()
    try:
        key.write_text(PrivateKey.generate().to_pem().get_secret_value())
        only(await whole.looked(), "signature", "MT2706")
    finally:
        key.write_bytes(kept)


async def test_a_revoked_key(whole: SetUp) -> None:
    """A lock on the key; and its tunnel turned off."""
    shown = await whole.lab.relay_json("tunnel", "show", TUNNEL)
    (instance,) = shown["tunnel"]["instances"]
    words = ("--key", instance["id"], "--reason", "stolen")
    made = await whole.lab.relay_json("lock", "add", *words)
    found = await whole.looked()
    await whole.lab.relay_command("lock", "remove", made["lock"]["id"])
    only(found, "signature", "MT2706")
    await whole.lab.relay_command("tunnel", "disable", TUNNEL)
    found = await whole.looked()
    await whole.lab.relay_command("tunnel", "enable", TUNNEL)
    only(found, "signature", "MT2707")


def elsewhere(whole: SetUp, port: int) -> ClientSettings:
    """Return the settings with the upstream at another port."""
    settings = whole.settings()
    (mine,) = [each for each in settings.upstream if each.name == SERVER]
    moved = mine.model_copy(update={"url": f"http://127.0.0.1:{port}/mcp"})
    return settings.model_copy(update={"upstream": [moved]})


async def test_an_upstream_that_is_down(whole: SetUp) -> None:
    only(await whole.looked(elsewhere(whole, free_port())), UPSTREAM, "MT2712")


async def test_an_upstream_that_is_no_mcp_server(whole: SetUp) -> None:
    async with answering(lambda _: said(200, b"<h1>It works</h1>")) as port:
        only(await whole.looked(elsewhere(whole, port)), UPSTREAM, "MT2713")


async def test_a_policy_that_denies(whole: SetUp) -> None:
    file = whole.desk.file("client")
    denies = f"  - {{id: shut, match: {{server: {SERVER}}}, effect: deny}}\n"
    try:
        file.write_text(POLICY + denies)
        only(await whole.looked(), RULES, "MT2715")
    finally:
        file.write_text(POLICY)


async def test_a_relay_that_drains(whole: SetUp) -> None:
    """The last one: a daemon's call is under way when the relay is told to stop."""
    lab, desk = whole.lab, whole.desk
    await lab.start_client([SERVER, OTHER])
    assert lab.relay is not None
    try:
        desk.upstream.driven.add("get_ticket")
        async with desk.scene.agent.open(call("get_ticket", case="drains")) as reply:
            seen = await desk.upstream.arrived("drains")
            lab.relay.send_signal(signal.SIGTERM)

            async def stopping() -> bool:
                return bool((await desk.scene.ready())["reason"] == "stopping")

            await eventually(stopping)
            found = await whole.looked()
            await seen.result({"content": []})
            await reply.end()
    finally:
        await end(lab.client)
    only(found, "relay", "MT2703")
    assert "stopping" in found.cause or "drain" in found.cause
