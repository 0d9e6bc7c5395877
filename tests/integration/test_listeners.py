"""With two listeners each serves its own, however a path is spelled."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
import pytest_asyncio

from tests.helpers.tunnel import Lab, free_port

pytestmark = [pytest.mark.system, pytest.mark.asyncio(loop_scope="module")]


class Ports(NamedTuple):
    agents: int
    links: int


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ports() -> AsyncIterator[Ports]:
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        found = Ports(free_port(), free_port())
        lab = Lab(Path(folder), f"http://127.0.0.1:{found.agents}", found.agents)
        lab.environment["TUNNEL_RELAY_LINKS__PORT"] = str(found.links)
        origins = [f"http://127.0.0.1:{port}" for port in found]
        lab.environment["TUNNEL_RELAY_PUBLIC_URL"] = json.dumps(origins)
        lab.relay_config.parent.mkdir()
        await lab.relay_command(
            *("init", "--public-url", lab.origin, "--listen", f"127.0.0.1:{found.agents}"),
            *("--state-dir", str(lab.folder / "relay" / "state")),
        )
        try:
            await lab.start_relay()
            yield found
        finally:
            await lab.stop()


async def status(port: int, method: str, target: str) -> int:
    """Send a request with this very target; returns the status of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        with anyio.fail_after(30):
            head = f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
            writer.write((head + "Content-Length: 0\r\n\r\n").encode())
            line = await reader.readline()
            return int(line.split()[1])
    finally:
        writer.close()


def spellings(path: str, port: int) -> list[str]:
    escaped = f"/%{ord(path[1]):02x}{path[2:]}"
    return [path, escaped, f"http://127.0.0.1:{port}{path}", "/" + path, "/x/.." + path]


AGENTS = ["/oauth/authorize", "/.well-known/oauth-authorization-server", "/oauth/static/style.css"]


@pytest.mark.parametrize("path", AGENTS)
async def test_the_listener_for_links_has_no_login_pages(ports: Ports, path: str) -> None:
    assert await status(ports.agents, "GET", path) in (200, 400)
    for target in spellings(path, ports.links):
        assert await status(ports.links, "GET", target) == 404


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/login"])
async def test_the_listener_for_links_takes_no_forms(ports: Ports, path: str) -> None:
    assert await status(ports.agents, "POST", path) in (400, 403)
    for target in spellings(path, ports.links):
        assert await status(ports.links, "POST", target) == 404


async def test_the_listener_for_agents_takes_no_enrolment(ports: Ports) -> None:
    assert await status(ports.links, "POST", "/tunnel/enroll") == 400
    for target in [*spellings("/tunnel/enroll", ports.agents), "/oauth/../tunnel/enroll"]:
        assert await status(ports.agents, "POST", target) == 404


async def test_both_say_how_they_are(ports: Ports) -> None:
    for port in ports:
        assert await status(port, "GET", "/healthz") == 200
