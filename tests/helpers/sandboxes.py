"""Upstreams that were agreed to, in the sandboxes this machine can make."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.debian_packages import SANDBOX, install
from tests.helpers.upstream_peer import KeptReply, Peer
from tunnel_client.consent.guard import Guard, Guards
from tunnel_client.sandbox.machine import Machine, look
from tunnel_client.settings import UpstreamSettings
from tunnel_client.upstream.stdio_command import StdioLimits
from tunnel_client.upstream.stdio_guarded import ConsentedUpstream

PRYING = Path(__file__).with_name("prying_server.py")
BARE = Machine(None, 0, "none for this test")


def bubblewrap() -> Machine:
    """Return this machine with a bubblewrap that works; installs it, or skips the test."""
    problem = install(SANDBOX)
    look.cache_clear()
    machine = look()
    if machine.bwrap is None:
        pytest.skip(f"NO SANDBOX TESTED: {problem or machine.why_not}")
    return machine


def landlock() -> Machine:
    """Return this machine as if it had Landlock alone; skips the test where it has none."""
    machine = look()
    if machine.landlock < 1:
        pytest.skip("NO LANDLOCK TESTED: this kernel has none")
    return replace(machine, bwrap=None, why_not="none for this test")


MACHINES = {"bubblewrap": bubblewrap, "landlock": landlock}


def agreed(
    state: Path, upstream: UpstreamSettings, environ: Mapping[str, str], dangers: bool = False
) -> Guards:
    """Agree to what an upstream starts now, and return the guards that know of it."""
    guards = Guards(state, (state,))
    agree(guards.of(upstream, environ), dangers)
    return guards


def agree(guard: Guard, dangers: bool = False) -> None:
    """Agree to what this guard's upstream starts now."""
    start = guard.propose()
    guard.approve(start, dangers)
    start.close()


class Prying:
    """A server in a sandbox that runs what it is told to, and says how it went."""

    def __init__(self, upstream: ConsentedUpstream) -> None:
        self.upstream = upstream
        self.peer = Peer(upstream)

    def send(self, code: str) -> KeptReply:
        """Have it run some Python, whose `result` it answers with."""
        return self.peer.modern_call("run", {"code": code})

    async def run(self, code: str) -> str:
        """Return the result as text, or the name of the exception."""
        return (await self.send(code).done()).text


@asynccontextmanager
async def prying(
    folder: Path,
    machine: Machine,
    *,
    environ: Mapping[str, str] | None = None,
    grace: float = 0.3,
    **settings: Any,
) -> AsyncIterator[Prying]:
    """Run the prying server as the configuration would, with `settings` of the upstream."""
    command = settings.pop("command", [sys.executable, "-S", str(PRYING)])
    upstream = UpstreamSettings(name="prying", command=command, **settings)
    state = folder / "state"
    guard = Guards(state, (state,), machine).of(upstream, environ or os.environ)
    agree(guard)
    running = ConsentedUpstream("prying", guard, StdioLimits(grace=grace, fast_grace=grace))
    await running.start()
    try:
        yield Prying(running)
    finally:
        await running.aclose()
        assert running.children == 0
