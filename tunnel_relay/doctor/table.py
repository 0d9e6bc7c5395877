"""The table of the relay's checks, and how one run goes through it."""

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from shared.checkup import Check, Checkup, Line
from tunnel_relay.admin.reach import look
from tunnel_relay.doctor import certificates, local, outside
from tunnel_relay.doctor.findings import explain
from tunnel_relay.doctor.scene import Scene
from tunnel_relay.errors import RelayError
from tunnel_relay.settings import Settings

SECONDS = 5.0
LONG_SECONDS = 20.0
"""For a log that is verified, and for several issuers."""
CHECKS: list[Check[Scene]] = [
    Check("config", local.config),
    Check("keys", local.keys),
    Check("policy file", local.policy),
    Check("certificate", certificates.certificate),
    Check("relay", outside.running),
    Check("store", local.store, ("keys",)),
    Check("audit", local.audit, ("keys",), LONG_SECONDS),
    Check("clock", local.clock),
    Check("listeners", outside.listeners, ("config", "relay")),
    Check("balancer", outside.balancer),
    Check("admin listener", outside.admin, ("config",)),
    Check("public url", outside.public_url, ("config", "listeners", "certificate"), SECONDS),
    Check("issuers", outside.issuers, ("config",), LONG_SECONDS),
    Check("systemd socket", outside.systemd, ("config",)),
]
"""The lines in their order: each names what has to hold before it."""


async def examine(
    config: Path,
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[Line]:
    """Yield every line as soon as it is known; changes nothing."""
    scene = Scene(config, environ, settings, None, now)
    try:
        scene.running = look(settings)
    except RelayError as error:
        scene.unanswered = error
    checkup: Checkup[Scene] = Checkup(explain, time.monotonic)
    async for line in checkup.run(CHECKS, scene):
        yield line
