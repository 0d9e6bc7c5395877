"""What the matrix needs of a tunnel, and the only place that knows how the tests start one."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from tests.helpers import tunnel
from tests.peers.servers import HttpUpstream, Upstream


class Tunnel(Protocol):
    """A running relay and client in front of one upstream."""

    @property
    def url(self) -> str:
        """The MCP endpoint of the upstream at the relay."""
        ...

    @property
    def token(self) -> SecretStr:
        """The session token that the endpoint wants."""
        ...


def started_tunnel(upstream: Upstream, workspace: Path) -> AbstractAsyncContextManager[Tunnel]:
    """Start a relay and a client in front of one upstream; both are gone after."""
    if isinstance(upstream, HttpUpstream):
        return tunnel.start_tunnel(tunnel.HttpUpstream(upstream.url))
    return tunnel.start_tunnel(tunnel.StdioUpstream(upstream.argv, workspace))
