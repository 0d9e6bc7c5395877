"""The client's doctor against a running relay: it finds what is broken and disturbs nobody."""

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import SecretStr

from shared.keys import PrivateKey, encode_public
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import TUNNEL, end
from tests.integration.scene import OTHER, SERVER, Scene, open_scene
from tests.tunnel_client.doctor.doctored import Verdict, verdict
from tunnel_client.control import ask_status
from tunnel_client.settings import ClientSettings, load_settings

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    async with open_scene(start=False) as made:
        yield made


def settings_of(scene: Scene) -> ClientSettings:
    return load_settings(scene.lab.client_config, {})


def text(found: Verdict) -> str:
    return "\n".join(line.text() for line in found.lines.values())


async def test_everything_is_well_without_a_daemon(scene: Scene) -> None:
    found = await verdict(settings_of(scene))
    assert found.broken is None, text(found)
    assert {name for name, line in found.lines.items() if line.outcome.value == "SKIP"} == {
        *("daemon", "proxy", "tls")
    }
    assert (await scene.ready())["links"] <= 1
    await scene.linked(0)


async def test_with_a_daemon_its_own_link_is_asked_about_and_stays(scene: Scene) -> None:
    """A second link of one instance would end the first one for good."""
    await scene.lab.start_client([SERVER, OTHER])
    try:
        await scene.linked()
        settings = settings_of(scene)
        before = ask_status(settings.state_dir)
        found = await verdict(settings, through_relay=True)
        assert found.broken is None, text(found)
        assert found.outcome("signature") == found.outcome("round trip") == "PASS"
        assert "session create" in found.lines["call through relay"].next
        grant = await scene.grant()
        assert grant.agent.token is not None
        token = SecretStr(grant.agent.token.get_secret_value())
        sessions = set(scene.upstream.sessions)
        called = await verdict(settings, through_relay=True, token=token, server=SERVER)
        assert called.outcome("call through relay") == "PASS", text(called)
        assert scene.upstream.sessions == sessions, "its MCP session ended with the call"
        assert "session revoke" in called.lines["revocation"].next
        await scene.lab.relay_command("session", "revoke", grant.id, "--reason", "over")
        gone = await verdict(settings, through_relay=True, token=token, server=SERVER)
        assert (gone.broken, gone.code) == ("call through relay", "MT2055")
        assert token.get_secret_value() not in text(called) + text(gone)
        after = ask_status(settings.state_dir)
        assert (after["links_made"], after["epoch"]) == (before["links_made"], before["epoch"])
        shown = await scene.lab.client_command("doctor")
        assert "ok: " in shown
    finally:
        await end(scene.lab.client)
        await scene.linked(0)


@pytest.mark.parametrize("daemon", [False, True])
async def test_every_address_is_looked_at(daemon: bool) -> None:
    async with (
        TcpProxy() as one,
        TcpProxy() as two,
        TcpProxy() as three,
        open_scene(via=(one, two, three), start=daemon) as scene,
    ):
        settings = load_settings(scene.lab.client_config, scene.lab.environment)
        if daemon:
            await scene.linked()
        found = await verdict(settings, through_relay=True)
        assert found.broken is None, text(found)
        places = [f"127.0.0.1:{each.port}" for each in (one, two, three)]
        outcomes = [found.outcome(f"signature {place}") for place in places]
        assert outcomes == ["PASS", "PASS", "SKIP" if daemon else "PASS"]
        assert outcomes == [found.outcome(f"round trip {place}") for place in places]
        assert f"call through relay {places[2]}" in found.lines
        two.refusing = True
        two.cut()
        found = await verdict(settings)
        assert found.broken is not None
        assert found.broken.endswith(f" {places[1]}")
        assert found.outcome(f"websocket {places[0]}") == "PASS", text(found)
        if not daemon:
            assert found.outcome(f"signature {places[2]}") == "PASS", text(found)


async def test_a_clock_two_hours_off(scene: Scene) -> None:

    found = await verdict(settings_of(scene), now=lambda: time.time() - 7200)
    assert (found.broken, found.code) == ("clock", "MT2705")
    assert found.outcome("websocket") == "PASS"


async def test_a_key_that_is_not_the_enrolled_one(scene: Scene) -> None:
    settings = settings_of(scene)
    key = settings.state_dir / "client.key"
    kept = key.read_bytes()
    try:
        key.write_text(PrivateKey.generate().to_pem().get_secret_value())
        found = await verdict(settings)
    finally:
        key.write_bytes(kept)
    assert (found.broken, found.code) == ("signature", "MT2706")
    assert found.lines["round trip"].note == "needs: signature"


async def test_a_key_file_that_others_can_read(scene: Scene) -> None:
    settings = settings_of(scene)
    key = settings.state_dir / "client.key"
    key.chmod(0o644)
    try:
        found = await verdict(settings)
    finally:
        key.chmod(0o600)
    assert (found.broken, found.code) == ("identity", "MT2002")
    assert found.lines["signature"].note == "needs: identity"


async def test_a_relay_with_another_key_than_the_pinned_one(scene: Scene) -> None:
    settings = settings_of(scene)
    other = encode_public(PrivateKey.generate().public)
    relay = settings.relay.model_copy(update={"public_key": other})
    found = await verdict(settings.model_copy(update={"relay": relay}))
    assert (found.broken, found.code) == ("signature", "MT2709")


async def test_a_tunnel_that_the_relay_disabled(scene: Scene) -> None:
    await scene.lab.relay_command("tunnel", "disable", TUNNEL)
    try:
        found = await verdict(settings_of(scene))
    finally:
        await scene.lab.relay_command("tunnel", "enable", TUNNEL)
    assert (found.broken, found.code) == ("signature", "MT2707")


async def test_a_state_folder_that_was_copied_back(scene: Scene) -> None:
    """The last one: the relay locks such a key until it is enrolled anew."""
    settings = settings_of(scene)
    (settings.state_dir / "counter").write_text("0\n")
    found = await verdict(settings)
    assert (found.broken, found.code) == ("signature", "MT2708")
    again = await verdict(settings)
    assert (again.broken, again.code) == ("signature", "MT2707")
