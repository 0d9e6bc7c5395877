"""Where a hostile stdio server cannot dial to, in the sandboxes of this machine."""

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.helpers import node_packages
from tests.helpers.sandboxes import Prying, bubblewrap, landlock, prying
from tests.helpers.stage import descendants
from tests.helpers.upstream_peer import LEGACY, eventually
from tunnel_client.sandbox.machine import Machine
from tunnel_client.settings_sandbox import SandboxSettings

pytestmark = pytest.mark.usefixtures("all_logs")
DENIED = ("PermissionError", "FileNotFoundError", "OSError")


@contextmanager
def listening() -> Iterator[int]:
    """A port of this machine, and whether somebody called it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server.getsockname()[1]
        with pytest.raises(BlockingIOError):
            server.accept()


@contextmanager
def local() -> Iterator[str]:
    """A folder of Unix sockets that programs of this user could dial, and whether one did."""
    with (
        tempfile.TemporaryDirectory() as folder,
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log,
    ):
        server.bind(f"{folder}/control.sock")
        server.listen()
        log.bind(f"{folder}/log")
        for each in (server, log):
            each.setblocking(False)
        yield folder
        with pytest.raises(BlockingIOError):
            server.accept()
        with pytest.raises(BlockingIOError):
            log.recv(100)


async def test_it_neither_dials_nor_listens(tmp_path: Path, machine: Machine) -> None:
    """L12."""
    with listening() as port:
        async with prying(tmp_path, machine) as server:
            dial = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
            assert (await server.run(dial)).startswith((*DENIED, "ConnectionRefused"))
            away = "import socket; socket.create_connection(('192.0.2.1', 443), 2)"
            assert (await server.run(away)).startswith(DENIED)
            mptcp = f"import socket; socket.socket(2, 1, 262).connect(('127.0.0.1', {port}))"
            assert (await server.run(mptcp)).startswith((*DENIED, "ConnectionRefused"))
            fast = f"socket.socket().sendto(b'x', 0x20000000, ('127.0.0.1', {port}))"
            said = await server.run(f"import socket; {fast}")
            assert said.startswith((*DENIED, "ConnectionRefused"))
            datagram = "import socket; socket.socket(2, 2).sendto(b'x', ('192.0.2.1', 53))"
            assert (await server.run(datagram)).startswith(DENIED)
            if machine.bwrap is None:
                serve = "import socket; socket.create_server(('127.0.0.1', 0))"
                assert (await server.run(serve)).startswith("PermissionError")


@pytest.mark.parametrize("network", [False, True])
async def test_it_dials_no_local_socket(tmp_path: Path, machine: Machine, network: bool) -> None:
    """L12: the client's own, systemd's, a container engine's."""
    rules = SandboxSettings(network=network)
    with local() as folder:
        async with prying(tmp_path, machine, sandbox=rules) as server:
            dial = f"import socket; socket.socket(socket.AF_UNIX).connect('{folder}/control.sock')"
            assert (await server.run(dial)).startswith(DENIED)
            turn = f"import socket; socket.socketpair(1, 2)[0].sendto(b'x', '{folder}/log')"
            assert (await server.run(turn)).startswith(DENIED)
            pair = "import socket; a, b = socket.socketpair(); a.send(b'x'); result = b.recv(9)"
            assert await server.run(pair) == "b'x'", "programs speak to their own with these"


async def test_with_landlock_alone_no_call_leads_around(tmp_path: Path) -> None:
    machine = landlock()
    libc = "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
    async with prying(tmp_path, machine) as server:
        ring = f"{libc}result = (libc.syscall(425, 1, bytes(120)), ctypes.get_errno())"
        assert await server.run(ring) == "(-1, 1)"
        for call in ("shmget(0, 4096, 0o1600)", "shmctl(0, 0, 0)", "msgctl(0, 0, 0)"):
            said = await server.run(f"{libc}result = (libc.{call}, ctypes.get_errno())")
            assert said == "(-1, 1)", call
        limits = f"import resource; resource.prlimit({os.getpid()}, resource.RLIMIT_CORE)"
        assert (await server.run(limits)).startswith("PermissionError")


async def test_with_all_of_the_network_it_dials(tmp_path: Path, machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        async with prying(tmp_path, machine, sandbox=SandboxSettings(network=True)) as child:
            dial = f"import socket; result = socket.create_connection(('127.0.0.1', {port}), 5)"
            assert "connected" in (await child.run(dial + "; result = 'connected'"))
            assert "ALL NETWORK" in str(child.upstream.standing()["sandbox"])


ASK = """
import socket
import sys
def ask(place):
    with socket.create_connection(("127.0.0.1", 3128), 10) as proxy:
        proxy.sendall(f"CONNECT {place} HTTP/1.1\\r\\nHost: {place}\\r\\n\\r\\n".encode())
        said = proxy.recv(4096).decode()
        if " 200 " in said:
            proxy.sendall(b"hello")
            proxy.shutdown(socket.SHUT_WR)
            said = proxy.recv(100).decode()
        return said
"""


async def test_it_reaches_the_listed_host_and_no_other(tmp_path: Path) -> None:
    """L12, R01: through our proxy, from a network that has nothing else in it."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard " + await reader.read())
        writer.close()

    machine = bubblewrap()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    rules = SandboxSettings(hosts=[f"127.0.0.1:{port}"])
    with listening() as other, capture_logs() as logs:
        async with prying(tmp_path, machine, sandbox=rules) as child:
            proxy = await child.run("import os; result = os.environ['HTTPS_PROXY']")
            assert proxy == "http://127.0.0.1:3128"
            heard = await child.run(f"{ASK}result = ask('127.0.0.1:{port}')")
            assert heard == "heard hello"
            for place in (f"127.0.0.1:{other}", f"localhost:{port}", f"127.1:{port}"):
                said = await child.run(f"{ASK}result = ask({place!r})")
                assert said.startswith("HTTP/1.1 403 "), place
            dial = f"import socket; socket.create_connection(('127.0.0.1', {other}), 2)"
            assert (await child.run(dial)).startswith((*DENIED, "ConnectionRefused"))
            status = "result = open('/proc/self/status').read()"
            assert "NoNewPrivs:\t1" in await child.run(status)
            assert f"network: 127.0.0.1:{port}" in child.upstream.standing()["sandbox"]
    server.close()
    refused = [each for each in logs if each["event"] == "kept a program from the network"]
    assert len(refused) == 3
    await eventually(lambda: not descendants(os.getpid()))


async def started(server: Prying, tool: str, arguments: dict[str, str]) -> str:
    """Begin an MCP session with a real server and return what its tool says."""
    who = {"clientInfo": {"name": "t", "version": "1"}}
    params = {"protocolVersion": LEGACY, "capabilities": {}, **who}
    begun = server.peer.send({"id": 0, "method": "initialize", "params": params}, mcp_session="s")
    assert "result" in (await begun.done()).last
    server.peer.send({"method": "notifications/initialized"}, mcp_session="s")
    return (await server.peer.legacy_call("s", tool, arguments).done()).text


async def test_a_real_python_server_serves(tmp_path: Path, machine: Machine) -> None:
    program = str(Path(sys.executable).with_name("mcp-server-time"))
    asked = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    async with prying(tmp_path, machine, command=[program]) as server:
        assert "21:00" in await started(server, "convert_time", asked)


@pytest.mark.skipif(
    not (node_packages.NODE_DIR / "node_modules" / ".installed").is_file(),
    reason="NODE PACKAGES ARE MISSING: run python -m tests.helpers.node_packages tests/node",
)
async def test_a_real_node_server_serves(tmp_path: Path, machine: Machine) -> None:
    program = node_packages.node_modules() / ".bin" / "mcp-server-filesystem"
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "note").write_text("seen by Node")
    command = [str(node_packages.node()), str(program), str(folder)]
    rules = SandboxSettings(read=[folder])
    async with prying(tmp_path, machine, command=command, sandbox=rules) as server:
        said = await started(server, "read_text_file", {"path": str(folder / "note")})
        assert said == "seen by Node"
