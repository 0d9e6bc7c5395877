"""Start a real OpenID provider on loopback; see `oidc_provider.mjs`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL

import anyio
from anyio.streams.text import TextReceiveStream

from tests.helpers import node_packages
from tests.helpers.tunnel import free_port

START_SECONDS = 30.0
RELAY_SECRET = "s3cret:of+the/relay"
"""What the relay shows there as the client `relay`."""
SCRIPT = Path(__file__).with_suffix(".mjs")


@asynccontextmanager
async def oidc_provider(port: int | None = None, *callbacks: str) -> AsyncIterator[str]:
    """Run the provider and yield its issuer; it is gone afterwards.

    `callbacks` are where it sends users of the relay back to, who log in there.
    """
    node_packages.node_modules()
    argv = [str(node_packages.node()), str(SCRIPT), str(port or free_port()), *callbacks]
    process = await anyio.open_process(argv, stderr=DEVNULL)
    try:
        assert process.stdout is not None
        with anyio.fail_after(START_SECONDS):
            issuer = await TextReceiveStream(process.stdout).receive()
        yield issuer.strip()
    finally:
        with anyio.CancelScope(shield=True):
            process.kill()
            await process.aclose()
