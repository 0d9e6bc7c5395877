"""Puts the client together and runs it until a signal, or until there is no point in going on."""

import gc
import logging
import os
import resource
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any

import anyio
import structlog

from shared.keys import decode_public
from shared.link import loop
from shared.version import VERSION
from tunnel_client.client import Client
from tunnel_client.control import SOCKET_FILE, ControlServer
from tunnel_client.errors import EXIT_FAILED
from tunnel_client.identity import Identity, StateLock
from tunnel_client.reconnect import GiveUp
from tunnel_client.settings import ClientSettings, dial_target
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.stdio_guarded import GuardedUpstream
from tunnel_client.upstreams import guards_of, make_upstream

log = structlog.get_logger("tunnel_client")

SCHEMA_VERSION = 1
STOP_SECONDS = 10.0


def run(settings: ClientSettings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code. Raises ClientError before it dials."""
    configure_logging()
    with StateLock(settings.state_dir):
        identity = Identity.read(settings.state_dir)
        guards = guards_of(settings)
        upstreams = {
            upstream.name: make_upstream(upstream, os.environ, guards)
            for upstream in settings.upstream
        }
        return loop.run(serve(settings, identity, upstreams))


async def serve(
    settings: ClientSettings, identity: Identity, upstreams: dict[str, Upstream]
) -> int:
    """Start the upstreams, keep the link up, stop everything; returns the exit code."""
    client = Client(
        dial_target(settings.relay, os.environ),
        settings.relay.tunnel,
        decode_public(settings.relay.public_key),
        identity,
        upstreams,
        lease=settings.relay.lease,
    )
    outcome: list[GiveUp] = []

    def status() -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "version": VERSION,
            "pid": os.getpid(),
            "upstreams": sorted(upstreams),
            "stdio": [
                upstream.standing()
                for _, upstream in sorted(upstreams.items())
                if isinstance(upstream, GuardedUpstream)
            ],
            **client.status(),
        }

    async with AsyncExitStack() as stack:
        for upstream in upstreams.values():
            await upstream.start()
            stack.push_async_callback(_close, upstream)
        await stack.enter_async_context(ControlServer(settings.state_dir / SOCKET_FILE, status))
        raise_file_limit()
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 100)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            outcome.append(await client.run())
            tasks.cancel_scope.cancel()
    if outcome:
        log.error("giving up", reason=outcome[0].reason)
        return outcome[0].exit_code or EXIT_FAILED
    log.info("stopped")
    return 0


async def _close(upstream: Upstream) -> None:
    with anyio.move_on_after(STOP_SECONDS, shield=True):
        await upstream.aclose()


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def configure_logging() -> None:
    """Log one line an event to stderr; libraries below WARNING are silent."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event"], bool_as_flag=False
            ),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def raise_file_limit() -> None:
    """Take all the file descriptors the system allows: every call under way needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
