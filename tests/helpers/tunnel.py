"""Start a relay and a client in front of private MCP servers by their public commands."""

import asyncio
import json
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from pydantic import SecretStr

from tests.helpers import warm

BIN = Path(sys.executable).parent
TUNNEL = "lab"
OWNER = "ada"
"""Whose the tunnel is, and so a user."""
OPEN = """\
version: 1
rules:
  - id: everything
    match: {method: "*"}
    effect: allow
"""
"""The policy of a lab: it is about the tunnel; what policies do has scenes of its own."""
HURRIED = {
    "TUNNEL_RELAY_LIMITS__DRAIN_NOTICE": "0s",
    "TUNNEL_RELAY_LIMITS__DRAIN_SECONDS": "5s",
}
"""A relay of a lab that stops has no balancer that must see it; how it drains has tests."""
PORTS = (10_240, 32_768)
START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class HttpUpstream:
    """A private MCP server that already serves Streamable HTTP at `url`.

    With a `credential` the client shows it as a bearer, and so scrubs every answer for it.
    """

    url: str
    credential: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class StdioUpstream:
    """A private MCP server that the client starts itself: an argument list, never a shell.

    `read` and `write` are what it may use beside its folder. `sandboxed` False is for tests that
    look at its processes from outside, where a sandbox hides their numbers.
    """

    command: tuple[str, ...]
    working_directory: Path
    read: tuple[Path, ...] = ()
    write: tuple[Path, ...] = ()
    sandboxed: bool = True


Program = asyncio.subprocess.Process | warm.Daemon
"""A daemon that was started."""


class RunningTunnel(NamedTuple):
    """Where agents call, and the session token that they have to send."""

    url: str
    token: SecretStr


class CommandError(RuntimeError):
    """A command of ours ended with something other than 0."""

    def __init__(self, argv: Sequence[str], code: int, stderr: str, stdout: str = "") -> None:
        super().__init__(f"{' '.join(argv[:3])} ended with {code}: {stderr[-2000:]}")
        self.code = code
        self.stderr = stderr
        self.stdout = stdout


@dataclass
class Lab:
    """A running relay and client, in a folder of their own.

    `origin` is the relay's public URL on loopback, without TLS unless a certificate was given.
    """

    folder: Path
    origin: str
    port: int
    relay: Program | None = None
    client: Program | None = None
    environment: dict[str, str] = field(default_factory=dict)
    policy: str = OPEN
    """The client's policy file."""
    pinned: bool = False
    """Are the tools of every upstream pinned as they are? Otherwise nobody asks for pins."""
    handed: socket.socket | None = None
    """What relays get to serve at, as from a service manager; without it they open their own."""
    under: Sequence[str] = ()
    """The words of a command that both daemons are started by."""
    warm: ClassVar[bool] = False
    """Are daemons forked too? Tests do, what measures does not: a start takes its time."""

    @property
    def relay_config(self) -> Path:
        """The relay's configuration file."""
        return self.folder / "relay" / "relay.toml"

    @property
    def client_config(self) -> Path:
        """The client's configuration file."""
        return self.folder / "client" / "client.toml"

    def url(self, upstream: str) -> str:
        """Where agents reach an upstream."""
        return f"{self.origin}/t/{TUNNEL}/{upstream}/mcp"

    async def relay_command(self, *words: str) -> str:
        """Run a `tunnel-relay` command and return what it printed; raises CommandError."""
        return await self._run("tunnel-relay", *words, "--config", str(self.relay_config))

    async def relay_json(self, *words: str) -> Any:
        """Run a `tunnel-relay` command with `--json` and return the value."""
        return json.loads(await self.relay_command(*words, "--json"))

    async def client_command(self, *words: str) -> str:
        """Run a `tunnel-client` command and return what it printed; raises CommandError."""
        return await self._run("tunnel-client", *words, "--config", str(self.client_config))

    async def session(self, upstream: str, user: str = OWNER, ttl: str = "1h") -> dict[str, Any]:
        """Create a session; the answer holds `token`."""
        await self.known(user)
        made: dict[str, Any] = await self.relay_json(
            *("session", "create", "--user", user, "--agent", "test"),
            *("--server", f"{TUNNEL}/{upstream}", "--ttl", ttl),
        )
        return made

    async def known(self, user: str) -> None:
        """Make sure that the relay knows a user, without a login if they are new."""
        try:
            if user != OWNER:
                await self.relay_command("user", "add", user, "--no-password")
        except CommandError as error:
            if "MT1041" not in error.stderr:
                raise

    async def start_relay(self) -> None:
        """Serve, and wait until the port answers."""
        self.relay = await self._start("tunnel-relay", "serve", self.relay_config, "relay.log")
        await self._until(self._listens, "the relay does not listen", self.relay)

    async def start_client(self, upstreams: Sequence[str]) -> None:
        """Run the client, and wait until the relay knows its upstreams."""
        self.client = await self._start("tunnel-client", "run", self.client_config, "client.log")

        async def linked() -> bool:
            shown = await self.relay_json("tunnel", "show", TUNNEL)
            return set(upstreams) <= set(shown["tunnel"]["upstreams"])

        await self._until(linked, "the client made no link", self.client)

    async def stop(self) -> None:
        """End both programs as a service manager would; kills what does not end."""
        for process in (self.client, self.relay):
            await end(process)
        if self.handed is not None:
            self.handed.close()

    async def _start(self, program: str, verb: str, config: Path, log: str) -> Program:
        handed = self.handed if program == "tunnel-relay" else None
        with (self.folder / log).open("ab") as sink:
            # What is loaded before a program is loaded when it is started, not when it is forked.
            cold = handed is not None or self.under or "LD_PRELOAD" in self.environment
            if self.warm and not cold:
                words = (verb, "--config", str(config))
                fork = partial(warm.start, program, words, self._env(), sink.fileno())
                return await anyio.to_thread.run_sync(fork)
            return await asyncio.create_subprocess_exec(
                *([] if handed is None else handing(handed)),
                *self.under,
                str(BIN / program),
                verb,
                "--config",
                str(config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                env=self._env(),
                pass_fds=[] if handed is None else [handed.fileno()],
                start_new_session=True,
            )

    async def _run(self, program: str, *words: str) -> str:
        run = partial(warm.run, program, words, self._env(), START_SECONDS)
        ended = await anyio.to_thread.run_sync(run)
        if ended.code:
            raise CommandError((program, *words), ended.code, ended.err, ended.out)
        return ended.out

    def _env(self) -> dict[str, str]:
        return {**os.environ, "PYTHONWARNINGS": warm.WARNINGS, **HURRIED, **self.environment}

    async def _listens(self) -> bool:
        if self.handed is not None:  # connections are taken in any case
            return (self.folder / "relay" / "state" / "control.sock").exists()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def _until(self, ready: Any, problem: str, process: Program) -> None:
        try:
            with anyio.fail_after(START_SECONDS):
                while not await ready():
                    if process.returncode is not None:
                        break
                    await asyncio.sleep(0.05)
                else:
                    return
        except TimeoutError:
            pass
        raise RuntimeError(f"{problem}\n{self.logs()}")

    def logs(self) -> str:
        """Return the ends of both programs' logs."""
        parts = []
        for name in ("relay.log", "client.log"):
            path = self.folder / name
            if path.exists():
                parts.append(f"--- {name}\n{path.read_text(errors='replace')[-3000:]}")
        return "\n".join(parts)


def handing(handed: socket.socket, name: str = "agents") -> list[str]:
    """Return the words that hand a socket to the command after them, as systemd would."""
    return [sys.executable, "-c", _HAND_OVER, str(handed.fileno()), name]


_HAND_OVER = """\
import os, sys
descriptor, name, *command = sys.argv[1:]
if descriptor != "3":
    os.dup2(int(descriptor), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
os.execv(command[0], command)
"""


async def end(process: Program | None) -> None:
    """End a program of ours by its process group; SIGTERM first."""
    if process is None or process.returncode is not None:
        return
    with suppress(ProcessLookupError):  # dead, and asyncio has yet to hear of it
        os.killpg(process.pid, signal.SIGTERM)
    try:
        with anyio.fail_after(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def free_port() -> int:
    """Return a loopback port nobody listens on now.

    It is none of those that connections get by themselves: one of them might take it meanwhile.
    """
    while True:
        port = random.randrange(*PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def make_lab(
    upstreams: Mapping[str, HttpUpstream | StdioUpstream],
    *,
    start: bool = True,
    port: int | None = None,
    prepare: Callable[[Lab], None] | None = None,
) -> AsyncIterator[Lab]:
    """Set up relay and client with these upstreams, start them, and stop them after.

    `prepare` may change the environment of both programs before any of them runs.
    """
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        port = port or free_port()
        lab = Lab(Path(folder), f"http://127.0.0.1:{port}", port)
        if prepare is not None:
            prepare(lab)
        lab.relay_config.parent.mkdir()
        await lab.relay_command(
            *("init", "--public-url", lab.origin, "--listen", f"127.0.0.1:{port}"),
            *("--state-dir", str(lab.folder / "relay" / "state"), "--admin-listen", "none"),
        )
        try:
            await lab.start_relay()
            await _enroll(lab)
            for name, upstream in upstreams.items():
                await _add_upstream(lab, name, upstream)
            if start:
                await lab.start_client(list(upstreams))
            yield lab
        finally:
            await lab.stop()


async def _enroll(lab: Lab) -> None:
    made = await lab.relay_json("tunnel", "create", TUNNEL, "--owner", OWNER)
    code = lab.folder / "join-code"
    code.touch(mode=0o600)
    code.write_text(made["join_code"] + "\n")
    lab.client_config.parent.mkdir(mode=0o700)
    state = lab.folder / "client" / "state"
    enrolled = await lab.client_command(
        *("enroll", "ws" + lab.origin.removeprefix("http"), "--join-code-file", str(code)),
        *("--state-dir", str(state)),
    )
    assert "policy.yaml" in enrolled
    (lab.client_config.parent / "policy.yaml").write_text(lab.policy)


async def _add_upstream(lab: Lab, name: str, upstream: HttpUpstream | StdioUpstream) -> None:
    table = ["", "[[upstream]]", f"name = {json.dumps(name)}"]
    if isinstance(upstream, HttpUpstream):
        table += [f"url = {json.dumps(upstream.url)}", *_credential(lab, name, upstream)]
    else:
        table += [
            f"command = {json.dumps(list(upstream.command))}",
            f"cwd = {json.dumps(str(upstream.working_directory))}",
        ]
    if not lab.pinned:
        table += ['pinning = "off"', "catalog_at_start = false"]
    if isinstance(upstream, StdioUpstream):
        table += [
            "[upstream.sandbox]",
            f"read = {json.dumps(list(map(str, upstream.read)))}",
            f"write = {json.dumps(list(map(str, upstream.write)))}",
            *([] if upstream.sandboxed else ['level = "off"']),
        ]
    with lab.client_config.open("a") as config:
        config.write("\n".join(table) + "\n")
    if isinstance(upstream, StdioUpstream):
        await lab.client_command("consent", "approve", name, "--yes")
    if lab.pinned:
        await lab.client_command("tool", "pin", name, "--all", "--yes")


def _credential(lab: Lab, name: str, upstream: HttpUpstream) -> list[str]:
    if upstream.credential is None:
        return []
    secret = lab.folder / f"credential-{name}"
    secret.touch(mode=0o600)
    secret.write_text(upstream.credential.get_secret_value())
    parts = urlsplit(upstream.url)
    origin, value = f"{parts.scheme}://{parts.netloc}", f"file:{secret}"
    held = f'kind = "bearer", origin = {json.dumps(origin)}, value = {json.dumps(value)}'
    return [f"credential = {{ {held} }}"]


@asynccontextmanager
async def start_tunnel(
    upstream: HttpUpstream | StdioUpstream, prepare: Callable[[Lab], None] | None = None
) -> AsyncIterator[RunningTunnel]:
    """Run relay and client in front of `upstream` and yield the endpoint; both are gone after.

    The endpoint is on loopback, because the conformance suite only checks rebinding there.
    """
    async with make_lab({"server": upstream}, prepare=prepare) as lab:
        made = await lab.session("server")
        yield RunningTunnel(lab.url("server"), SecretStr(made["token"]))
