"""The admin listener is there where it is configured, and says so when it cannot be."""

import socket
import ssl
from pathlib import Path

import anyio
import httpx2
import pytest
from structlog.testing import capture_logs

from tests.helpers.tls import Authority
from tests.tunnel_relay.making import an_admin
from tunnel_relay.admin.service import Admin
from tunnel_relay.console.listener import serve_console
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.events import EventRing
from tunnel_relay.settings import AdminListen, Settings, Tls


def with_admin(admin: Admin, place: AdminListen | None) -> Settings:
    return admin.settings.model_copy(update={"admin": place})


async def test_without_the_section_nothing_listens(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        with capture_logs() as lines:
            async with serve_console(admin, with_admin(admin, None), EventRing()):
                pass
        assert lines == []


async def test_it_serves_and_stops(tmp_path: Path) -> None:
    async with an_admin(tmp_path) as admin:
        with capture_logs() as lines:
            settings = with_admin(admin, AdminListen(port=0))
            async with serve_console(admin, settings, EventRing()):
                port = lines[0]["port"]
                async with httpx2.AsyncClient(trust_env=False) as http:
                    answer = await http.get(f"http://localhost:{port}/login")
                    assert answer.status_code == 200
                    foreign = await http.get(
                        f"http://127.0.0.1:{port}/login", headers={"Host": "evil.example"}
                    )
                    assert foreign.status_code == 421
                    assert "admin.public_url" in foreign.text
            with pytest.raises(OSError, match="refused"), socket.socket() as probe:
                probe.connect(("127.0.0.1", port))
        assert lines[0]["event"] == "console_listening"


async def test_it_ends_tls_itself(tmp_path: Path) -> None:
    authority = Authority()
    cert, key = authority.files(tmp_path, "localhost")
    context = ssl.create_default_context(cafile=authority.write(tmp_path / "ca.pem"))
    async with an_admin(tmp_path) as admin:
        with capture_logs() as lines:
            place = AdminListen(port=0, tls=Tls(cert_file=cert, key_file=key))
            async with serve_console(admin, with_admin(admin, place), EventRing()):
                url = f"https://localhost:{lines[0]['port']}/login"
                async with httpx2.AsyncClient(verify=context, trust_env=False) as http:
                    assert (await http.get(url)).status_code == 200


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with an_admin(tmp_path) as admin:
            settings = with_admin(admin, AdminListen(port=port))
            with pytest.RaisesGroup(pytest.RaisesExc(RelayError, match=str(port))) as caught:
                async with serve_console(admin, settings, EventRing()):
                    await anyio.sleep_forever()
    error = caught.value.exceptions[0]
    assert isinstance(error, RelayError)
    assert error.code is Code.CANNOT_LISTEN
