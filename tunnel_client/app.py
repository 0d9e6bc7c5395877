"""Puts the client together and runs it until a signal, or until there is no point in going on."""

import logging
import os
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import anyio
import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from shared import clocks
from shared.audit import events
from shared.collector import quiet_collector
from shared.hangup import Hangups
from shared.keys import decode_public
from shared.link import loop
from shared.notify import Notifier
from shared.passkey import approver_fingerprint, read_approver_key
from shared.policy.keeping import PolicyFile
from shared.version import VERSION
from tunnel_client.audit.keep import Kept, kept
from tunnel_client.catalog.catalog import Catalog
from tunnel_client.catalog.keeper import Keeper
from tunnel_client.catalog.pins import Pins
from tunnel_client.client import Client
from tunnel_client.control import SOCKET_FILE, ControlServer
from tunnel_client.credentials.guarded import GuardedUpstream
from tunnel_client.errors import EXIT_FAILED
from tunnel_client.grants import WallClock
from tunnel_client.health import Page, health_port, json_page
from tunnel_client.identity import Identity, StateLock
from tunnel_client.judge import Judge
from tunnel_client.liveness import tell
from tunnel_client.metrics import Metrics
from tunnel_client.next_start import part_of
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.permits import Permits
from tunnel_client.policy.load import load_policy
from tunnel_client.policy.watch import keep_policy
from tunnel_client.readiness import readiness
from tunnel_client.reconnect import GiveUp
from tunnel_client.reload import parts_of
from tunnel_client.settings import ClientSettings, dial_targets
from tunnel_client.stopping import Stops
from tunnel_client.tally import Tally
from tunnel_client.telling import Teller
from tunnel_client.upstream.base import Upstream
from tunnel_client.upstream.stdio_guarded import ConsentedUpstream
from tunnel_client.upstreams import guards_of, make_upstream

log = structlog.get_logger("tunnel_client")

SCHEMA_VERSION = 1
STOP_SECONDS = 10.0


def run(settings: ClientSettings, hangups: Hangups) -> int:
    """Serve until SIGTERM or SIGINT, at once on another; returns the exit code.

    Raises ClientError before it dials.
    """
    configure_logging()
    with StateLock(settings.state_dir):
        identity = Identity.read(settings.state_dir)
        policy = load_policy(settings.policy)
        permits = Permits.open(settings.state_dir, WallClock().now)
        guards = guards_of(settings)
        upstreams = {
            upstream.name: make_upstream(upstream, os.environ, guards, settings.vault, absent=True)
            for upstream in settings.upstream
        }
        return loop.run(serve(settings, identity, policy, permits, upstreams, hangups))


async def serve(
    settings: ClientSettings,
    identity: Identity,
    policy: PolicyFile,
    permits: Permits,
    upstreams: dict[str, Upstream],
    hangups: Hangups,
) -> int:
    """Start the upstreams, keep the link up, stop everything; returns the exit code."""
    catalog = make_catalog(settings)
    judge = Judge(lambda: policy.policy, catalog)
    stops = Stops()
    relay_key = decode_public(settings.relay.public_key)
    with kept(settings, identity, judge) as audit:
        client = Client(
            dial_targets(settings.relay, os.environ),
            settings.relay.tunnel,
            relay_key,
            identity,
            upstreams,
            judge,
            PermitDesk(permits, relay_key),
            audit.calls,
            links=settings.relay.links,
            lease=settings.relay.lease,
        )
        code = await _serve(settings, client, policy, upstreams, catalog, audit, hangups, stops)
    stops.over(code)
    return code


async def _serve(
    settings: ClientSettings,
    client: Client,
    policy: PolicyFile,
    upstreams: dict[str, Upstream],
    catalog: Catalog,
    audit: Kept,
    hangups: Hangups,
    stops: Stops,
) -> int:
    teller = Teller(client, catalog, sorted(upstreams))
    client.each_link(teller.tell)
    keeper = make_keeper(settings, catalog, upstreams, lambda: client.connected)
    outcome: list[GiveUp] = []
    notifier = Notifier(os.environ.get("NOTIFY_SOCKET"))
    events.note("policy.read", digest=policy.policy.digest)

    def status() -> dict[str, Any]:
        return {**_status(client, policy, catalog, upstreams), "audit": audit.status()}

    async with AsyncExitStack() as stack:
        for upstream in upstreams.values():
            await upstream.start()
            stack.push_async_callback(_close, upstream, stops)
        control = ControlServer(settings.state_dir / SOCKET_FILE, status, audit.record)
        await stack.enter_async_context(control)
        health = settings.health
        pages = health_pages(status, client.tally)
        await stack.enter_async_context(health_port(health.place if health else None, pages))
        raise_file_limit()
        quiet_collector()
        async with anyio.create_task_group() as tasks:
            stops.stop(tasks.cancel_scope)
            tasks.start_soon(clocks.watch)
            tasks.start_soon(keeper.run)
            tasks.start_soon(teller.run)
            parts = parts_of(settings.upstream, upstreams, client.try_again)
            parts.append(part_of(settings, os.environ))
            tasks.start_soon(keep_policy, policy, notifier, hangups, parts)
            tasks.start_soon(tell, notifier, client.status, settings.relay.lease)
            outcome.append(await client.run())
            tasks.cancel_scope.cancel()
    if outcome:
        log.error("giving up", reason=outcome[0].reason)
        return outcome[0].exit_code or EXIT_FAILED
    log.info("stopped")
    return 0


def make_catalog(settings: ClientSettings) -> Catalog:
    """Read the pins and return the catalogue of what is configured; raises BrokenPinsError."""
    unpinned = [each.name for each in settings.upstream if each.pinning == "off"]
    for name in unpinned:
        log.warning("pinning is off: agents can call every tool", upstream=name)
    return Catalog(Pins(settings.state_dir), [each.name for each in settings.upstream], unpinned)


def make_keeper(
    settings: ClientSettings,
    catalog: Catalog,
    upstreams: Mapping[str, Upstream],
    linked: Callable[[], bool],
) -> Keeper:
    """Return what keeps the catalogue true; programs are not started for it every few minutes."""
    return Keeper(
        catalog,
        upstreams,
        at_start=[each.name for each in settings.upstream if each.catalog_at_start],
        periodic=[each.name for each in settings.upstream if each.url is not None],
        linked=linked,
    )


def health_pages(status: Callable[[], dict[str, Any]], tally: Tally) -> dict[str, Page]:
    """Return what the health port shows."""
    metrics = Metrics(status, tally)

    def ready() -> tuple[int, str, bytes]:
        shown = readiness(status(), tally.newest())
        return json_page(200 if shown["ready"] else 503, shown)

    return {
        "/healthz": lambda: json_page(200, {"alive": True}),
        "/readyz": ready,
        "/metrics": lambda: (200, CONTENT_TYPE_LATEST, metrics.text()),
    }


async def _close(upstream: Upstream, stops: Stops) -> None:
    with anyio.move_on_after(STOP_SECONDS, shield=True) as closing:
        stops.hurry(closing)
        await upstream.aclose()


def _status(
    client: Client, policy: PolicyFile, catalog: Catalog, upstreams: Mapping[str, Upstream]
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "version": VERSION,
        "pid": os.getpid(),
        "upstreams": sorted(upstreams),
        "credentials": [
            each.report() for each in upstreams.values() if isinstance(each, GuardedUpstream)
        ],
        "stdio": [
            program.standing()
            for _, each in sorted(upstreams.items())
            if isinstance(program := _inner(each), ConsentedUpstream)
        ],
        **client.status(),
        "policy": _policy_facts(policy),
        "tools": {name: catalog.status(name) for name in sorted(upstreams)},
    }


def _policy_facts(file: PolicyFile) -> dict[str, Any]:
    """Say which policy holds, and by whose keys it takes permits: none listed, the relay's."""
    keys = file.policy.approver_keys
    approvers = {name: approver_fingerprint(read_approver_key(key)) for name, key in keys.items()}
    return {**file.facts(), "approvers": approvers}


def _inner(upstream: Upstream) -> Upstream:
    return upstream.inner if isinstance(upstream, GuardedUpstream) else upstream


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
