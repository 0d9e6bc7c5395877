"""A newcomer's first quarter of an hour: from nothing to an answered call, written down as it went.

    python -m tests.system.first_call [--install] [--write docs/first-call.md]

Behind a firewall that lets nothing out but a CONNECT proxy with a login, at a relay whose
certificate a private authority signed. Commands are those of the README, in a shell, with a home
folder that was empty; with `--install` the programs are installed first, as the README says.
"""

import argparse
import asyncio
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import anyio

from tests.helpers import ticket_desk
from tests.helpers.connect_proxy import ConnectProxy
from tests.helpers.tls import Authority
from tests.helpers.tunnel import BIN, free_port

ROOT = Path(__file__).resolve().parents[2]
RELAY = "relay.example.com"
LOGIN = "ada:s3cret-of-the-proxy"
SHELL = ("/bin/sh", "-c")
AS_SOMEBODY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
"""Who types when we are root: root's files would go to /etc."""
INSTALL_SECONDS = 300.0
COMMAND_SECONDS = 60.0
_QUESTION = (
    '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_tickets","arguments":{},'
    '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
    '"io.modelcontextprotocol/clientCapabilities":{}}}}'
)


class StepError(RuntimeError):
    """A command of the transcript failed."""


@dataclass
class Newcomer:
    """Somebody with a shell and an empty home folder; `steps` is what was typed and seen."""

    home: Path
    path: str
    steps: list[tuple[str, str, float]] = field(default_factory=list)
    secrets: dict[str, str] = field(default_factory=dict)
    """What is not written down, and what is written instead."""
    programs: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """A login's, and nothing of ours but that the console takes a free port."""
        free = {"TUNNEL_RELAY_ADMIN__PORT": "0"}
        return {"HOME": str(self.home), "PATH": self.path, "LANG": "C.UTF-8", **free}

    async def types(self, line: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a line of shell and note what it printed; raises StepError when it fails."""
        began = time.monotonic()
        process = await self._start(line, asyncio.subprocess.PIPE)
        with anyio.fail_after(seconds):
            out, _ = await process.communicate()
        said = self._clean(out.decode(errors="replace"))
        self.steps.append((self._clean(line), said, time.monotonic() - began))
        if process.returncode:
            raise StepError(f"$ {line}\n{said}")
        return said

    async def leaves_running(self, line: str, log: str, until: str) -> None:
        """Run a line of shell in a terminal of its own until its log has some words."""
        began = time.monotonic()
        with (self.home / log).open("wb") as sink:
            self.programs.append(await self._start(f"exec {line}", sink))
        with anyio.fail_after(COMMAND_SECONDS):
            while until not in (said := (self.home / log).read_text(errors="replace")):
                if self.programs[-1].returncode is not None:
                    raise StepError(f"$ {line}\n{said}")
                await anyio.sleep(0.05)
        self.steps.append((line, self._clean(said), time.monotonic() - began))

    async def _start(
        self, line: str, out: int | IO[bytes], given: int = asyncio.subprocess.DEVNULL
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(AS_SOMEBODY if os.geteuid() == 0 else ()),
            *(*SHELL, line),
            stdin=given,
            stdout=out,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
            cwd=self.home,
            start_new_session=True,
        )

    def _clean(self, text: str) -> str:
        for secret, shown in self.secrets.items():
            text = text.replace(secret, shown)
        text = re.sub(r"mcpj_\S+|mcps_\S+|mcp_\S+", "(not written down)", text)
        return text.replace(str(self.home), "~")

    async def leaves(self) -> None:
        """End what runs."""
        for program in reversed(self.programs):
            if program.returncode is None:
                os.killpg(program.pid, signal.SIGTERM)
                await program.wait()


@asynccontextmanager
async def newcomer(path: str) -> AsyncIterator[Newcomer]:
    """Have somebody at a shell; what they started ends with them."""
    with tempfile.TemporaryDirectory(prefix="home-") as folder:
        somebody = Newcomer(Path(folder), path)
        try:
            yield somebody
        finally:
            await somebody.leaves()


async def first_call(somebody: Newcomer) -> str:
    """Type everything from `init` to an answered call; returns the answer."""
    home, port = somebody.home, free_port()
    authority = Authority()
    authority.write(home / "company-ca.pem")
    authority.files(home, RELAY)
    (home / "proxy-login").touch(mode=0o600)
    (home / "proxy-login").write_text(LOGIN)
    place = (f"{RELAY}:443", ("127.0.0.1", port))
    async with ConnectProxy(dict([place]), login=LOGIN) as proxy, desk() as tickets:
        somebody.secrets |= {str(proxy.port): "3128", str(port): "8443", tickets: "http://tickets"}
        await _relay_side(somebody, port)
        await _client_side(somebody, proxy.port, tickets)
        return await _agent_side(somebody, port)


@asynccontextmanager
async def desk() -> AsyncIterator[str]:
    """Run the private server; yields its URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", ticket_desk.__name__),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        with anyio.fail_after(COMMAND_SECONDS):
            url = (await process.stdout.readline()).decode().strip()
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _relay_side(somebody: Newcomer, port: int) -> None:
    await somebody.types(
        f"tunnel-relay init --public-url https://{RELAY} --listen 127.0.0.1:{port}"
        " --tls-cert ~/cert.pem --tls-key ~/key.pem"
    )
    await somebody.leaves_running("tunnel-relay serve", "relay.log", "event=listening ")
    await somebody.types("tunnel-relay tunnel create office --owner ada --json > made.json")
    await somebody.types(
        "umask 077; python3 -c \"import json; print(json.load(open('made.json'))['join_code'])\""
        " > join-code"
    )


async def _client_side(somebody: Newcomer, proxy: int, tickets: str) -> None:
    await somebody.types(
        f"tunnel-client enroll wss://{RELAY} --join-code-file join-code --ca-file company-ca.pem"
        f" --proxy http://127.0.0.1:{proxy} --proxy-auth file:$HOME/proxy-login"
    )
    await somebody.types(f"tunnel-client upstream add tickets --url {tickets} --yes")
    await somebody.leaves_running("tunnel-client run", "client.log", "link up")


async def _agent_side(somebody: Newcomer, port: int) -> str:
    await somebody.types(
        "umask 077; tunnel-relay session create --user ada --agent curl --server office/tickets"
        " --json > session.json"
    )
    await somebody.types(
        'umask 077; python3 -c "import json; '
        "print('Authorization: Bearer', json.load(open('session.json'))['token'])\" > token-line"
    )
    answer = await somebody.types(
        f"curl -sS --cacert company-ca.pem --connect-to {RELAY}:443:127.0.0.1:{port}"
        f" https://{RELAY}/t/office/tickets/mcp -H @token-line"
        " -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream'"
        " -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call'"
        f" -H 'Mcp-Name: list_tickets' -d '{_QUESTION}'"
    )
    await somebody.types("tunnel-client doctor")
    return answer


async def install(somebody: Newcomer) -> None:
    """Install from this checkout, as the README says."""
    somebody.secrets[str(ROOT)] = "~/checkout"
    line = f"python3 -m venv ~/mcp-tunnel && ~/mcp-tunnel/bin/pip install --quiet {ROOT}"
    await somebody.types(line, INSTALL_SECONDS)
    somebody.path = f"{somebody.home}/mcp-tunnel/bin:/usr/local/bin:/usr/bin:/bin"


def transcript(steps: list[tuple[str, str, float]]) -> str:
    """Return the page."""
    total = sum(seconds for _, _, seconds in steps)
    machine = f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    parts = [
        "# A first call, as it went",
        "",
        "Behind a firewall that lets nothing out but a CONNECT proxy with a login, at a relay",
        "whose certificate a private authority signed: the README's commands on one machine, typed",
        "by `python -m tests.system.first_call --install --write docs/first-call.md`, which wrote",
        f"this page ({machine}). The commands took **{total:.0f} s** together, of the five minutes",
        "that it may take with reading and typing. `relay.example.com` has no address: only the",
        "proxy knows where it is.",
        "",
    ]
    for line, said, seconds in steps:
        parts += [f"```console\n$ {line}", *([said.rstrip()] if said.strip() else []), "```", ""]
        parts += [f"({seconds:.1f} s)", ""]
    return "\n".join(parts)


async def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    async with newcomer(f"{BIN}:/usr/local/bin:/usr/bin:/bin") as somebody:
        if args.install:
            await install(somebody)
        answer = await first_call(somebody)
        page = transcript(somebody.steps)
    if args.write is None:
        sys.stdout.write(page)
    else:
        args.write.write_text(page)
    return 0 if "Printer" in answer else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
