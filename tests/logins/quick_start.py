"""The README's Quick start, typed as it stands there: a relay, a client, a user.

What cannot be the same here is put into its lines first: the host's name, the port, the paths of
the certificate and the address of the private server. Questions are answered at a terminal.
"""

import json
import os
import pty
import re
import sys
from pathlib import Path
from typing import Any

import anyio

from tests.helpers.login import PASSWORD
from tests.helpers.tls import Authority
from tests.helpers.tunnel import free_port
from tests.logins.matrix import TOOL
from tests.system.first_call import COMMAND_SECONDS, ROOT, Newcomer, StepError

HOST = "localhost"
SERVER = "office/tickets"
USER = "grace"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SWITCH = re.compile(r"`(\w+ = true)` under\s+`(\[\w+\])`")


def quick_start() -> str:
    """Return the README from its Quick start on."""
    return (ROOT / "README.md").read_text().partition("\n## Quick start\n")[2]


def lines(text: str) -> list[str]:
    """Return the commands of the shell blocks, each in one line, without comments."""
    blocks = "".join(_BLOCK.findall(text)).replace("\\\n", "")
    return [re.sub(r"\s+#.*|(?<=\s)\s+", "", line) for line in blocks.splitlines()]


class Reader(Newcomer):
    """Somebody who reads the Quick start and types it; `url` is what the agent was given."""

    url = ""

    async def follow(self, upstream: str) -> None:
        """Type what leads to a user who can log in; StepError when a line is not there or fails."""
        port = free_port()
        self._prepare(port, upstream)
        await self.says("tunnel-relay init ")
        self._let_agents_register(quick_start())
        await self.says("tunnel-relay check-config")
        await self.leaves_running(self._line("tunnel-relay serve"), "relay.log", "event=listening ")
        made = await self.says("tunnel-relay tunnel create ")
        found = re.search(r"mtj_\S+", made)
        if found is None:
            raise StepError(f"no join code in {made}")
        await self.says("tunnel-client enroll ", ("Join code", found[0]))
        await self.says("tunnel-client upstream add tickets ", ("pin all as shown", "y"))
        await self.says("tunnel-client upstream test ")
        await self.says("tunnel-client tool classify tickets ")
        await self.leaves_running(self._line("tunnel-client run"), "client.log", "link up")
        twice = (("Password", PASSWORD), ("Repeat", PASSWORD))
        await self.says("tunnel-relay user add grace ", *twice)
        shown = await self.says("tunnel-relay connect-info ")
        found = re.search(rf"https://{HOST}:{port}/\S+/mcp", shown)
        if found is None:
            raise StepError(f"no address in {shown}")
        self.url = found[0]

    def _prepare(self, port: int, upstream: str) -> None:
        authority = Authority()
        authority.write(self.home / "authority.pem")
        chain, key = authority.files(self.home, HOST)
        key.chmod(0o600)
        self.path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
        self._instead = {
            "relay.example.com": f"{HOST}:{port}",
            "0.0.0.0:443": f"127.0.0.1:{port}",
            "/etc/ssl/relay-chain.pem": str(chain),
            "/etc/ssl/private/relay-key.pem": str(key),
            "http://127.0.0.1:3000/mcp": upstream,
            "export_tickets": TOOL,
        }

    @property
    def environment(self) -> dict[str, str]:
        """A login's, of a machine that knows the certificate's authority."""
        return {**super().environment, "SSL_CERT_FILE": str(self.home / "authority.pem")}

    def _line(self, start: str) -> str:
        """Return the first line that starts so, with what is different here."""
        for line in lines(quick_start()):
            if f"{line} ".startswith(start if start.endswith(" ") else f"{start} "):
                for theirs, ours in self._instead.items():
                    line = line.replace(theirs, ours)
                return line
        raise StepError(f"the README has no {start!r}")

    def _let_agents_register(self, text: str) -> None:
        found = _SWITCH.search(text)
        if found is None:
            raise StepError("the README does not say how agents may register")
        with (self.home / ".config/tunnel-relay/relay.toml").open("a") as settings:
            settings.write(f"\n{found[2]}\n{found[1]}\n")

    async def sessions(self) -> list[dict[str, Any]]:
        """Return the relay's sessions."""
        shown = await self.types("tunnel-relay session list --json")
        found: list[dict[str, Any]] = json.loads(shown)["sessions"]
        return found

    async def says(self, start: str, *answers: tuple[str, str]) -> str:
        """Type the line that starts so at a terminal; `answers` follow what is asked."""
        line = self._line(start)
        ours, theirs = pty.openpty()
        try:
            process = await self._start(line, theirs, theirs)
            os.close(theirs)
            with anyio.fail_after(COMMAND_SECONDS):
                said = await _converse(ours, list(answers))
                await process.wait()
        finally:
            os.close(ours)
        if process.returncode:
            raise StepError(f"$ {line}\n{said}")
        return said


async def _converse(terminal: int, answers: list[tuple[str, str]]) -> str:
    """Read a terminal to its end and type answers; returns all that was shown."""
    said, unread = "", ""
    while piece := await _read(terminal):
        said, unread = said + piece, unread + piece
        if answers and answers[0][0] in unread:
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
            unread = ""
    if answers:
        raise StepError(f"never asked {answers[0][0]!r}:\n{said}")
    return said


async def _read(terminal: int) -> str:
    await anyio.wait_readable(terminal)
    try:
        return os.read(terminal, 65536).decode(errors="replace")
    except OSError:  # how the end of a terminal looks
        return ""
