"""Puts `tunnel-client connect` together and runs it."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from pydantic import SecretStr

from tunnel_client.connect.address import WebUrl
from tunnel_client.connect.agent_lines import AgentLines
from tunnel_client.connect.browser import open_page
from tunnel_client.connect.carrier import Carrier
from tunnel_client.connect.grant import is_token_text
from tunnel_client.connect.http import http_for, translated
from tunnel_client.connect.login import Login
from tunnel_client.connect.notes import Notes
from tunnel_client.connect.server import FixedToken, Server
from tunnel_client.connect.threads import in_thread
from tunnel_client.connect.token_store import TokenStore, system_keyring
from tunnel_client.dial import tls_context
from tunnel_client.errors import SecretError
from tunnel_client.errors_connect import ServerAnswerError
from tunnel_client.files import read_guarded

TOKEN_VARIABLE = "MCP_TUNNEL_TOKEN"  # noqa: S105 - the name, not the token
_SHOW_SECONDS = 5.0


@dataclass(frozen=True)
class Plan:
    """What the command line says, checked."""

    server: WebUrl
    trust: ssl.SSLContext
    token: SecretStr | None
    state_dir: Path
    agent_id: str | None
    opens_browser: bool


def make_plan(
    url: str,
    environ: MutableMapping[str, str],
    *,
    state_dir: Path,
    token_file: Path | None = None,
    ca_file: Path | None = None,
    agent_id: str | None = None,
    opens_browser: bool = True,
) -> Plan:
    """Check the command line; takes the token out of the environment. Raises ClientError."""
    server = WebUrl.parse(url)
    # A browser we start must not inherit it.
    given = environ.pop(TOKEN_VARIABLE, None)
    if token_file is not None:
        token: SecretStr | None = read_token(token_file)
    else:
        token = None if given is None else _token(given, TOKEN_VARIABLE)
    return Plan(server, tls_context(ca_file), token, state_dir, agent_id, opens_browser)


def read_token(path: Path) -> SecretStr:
    """Read a token from a file that nobody else can read; raises SecretError, UnsafeFileError."""
    try:
        raw = read_guarded(path, forbidden=0o077, owners=(0, os.geteuid()))
        return _token(raw.decode(), str(path))
    except OSError as error:
        raise SecretError(f"cannot read {path}: {error.strerror}", f"ls -l {path}") from None
    except UnicodeDecodeError:
        raise SecretError(f"{path} holds no token") from None


def _token(text: str, where: str) -> SecretStr:
    if not is_token_text(text.strip()):
        raise SecretError(f"{where} holds no token", "tunnel-relay session create, on the relay")
    return SecretStr(text.strip())


async def carry(plan: Plan, incoming: int, outgoing: int) -> None:
    """Serve the agent at these descriptors until it leaves or a signal comes."""
    notes = Notes()
    with anyio.CancelScope() as scope:
        _end_on_signals(scope)
        async with _opened(plan, notes) as server:
            await Carrier(AgentLines(incoming, outgoing), server, notes).run()


async def log_in(plan: Plan) -> None:
    """Make sure there is a good token, asking the person if need be; raises ClientError."""
    asks = replace(plan, token=None)
    async with _opened(asks, Notes()) as server, translated(plan.server):
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        # Not a message of MCP: only whether it is let in is asked.
        async with server.send("POST", headers, b"{}") as response:
            if response.status_code in (403, 404):
                raise ServerAnswerError("there is no such server, or you may not use it")


async def log_out(plan: Plan) -> bool:
    """Give the login back and forget it; False when there was none. Raises ClientError."""
    return await _login(plan, Notes()).log_out()


@asynccontextmanager
async def _opened(plan: Plan, notes: Notes) -> AsyncIterator[Server]:
    async with http_for(plan.server, plan.trust) as http:
        if plan.token is not None:
            yield Server(plan.server, http, FixedToken(plan.token))
            return
        login = _login(plan, notes)
        try:
            yield Server(plan.server, http, login)
        finally:
            await login.aclose()


def _login(plan: Plan, notes: Notes) -> Login:
    async def show(url: str) -> None:
        notes.say(f"log in with your browser to go on:\n\n  {url}\n")
        if plan.opens_browser:
            with anyio.move_on_after(_SHOW_SECONDS):
                if not await in_thread(lambda: open_page(url, os.environ), "browser"):
                    notes.say("no browser could be opened here; open the address yourself")

    store = TokenStore(plan.state_dir, plan.server, system_keyring())
    return Login(plan.server, store, plan.trust, notes, show, plan.agent_id)


def _end_on_signals(scope: anyio.CancelScope) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, scope.cancel)


def take_over_pipes() -> tuple[int, int]:
    """Return the agent's descriptors for ourselves alone, and leave harmless ones in their place.

    What prints by mistake, or a browser we start, then cannot speak to the agent in our name.
    """
    incoming, outgoing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing
