"""The table of the client's checks, and how one run goes through it."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack

from pydantic import SecretStr

from shared.checkup import Check, Checkup, Fault, Line
from shared.errors import TunnelError
from tunnel_client.control import ask_status
from tunnel_client.doctor import link, local, through, upstreams, way
from tunnel_client.doctor.errors import CheckFailedError, CheckSlowError
from tunnel_client.doctor.scene import Scene
from tunnel_client.errors import ClientError, NotAnsweringError, NotRunningError
from tunnel_client.relay_url import RelayUrl
from tunnel_client.settings import ClientSettings

SECONDS = 5.0
"""For one layer of the way."""
LINK_SECONDS = 10.0
Look = Callable[[Scene], Awaitable[str]]


def checks(settings: ClientSettings, through_relay: bool) -> list[Check[Scene]]:
    """Return the lines in their order: each names what has to hold before it."""
    names = [RelayUrl.parse(url).authority for url in settings.relay.url]
    # One address needs no name; of several each has lines of its own.
    ends = [f" {name}" for name in names] if len(names) > 1 else [""]
    table: list[Check[Scene]] = [
        Check("config", local.config),
        Check("identity", local.identity, ("config",)),
        Check("policy file", local.policy, ("config",)),
        Check("audit", local.audit, ("config",)),
        Check("daemon", local.daemon, ("config",)),
        *(check for number, end in enumerate(ends) for check in _way(number, end)),
        *upstreams.checks_of(settings.upstream),
    ]
    if through_relay:
        calls = [f"call through relay{end}" for end in ends]
        for number, (call, end) in enumerate(zip(calls, ends, strict=True)):
            look, served = _at(number, through.call), (f"round trip{end}",)
            table.append(Check(call, look, served, through.SECONDS))
        table.append(Check("revocation", through.revocation, tuple(calls)))
    return table


def _way(number: int, end: str) -> list[Check[Scene]]:
    """Return the lines about one address of the relay; their names have this end."""
    layers = (
        *(("dns", way.dns), ("tcp", way.tcp), ("proxy", way.proxy), ("tls", way.tls)),
        *(("relay", way.ready), ("websocket", way.upgrade)),
    )
    below: tuple[str, ...] = ("config",)
    lines: list[Check[Scene]] = []
    for name, look in layers:
        lines.append(Check(f"{name}{end}", _at(number, look), below, SECONDS))
        below += (f"{name}{end}",)
    signature = f"signature{end}"
    return [
        *lines,
        Check(f"clock{end}", _at(number, way.clock), below[:-1], SECONDS),
        Check(signature, _at(number, link.signature), (*below, "identity", "daemon"), LINK_SECONDS),
        Check(f"round trip{end}", _at(number, link.round_trip), (signature,), SECONDS),
    ]


def _at(number: int, look: Look) -> Look:
    """Return a check that looks at one address."""

    async def there(scene: Scene) -> str:
        scene.target = scene.targets[number]
        return await look(scene)

    return there


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
        scene = Scene(settings, environ, stack, None, now, token, server)
        try:
            scene.daemon = ask_status(settings.state_dir)
        except NotAnsweringError as error:
            scene.unanswered = error
        except NotRunningError:
            pass  # then a link is made for it
        checkup: Checkup[Scene] = Checkup(explain, time.monotonic)
        async for line in checkup.run(checks(settings, through_relay), scene):
            yield line
