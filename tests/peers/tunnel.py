"""One relay and one client in front of all servers of a run."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from pydantic import SecretStr

from tests.helpers import node_packages, tunnel
from tests.helpers.tunnel import Lab, RunningTunnel
from tests.peers.servers import HttpUpstream, Server, Upstream

POLICY = """\
version: 1
rules:
  - id: tools-by-class
    match: {server: [everything, time, filesystem, git], class: [read, draft, write]}
    effect: allow
  - id: the-rest-of-everything
    match: {server: everything, class: [external_send, admin]}
    effect: allow
  - id: prompts-and-resources-of-everything
    match:
      server: everything
      method: ["prompts/get", "resources/*", "completion/complete", "subscriptions/listen"]
    effect: allow
  - id: everything-may-ask
    match:
      server: everything
      method: ["sampling/createMessage", "elicitation/create", "roots/list"]
    effect: allow
"""


@asynccontextmanager
async def started_tunnels(
    servers: Sequence[Server], workspace: Path
) -> AsyncIterator[dict[str, RunningTunnel]]:
    """Start relay and client, each server an upstream of its own, and create a session for each.

    Yields the endpoint of each server by its name. Raises what `tests.helpers.tunnel` raises.
    """
    upstreams = {server.name: _upstream(server.upstream, workspace) for server in servers}
    async with tunnel.make_lab(upstreams, prepare=_prepare) as lab:
        made = {name: await lab.session(name) for name in upstreams}
        yield {
            name: RunningTunnel(lab.url(name), SecretStr(session["token"]))
            for name, session in made.items()
        }


def _prepare(lab: Lab) -> None:
    lab.policy, lab.pinned = POLICY, True


def _upstream(upstream: Upstream, workspace: Path) -> tunnel.HttpUpstream | tunnel.StdioUpstream:
    if isinstance(upstream, HttpUpstream):
        # A credential of its own, so that every answer is looked through for it.
        return tunnel.HttpUpstream(upstream.url, SecretStr(secrets.token_urlsafe(32)))
    return tunnel.StdioUpstream(
        upstream.argv, workspace, read=(node_packages.node_modules(),), write=(workspace,)
    )
