"""The table of the client's checks, and how one run goes through it."""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

from pydantic import SecretStr

from shared.checkup import Check, Checkup, Fault, Line
from shared.errors import TunnelError
from tunnel_client.control import ask_status
from tunnel_client.doctor import link, local, through, upstreams, way
from tunnel_client.doctor.errors import CheckFailedError, CheckSlowError
from tunnel_client.doctor.scene import Scene
from tunnel_client.errors import ClientError, NotRunningError
from tunnel_client.settings import ClientSettings

SECONDS = 5.0
"""For one layer of the way."""
LINK_SECONDS = 10.0


def checks(settings: ClientSettings, through_relay: bool) -> list[Check[Scene]]:
    """Return the lines in their order: each names what has to hold before it."""
    way_there = ("config", "dns", "tcp", "proxy", "tls", "relay", "websocket")
    table: list[Check[Scene]] = [
        Check("config", local.config),
        Check("identity", local.identity, ("config",)),
        Check("policy file", local.policy, ("config",)),
        Check("audit", local.audit, ("config",)),
        Check("daemon", local.daemon, ("config",)),
        Check("dns", way.dns, way_there[:1], SECONDS),
        Check("tcp", way.tcp, way_there[:2], SECONDS),
        Check("proxy", way.proxy, way_there[:3], SECONDS),
        Check("tls", way.tls, way_there[:4], SECONDS),
        Check("relay", way.ready, way_there[:5], SECONDS),
        Check("websocket", way.upgrade, way_there[:6], SECONDS),
        Check("clock", way.clock, way_there[:6], SECONDS),
        Check("signature", link.signature, (*way_there, "identity"), LINK_SECONDS),
        Check("round trip", link.round_trip, ("signature",), SECONDS),
        *upstreams.checks_of(settings.upstream),
    ]
    if through_relay:
        served = ("round trip",)
        table.append(Check("call through relay", through.call, served, through.SECONDS))
        table.append(Check("revocation", through.revocation, ("call through relay",)))
    return table


def explain(error: Exception) -> Fault:
    """Return the fault an exception stands for; total."""
    if isinstance(error, TimeoutError):
        error = CheckSlowError("no answer in time")
    elif isinstance(error, TunnelError) and not isinstance(error, ClientError):
        error = CheckFailedError(str(error))
    elif not isinstance(error, ClientError):
        # What a library says may hold anything, so only its kind is shown.
        error = CheckFailedError(f"{type(error).__name__} in the check itself")
    return Fault(error.code, error.cause, error.next)


async def examine(
    settings: ClientSettings,
    environ: Mapping[str, str] = os.environ,
    *,
    through_relay: bool = False,
    token: SecretStr | None = None,
    server: str | None = None,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Line]:
    """Yield every line as soon as it is known; a link made for it is closed at the end."""
    async with AsyncExitStack() as stack:
        scene = Scene(settings, environ, stack, _daemon(settings), now, token, server)
        checkup: Checkup[Scene] = Checkup(explain, time.monotonic)
        async for line in checkup.run(checks(settings, through_relay), scene):
            yield line


def _daemon(settings: ClientSettings) -> Mapping[str, object] | None:
    try:
        return ask_status(settings.state_dir)
    except NotRunningError:
        return None
