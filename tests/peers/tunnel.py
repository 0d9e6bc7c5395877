"""One relay and one client in front of all servers of a run."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from tests.helpers import node_packages, tunnel
from tests.helpers.tunnel import RunningTunnel
from tests.peers.servers import HttpUpstream, Server, Upstream


@asynccontextmanager
async def started_tunnels(
    servers: Sequence[Server], workspace: Path
) -> AsyncIterator[dict[str, RunningTunnel]]:
    """Start relay and client, each server an upstream of its own, and create a session for each.

    Yields the endpoint of each server by its name. Raises what `tests.helpers.tunnel` raises.
    """
    upstreams = {server.name: _upstream(server.upstream, workspace) for server in servers}
    async with tunnel.make_lab(upstreams) as lab:
        made = {name: await lab.session(name) for name in upstreams}
        yield {
            name: RunningTunnel(lab.url(name), SecretStr(session["token"]))
            for name, session in made.items()
        }


def _upstream(upstream: Upstream, workspace: Path) -> tunnel.HttpUpstream | tunnel.StdioUpstream:
    if isinstance(upstream, HttpUpstream):
        return tunnel.HttpUpstream(upstream.url)
    return tunnel.StdioUpstream(
        upstream.argv, workspace, read=(node_packages.node_modules(),), write=(workspace,)
    )
