"""A running relay and client in front of recording upstreams, and agents that call them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from pydantic import SecretStr

from tests.helpers.agent import Agent, call
from tests.helpers.recording_upstream import RecordingUpstream, recording_upstream
from tests.helpers.tcp_proxy import TcpProxy
from tests.helpers.tunnel import TUNNEL, HttpUpstream, Lab, make_lab
from tunnel_relay.admin.call import call_control

DEADLINE = 30.0
SERVER = "server"
UNHURRIED: dict[str, object] = {
    "limits.session_calls_per_second": "0",
    "limits.user_calls_per_second": "0",
    "limits.session_body_bytes": "0",
    "limits.user_body_bytes": "0",
    "limits.bad_tokens_per_minute": "1000000",
}
"""Tests call faster than any agent; what happens then has tests of its own (test_limits)."""
OTHER = "other"
LINKS = 2
"""How many a client keeps unless it is told otherwise."""


@dataclass(frozen=True)
class Grant:
    """A session: who may call with it, and what admins call it."""

    agent: Agent
    id: str


@dataclass
class Scene:
    """One lab and what stands behind it; `agent` has a long session for `server`."""

    lab: Lab
    upstream: RecordingUpstream
    agent: Agent
    main: Grant
    links: int = LINKS

    async def grant(
        self,
        server: str = SERVER,
        *,
        user: str = "ada",
        ttl: str = "1h",
        idle: str | None = None,
        agent: str = "test",
    ) -> Grant:
        """Make a session."""
        return await grant(self.lab, server, user=user, ttl=ttl, idle=idle, agent=agent)

    async def order(self, command: str, **words: Any) -> Any:
        """Give the relay a command now: a program for it takes seconds where much else runs."""
        control = self.lab.folder / "relay" / "state" / "control.sock"
        return await anyio.to_thread.run_sync(call_control, control, command, words)

    async def quick_grant(self, ttl: float = 3600.0, *, idle: float = 3600.0) -> Grant:
        """Make a session for `server` whose few seconds are all to come."""
        words = {"ttl": ttl, "idle": min(ttl, idle), "server": f"{TUNNEL}/{SERVER}"}
        made = await self.order("session_create", user="ada", agent="test", **words)
        return Grant(self.agent.with_token(SecretStr(made["token"])), made["session"]["id"])

    async def serves(self, agent: Agent | None = None, case: str = "still-serves") -> None:
        """Make a good call and see that exactly this call is answered."""
        before = len(self.upstream.calls(case))
        reply = await (agent or self.agent).ask(call("echo", case=case))
        assert reply.status == 200, (reply.status, reply.body)
        assert "result" in reply.document
        assert len(self.upstream.calls(case)) == before + 1

    async def ready(self) -> dict[str, Any]:
        """Return the relay's own counts."""
        page = Agent(self.lab.port, "/readyz", None)
        found: dict[str, Any] = (await page.ask(method="GET")).document
        return found

    async def linked(self, links: int | None = None) -> None:
        """Wait until the relay has so many links: all of the client's, or those given."""
        wanted = self.links if links is None else links
        await eventually(lambda: self._has(wanted))

    async def _has(self, links: int) -> bool:
        try:
            return bool((await self.ready())["links"] == links)
        except OSError:
            return False

    def log(self, name: str) -> str:
        """Return what a program logged."""
        return (self.lab.folder / name).read_text(errors="replace")


async def grant(
    lab: Lab,
    server: str = SERVER,
    *,
    user: str = "ada",
    ttl: str = "1h",
    idle: str | None = None,
    agent: str = "test",
) -> Grant:
    """Make a session by the public command."""
    await lab.known(user)
    words = ["--user", user, "--agent", agent, "--server", f"{TUNNEL}/{server}", "--ttl", ttl]
    if idle is not None:
        words += ["--idle", idle]
    made = await lab.relay_json("session", "create", *words)
    token = SecretStr(made["token"])
    caller = Agent(lab.port, f"/t/{TUNNEL}/{server}/mcp", token, lab.origin.partition("://")[2])
    return Grant(caller, made["session"]["id"])


async def eventually(
    condition: Callable[[], Any], every: float = 0.02, within: float = DEADLINE
) -> None:
    """Poll until `condition`, plain or a coroutine, holds; fails after the deadline."""
    with anyio.fail_after(within):
        while True:
            held = condition()
            if asyncio.iscoroutine(held):
                held = await held
            if held:
                return
            await asyncio.sleep(every)


@asynccontextmanager
async def open_scene(
    relay: Mapping[str, object] | None = None,
    *,
    via: TcpProxy | Sequence[TcpProxy] = (),
    upstream: RecordingUpstream | None = None,
    start: bool = True,
    links: int = LINKS,
    servers: Sequence[str] = (SERVER, OTHER),
    prepare: Callable[[Lab], None] = lambda _: None,
) -> AsyncIterator[Scene]:
    """Start everything; `relay` overrides the relay's configuration, as `limits.sse_comment`.

    With `via` the client dials the relay through that proxy, or a link through each; without
    `start` it does not run yet. It keeps so many `links`, and all of them are up: a scene about
    what becomes of one has one. The client knows the upstream by the names of `servers`. `prepare`
    may change the lab before anything runs.
    """

    def prepare_all(lab: Lab) -> None:
        prepare(lab)
        lab.environment["TUNNEL_CLIENT_RELAY__LINKS"] = str(links)
        proxies = [via] if isinstance(via, TcpProxy) else via
        for proxy in proxies:
            proxy.target = lab.port
        if proxies:
            origins = [lab.origin, *(f"http://127.0.0.1:{proxy.port}" for proxy in proxies)]
            lab.environment["TUNNEL_RELAY_PUBLIC_URL"] = json.dumps(origins)
            urls = [f"ws://127.0.0.1:{proxy.port}" for proxy in proxies]
            lab.environment["TUNNEL_CLIENT_RELAY__URL"] = json.dumps(urls)
        for key, value in (UNHURRIED | dict(relay or {})).items():
            text = value if isinstance(value, str) else json.dumps(value)
            lab.environment[f"TUNNEL_RELAY_{key.replace('.', '__').upper()}"] = text

    async with recording_upstream(upstream) as serving:
        targets = {name: HttpUpstream(serving.url) for name in servers}
        async with make_lab(targets, start=start, prepare=prepare_all) as lab:
            main = await grant(lab)
            scene = Scene(lab, serving, main.agent, main, links)
            if start:
                await scene.linked()
            yield scene
