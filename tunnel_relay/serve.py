"""Runs the relay: opens the store, the command socket and the listeners, until a signal."""

import asyncio
import os
import resource
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import structlog
import uvicorn
from pydantic import SecretBytes

from shared import clocks
from shared.audit.events import note
from shared.collector import quiet_collector
from shared.errors import CloseCode
from shared.hangup import Hangups
from shared.link import loop
from shared.notify import Notifier
from shared.rereading import Part
from tunnel_relay.activation import Inherited, take_sockets
from tunnel_relay.admin.control import serve_control
from tunnel_relay.admin.runtime import open_admin
from tunnel_relay.admin.watch import StoreWatch
from tunnel_relay.app import (
    LiveLinks,
    Pages,
    RelayApp,
    end_by_time_forever,
    flush_forever,
    purge_forever,
    webhook,
)
from tunnel_relay.certificates import Certificates
from tunnel_relay.console.listener import serve_console
from tunnel_relay.errors import RelayError
from tunnel_relay.events import EventRing
from tunnel_relay.keyfiles import read_relay_key, read_session_key
from tunnel_relay.lease import Lease
from tunnel_relay.liveness import tell
from tunnel_relay.logs import configure_logging
from tunnel_relay.memory import map_tls_buffers
from tunnel_relay.metrics import Metrics
from tunnel_relay.next_start import part_of
from tunnel_relay.policy.load import load_policy
from tunnel_relay.policy.watch import keep_policy
from tunnel_relay.server import Server
from tunnel_relay.settings import POLICY_FILE, LinksListen, Listen, Settings

log = structlog.get_logger("tunnel_relay")

KEEP_ALIVE_SECONDS = 75
STOP_SECONDS = 5
BACKLOG = 4096
HAND_OVER_SECONDS = 15.0
"""For a relay that drained to close and store what is left."""


def run(settings: Settings, config: Path, hangups: Hangups) -> None:
    """Serve until SIGTERM or SIGINT; raises RelayError and StoreError before it listens.

    `config` is the file of the settings; it is looked at again on SIGHUP.
    """
    events = EventRing()
    configure_logging(events)
    sockets = take_sockets(settings, os.environ)
    raise_file_limit()
    map_tls_buffers()
    try:
        loop.run(serve(settings, events, sockets, hangups, part_of(settings, config, os.environ)))
    except BaseExceptionGroup as group:
        refused = _refusal_in(group)
        if refused is None:
            raise
        raise refused from None


def _refusal_in(group: BaseExceptionGroup[Any]) -> RelayError | None:
    """Return the refusal that ended the tasks of a group, if one did."""
    for error in group.exceptions:
        found = _refusal_in(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(found, RelayError):
            return found
    return None


async def serve(
    settings: Settings, events: EventRing, sockets: Inherited, hangups: Hangups, file: Part
) -> None:
    """Open everything in order, listen, and close everything in reverse; `file` is for SIGHUP."""
    key = read_relay_key(settings.relay_key)
    mcp_key = SecretBytes(read_session_key(settings.mcp_session_key))
    policy = load_policy(settings.policy or settings.state_dir / POLICY_FILE)
    certificates = Certificates(settings)
    notifier = Notifier(os.environ.get("NOTIFY_SOCKET"))
    # Whoever handed sockets over may have a relay that still serves at them: it goes first.
    patience = settings.limits.drain_seconds + HAND_OVER_SECONDS if sockets else 0.0
    async with open_admin(
        settings, serving=True, patience=patience, waits=lambda: _waits(notifier, patience)
    ) as admin:
        app = RelayApp(settings, admin, key, mcp_key, policy)
        hook = webhook(settings)
        admin.policy = policy
        note("policy.read", digest=policy.policy.digest)
        links = admin.links = LiveLinks(app.registry, app.gateway, admin.sessions)
        enrolled = [each.tunnel for each in await admin.store.instances() if each.locked is None]
        metrics = Metrics(admin, app.registry, app.gateway, links.revocations, enrolled)
        page = (admin, settings, events, app.oidc, metrics)
        async with (
            serve_control(admin, settings.control_socket),
            serve_console(*page, handed=sockets.admin, certificates=certificates),
            anyio.create_task_group() as tasks,
        ):
            await app.issuers.apply_rules()
            app.listener.start(tasks)
            app.gateway.start(tasks)
            tasks.start_soon(clocks.watch)
            tasks.start_soon(flush_forever, admin)
            tasks.start_soon(purge_forever, admin)
            tasks.start_soon(end_by_time_forever, admin)
            tasks.start_soon(app.issuers.run)
            about = policy, notifier, hangups, [certificates.part, file]
            tasks.start_soon(_once_ready, app, keep_policy, *about)
            tasks.start_soon(_tell, notifier, app, admin.lease)
            if hook is not None:
                admin.approvals.announce = hook.announce
                tasks.start_soon(hook.run)
            if app.oidc is not None:
                tasks.start_soon(app.oidc.provider.run)
            tasks.start_soon(StoreWatch(admin.store, admin.lease, admin.pending.flush).run)
            try:
                await listen(settings, app, sockets, certificates)
            finally:
                app.registry.close_all(CloseCode.GOING_AWAY, "the relay stops")
                tasks.cancel_scope.cancel()
    log.info("stopped")


def _waits(notifier: Notifier, seconds: float) -> None:
    log.info("waiting_for_state", seconds=seconds)
    notifier.send("STATUS=waiting for the relay before this one")


async def _once_ready(app: RelayApp, run: Callable[..., Awaitable[None]], *about: Any) -> None:
    """Run what would say READY=1 once that is true."""
    await app.listening.wait()
    await run(*about)


async def _tell(notifier: Notifier, app: RelayApp, lease: Lease) -> None:
    await app.listening.wait()
    await tell(
        notifier, lease, lambda: f"{app.registry.connected} links, {app.gateway.live} streams"
    )


async def listen(
    settings: Settings, app: RelayApp, sockets: Inherited, certificates: Certificates
) -> None:
    """Serve agents and links, on one port or on two, until a signal."""
    links, tls = settings.links, certificates.factory(settings.tls)
    if links is None:
        both = server_config(settings, app, settings.listen, tls, app.protocol, app.pages)
        await PublicServer(both, app).serve(handed(sockets.agents))
        return
    agents = server_config(
        settings, app, settings.listen, tls, app.agents_protocol, app.agents_pages
    )
    own = LinksServer(
        server_config(
            *(settings, app, links, certificates.factory(links.tls)),
            app.links_protocol,
            app.links_pages,
        ),
        app,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(own.serve, handed(sockets.links))
        await own.listens.wait()
        await PublicServer(agents, app).serve(handed(sockets.agents))
        own.stop()


def handed(opened: socket.socket | None) -> list[socket.socket] | None:
    """Return a socket as uvicorn takes it; None lets it open one."""
    return None if opened is None else [opened]


def server_config(
    settings: Settings,
    app: RelayApp,
    place: Listen | LinksListen,
    tls: Callable[..., ssl.SSLContext] | None,
    protocol: Any,
    pages: Pages,
) -> uvicorn.Config:
    """Return how uvicorn listens at one place, making connections with `protocol`."""
    return uvicorn.Config(
        pages,
        host=place.host,
        port=place.port,
        http=protocol,
        ws=app.listener.protocol,  # type: ignore[arg-type] # any callable that makes a protocol
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(network) for network in settings.trusted_proxies],
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=BACKLOG,
        ssl_context_factory=tls,
    )


class PublicServer(Server):
    """Takes the process's signals, and keeps the collector away from the hot path."""

    def __init__(self, config: uvicorn.Config, app: RelayApp) -> None:
        super().__init__(config)
        self._app = app

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on the first signal, at once on the second; never raise it again.

        uvicorn's own would end the process before the links and the store are closed.
        """
        running = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                running.remove_signal_handler(number)

    async def startup(self, sockets: Any = None) -> None:
        """Listen, as `Server` does."""
        await super().startup(sockets)
        quiet_collector()
        self._app.listening.set()
        self._app.draining.listeners.append(self.stop_listening)

    def stop_listening(self) -> None:
        """Take no more connections; those that are open go on."""
        for server in self.servers:
            server.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; the second time without waiting for anybody."""
        if self.should_exit:
            self.force_exit = True
            self._app.draining.now()
        self.stop()

    async def shutdown(self, sockets: Any = None) -> None:
        """Drain, then close what is left."""
        await self._app.draining.run()
        await super().shutdown(sockets)


class LinksServer(PublicServer):
    """The listener for links alone: the public one takes the signals, and drains, for both."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """Close what is left."""
        await Server.shutdown(self, sockets)


def raise_file_limit() -> None:
    """Take all the file descriptors the system allows: every agent and link needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
