"""What a hostile stdio server cannot do, in the sandboxes of this machine."""

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from tests.helpers.sandboxes import BARE, PRYING, agree, prying
from tests.helpers.stage import descendants
from tests.helpers.upstream_peer import Peer, eventually
from tests.tunnel_client.upstream.test_stdio_process import descriptors
from tunnel_client.consent.guard import Guards
from tunnel_client.sandbox.machine import Machine
from tunnel_client.settings import UpstreamSettings
from tunnel_client.settings_sandbox import SandboxSettings
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_guarded import ConsentedUpstream
from tunnel_client.upstream.stdio_strays import MARK

HOME = Path.home()
DENIED = ("PermissionError", "FileNotFoundError", "OSError")


pytestmark = pytest.mark.usefixtures("all_logs")


def environ(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def reads(path: object) -> str:
    return f"result = open({str(path)!r}, 'rb').read()"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of ours outside of everything the server may read."""
    place = tmp_path / "state" / "client.key"
    place.parent.mkdir(mode=0o700)
    place.touch(mode=0o600)
    place.write_text("CANARY")
    return place


async def test_it_serves_and_says_how_it_is_kept(tmp_path: Path, machine: Machine) -> None:
    """L12: the log says at each start what the sandbox is."""
    with capture_logs() as logs:
        async with prying(tmp_path, machine) as server:
            assert await server.run("result = 6 * 7") == "42"
            standing = server.upstream.standing()
    started = next(each for each in logs if each["event"] == "child started")
    assert started["sandbox"] == standing["sandbox"]
    assert "landlock" in standing["sandbox"]
    assert ("no network" in standing["sandbox"]) == (machine.seccomp or machine.bwrap is not None)
    assert ("bubblewrap" in standing["sandbox"]) == (machine.bwrap is not None)
    assert (standing["refused"], standing["children"]) == (None, 1)


async def test_it_reads_neither_our_key_nor_our_home(
    tmp_path: Path, machine: Machine, secret: Path
) -> None:
    """C19, L13."""
    async with prying(tmp_path, machine) as server:
        for path in (secret, HOME / ".bashrc", "/etc/shadow", "/var/log", HOME / ".ssh"):
            assert (await server.run(reads(path))).startswith((*DENIED, "IsADirectory"))
        for folder in ("/home", "/var", tmp_path):
            said = await server.run(f"import os; result = os.listdir({str(folder)!r})")
            assert said.startswith(DENIED) or said == "[]" or "state" not in said


async def test_it_does_not_read_the_keys_of_the_system(tmp_path: Path, machine: Machine) -> None:
    """C19: as root it is their owner."""
    async with prying(tmp_path, machine) as server:
        for folder in ("/etc/ssl/private", "/etc/pki/tls/private"):
            said = await server.run(f"import os; result = os.listdir({folder!r})")
            assert said.startswith(DENIED), folder
        roots = "import ssl; result = len(ssl.create_default_context().get_ca_certs()) > 0"
        if ssl.create_default_context().get_ca_certs():
            assert await server.run(roots) == "True"


async def test_no_detour_leads_out(tmp_path: Path, machine: Machine, secret: Path) -> None:
    """L13: `..`, a link, and the root of another process."""
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "bent").symlink_to(secret)
    pid = os.getpid()
    rules = SandboxSettings(write=[folder])
    async with prying(tmp_path, machine, sandbox=rules) as server:
        for path in (
            folder / "bent",
            f"{folder}/../state/client.key",
            f"/proc/self/root{secret}",
            f"/proc/{pid}/root{secret}",
            f"/proc/1/root{secret}",
            f"/proc/{pid}/cwd/../..{secret}",
        ):
            assert (await server.run(reads(path))).startswith(DENIED), path
        made = await server.run(
            f"import os; os.symlink({str(secret)!r}, {str(folder / 'own')!r})\n"
            + reads(folder / "own")
        )
        assert made.startswith(DENIED)
        hard = await server.run(f"import os; os.link({str(secret)!r}, {str(folder / 'hard')!r})")
        assert hard.startswith(DENIED)
    assert not any(each.name == "hard" for each in listed(folder))


async def test_it_learns_nothing_of_the_process_that_started_it(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C01, C19: environment, memory and files of the parent, and ptrace."""
    monkeypatch.setenv("TUNNEL_CLIENT_SECRET", "CANARY")
    pid = os.getpid()
    attach = (
        "import ctypes; libc = ctypes.CDLL(None, use_errno=True)\n"
        f"result = (libc.ptrace(16, {pid}, 0, 0), ctypes.get_errno())"
    )
    async with prying(tmp_path, machine) as server:
        assert "CANARY" not in await server.run("import os; result = dict(os.environ)")
        for name in ("environ", "mem", "maps"):
            assert (await server.run(reads(f"/proc/{pid}/{name}"))).startswith(DENIED)
        opened = await server.run(f"import os; result = os.readlink('/proc/{pid}/fd/0')")
        assert opened.startswith(DENIED)
        assert (await server.run(attach)).startswith("(-1, ")
        everything = (
            "import glob\nresult = ''\n"
            "for place in glob.glob('/proc/[0-9]*/environ'):\n"
            "    try: result += open(place).read()\n"
            "    except OSError: pass\n"
        )
        assert "CANARY" not in await server.run(everything)


async def test_it_holds_no_descriptor_but_its_pipes(tmp_path: Path, machine: Machine) -> None:
    """C01: nothing of ours is open in it."""
    code = (
        "import os\nplaces = [f'/proc/self/fd/{n}' for n in range(3, 64)]\n"
        "result = [os.readlink(each) for each in places if os.path.lexists(each)]"
    )
    async with prying(tmp_path, machine) as server:
        assert await server.run(code) == "[]"


async def test_its_variables_are_for_it_alone(tmp_path: Path, machine: Machine) -> None:
    """C01: exactly what was configured, and none of it in the programs around it."""
    env = {"TOKEN": "CANARY-\n=\u00e9", "LD_PRELOAD": ""}
    secret = {name: SecretStr(value) for name, value in env.items()}
    async with prying(tmp_path, machine, env=secret) as server:
        code = "import os; result = ascii([sorted(os.environ), os.environ['TOKEN']])"
        said = await server.run(code)
        names = sorted({*env, "HOME", "PATH", MARK} | ({"TMPDIR"} if not machine.bwrap else set()))
        assert ascii(env["TOKEN"]) in said
        for name in names:
            assert repr(name) in said
        assert "PWD" not in said
        walls = descendants(os.getpid())
        seen = [environ(each) for each in walls]
        assert sum(b"CANARY" in each for each in seen) == 1, "the server, and not its walls"


async def test_it_changes_nothing_that_is_not_listed(tmp_path: Path, machine: Machine) -> None:
    """L13."""
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "note").write_text("kept")
    (tmp_path / "write").mkdir()
    rules = SandboxSettings(read=[tmp_path / "read"], write=[tmp_path / "write"])
    async with prying(tmp_path, machine, sandbox=rules) as server:
        assert await server.run(reads(tmp_path / "read" / "note")) == "b'kept'"
        inside = f"result = open({str(tmp_path / 'write' / 'new')!r}, 'w').write('x')"
        assert await server.run(inside) == "1"
        for place in (
            tmp_path / "read" / "note",
            PRYING,
            "/usr/bin/x",
            "/etc/passwd",
            sys.executable,
        ):
            told = await server.run(f"open({str(place)!r}, 'r+b').write(b'x')")
            assert told.startswith(DENIED), place
        scratch = "import tempfile; result = tempfile.NamedTemporaryFile().write(b'x')"
        assert await server.run(scratch) == "1"
    assert (tmp_path / "read" / "note").read_text() == "kept"
    assert (tmp_path / "write" / "new").read_text() == "x"


async def test_it_gains_no_privilege(tmp_path: Path, machine: Machine) -> None:
    code = "result = open('/proc/self/status').read()"
    async with prying(tmp_path, machine) as server:
        status = await server.run(code)
    assert "NoNewPrivs:\t1" in status
    if machine.bwrap is not None:
        assert "CapEff:\t0000000000000000" in status


async def test_a_fork_bomb_ends_with_its_server(tmp_path: Path, machine: Machine) -> None:
    """L09: the kernel does not count root's; the tests of `launch` show the limit for others."""
    bomb = (
        "import os, signal, time\nresult = 0\n"
        "for _ in range(200):\n"
        "    if os.fork() == 0:\n        signal.pause()\n        os._exit(0)\n"
        "    result += 1\n"
    )
    rules = SandboxSettings(processes=24)
    async with prying(tmp_path, machine, sandbox=rules) as server:
        said = await server.run(bomb)
        assert said.startswith("BlockingIOError") or os.geteuid() == 0 or machine.bwrap is None
    await eventually(lambda: not descendants(os.getpid()))


async def test_limits_hold(tmp_path: Path, machine: Machine) -> None:
    """L09."""
    code = (
        "import resource as r\n"
        "kinds = (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_AS)\n"
        "result = [r.getrlimit(kind)[1] for kind in kinds]"
    )
    rules = SandboxSettings(open_files=100, memory_mib=512)
    async with prying(tmp_path, machine, sandbox=rules) as server:
        assert await server.run(code) == str([0, 100, 512 * 1024 * 1024])


async def test_nothing_is_left_after_many_starts(tmp_path: Path, machine: Machine) -> None:
    """L09: in a sandbox too, with a process of its own session left in each."""
    leave = (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'],"
        " start_new_session=True, stdin=-3, stdout=-3, stderr=-3)\nresult = 'left'"
    )
    before = descriptors()
    for _ in range(8):
        async with prying(tmp_path, machine) as server:
            assert await server.run(leave) == "left"
    await eventually(lambda: not descendants(os.getpid()))
    assert descriptors() <= before


async def test_a_polite_end_reaches_the_server(tmp_path: Path, machine: Machine) -> None:
    """SIGTERM goes through the walls, and is not for them."""
    note = tmp_path / "work" / "note"
    note.parent.mkdir()
    deaf = (
        "import signal, sys, threading, os\n"
        f"def end(*_):\n    open({str(note)!r}, 'w').write('ended in order')\n    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "threading.Thread(target=lambda: None).start()\nresult = 'ready'"
    )
    hang = "import time\nwhile True: time.sleep(60)"
    rules = SandboxSettings(write=[note.parent])
    async with prying(tmp_path, machine, sandbox=rules, grace=2.0) as server:
        assert await server.run(deaf) == "ready"
        server.send(hang)
        await asyncio.sleep(0)
    assert note.read_text() == "ended in order"


async def test_a_server_nobody_agreed_to_is_not_started(tmp_path: Path) -> None:
    """L01: agents hear that it is not available, and nothing runs."""
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')"
    upstream = UpstreamSettings(
        name="x", command=[sys.executable, "-c", code], sandbox=SandboxSettings(level="off")
    )
    guard = Guards(tmp_path / "state", (), BARE).of(upstream, os.environ)
    running = ConsentedUpstream("x", guard, StdioLimits())
    with capture_logs() as logs:
        await running.start()
        replies = [await Peer(running).modern_call("any").done() for _ in range(3)]
    assert [reply.status for reply in replies] == [503] * 3
    data = json.loads(replies[0].body)["error"]["data"]
    assert data["delivery"] == "never_sent"
    assert b"MT2560" not in replies[0].body
    assert [each["code"] for each in logs if each["event"] == "upstream refused"] == ["MT2560"]
    assert len([each for each in logs if each["event"] == "child not started"]) == 1
    assert "MT2560" in running.standing()["refused"]
    assert not marker.exists()
    agree(guard)
    assert running.standing()["refused"] is None, "an agreement counts without a restart"
    await running.aclose()


async def test_no_message_names_a_program_or_a_variable(tmp_path: Path, machine: Machine) -> None:
    """L04: whatever an agent or the relay writes into a request, the local file decides."""
    wish = {"command": ["/bin/false"], "args": ["x"], "env": {"EVIL": "1"}, "cwd": "/"}
    code = "import os, sys; result = [sys.argv, os.environ.get('EVIL'), os.getcwd()]"
    async with prying(tmp_path, machine) as server:
        calm = await server.run(code)
        asked = server.peer.modern(
            "tools/call", {"name": "run", "arguments": {"code": code, **wish}, **wish}, meta=wish
        )
        assert (await asked.done()).text == calm
        begun = server.peer.send(
            {"id": 0, "method": "initialize", "params": {"capabilities": wish, **wish}},
            mcp_session="a" * 32,
        )
        await begun.done()
        assert str(PRYING) in calm
        assert "EVIL" not in calm


async def test_without_any_sandbox_it_is_said_loudly(tmp_path: Path) -> None:
    """L12."""
    with capture_logs() as logs:
        async with prying(tmp_path, BARE) as server:
            assert await server.run("result = 1") == "1"
            assert str(server.upstream.standing()["sandbox"]).startswith("UNSANDBOXED")
    loud = [each for each in logs if each["log_level"] == "warning"]
    assert {each["event"] for each in loud} >= {
        "upstream without a sandbox",
        "child started without a sandbox",
    }
