"""Runs the admin listener beside the public one: the API and the console, where configured."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from socket import socket

import anyio
import uvicorn

from tunnel_relay.admin.edge import edge_of
from tunnel_relay.admin.service import Admin
from tunnel_relay.certificates import Certificates
from tunnel_relay.console.app import console_app
from tunnel_relay.console.connection import ConsoleConnection
from tunnel_relay.events import EventRing
from tunnel_relay.identity.oidc import OidcClient
from tunnel_relay.metrics import Metrics
from tunnel_relay.server import Server
from tunnel_relay.settings import AdminListen, Settings

KEEP_ALIVE_SECONDS = 30
STOP_SECONDS = 5
CONNECTIONS = 500
"""At a time, and requests; 503 beyond it."""
BACKLOG = 128


@asynccontextmanager
async def serve_console(
    admin: Admin,
    settings: Settings,
    events: EventRing,
    oidc: OidcClient | None = None,
    metrics: Metrics | None = None,
    *,
    handed: socket | None = None,
    certificates: Certificates | None = None,
) -> AsyncIterator[None]:
    """Serve while the context is open; without an `[admin]` section nothing listens.

    Inside the context it listens: a relay that says it is ready has its console too. `handed` is a
    socket that listens already.

    Raises RelayError CANNOT_LISTEN, in a group.
    """
    place = settings.admin
    if place is None:
        yield
        return
    made = server_config(admin, settings, place, events, oidc, metrics, certificates)
    server = ConsoleServer(made)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, None if handed is None else [handed])
        await server.listens.wait()
        try:
            yield
        finally:
            server.stop()
            tasks.cancel_scope.deadline = anyio.current_time() + STOP_SECONDS


def server_config(
    admin: Admin,
    settings: Settings,
    place: AdminListen,
    events: EventRing,
    oidc: OidcClient | None = None,
    metrics: Metrics | None = None,
    certificates: Certificates | None = None,
) -> uvicorn.Config:
    """Return how uvicorn listens."""
    return uvicorn.Config(
        console_app(admin, edge_of(place), events, oidc, place.origin, metrics),
        host=place.host,
        port=place.port,
        http=ConsoleConnection,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=BACKLOG,
        ssl_context_factory=(certificates or Certificates(settings)).factory(place.tls),
    )


class ConsoleServer(Server):
    """The admin listener's server."""

    event = "console_listening"
