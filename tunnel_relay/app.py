"""Puts the relay together: what answers which path, and what admins reach of it."""

import functools
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import structlog
from pydantic import SecretBytes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from shared.errors import CloseCode
from shared.keys import PrivateKey
from shared.policy.keeping import PolicyFile
from shared.wire.limits import LinkLimits
from shared.wire.tools import ToolWord
from tunnel_relay.admin.links import CUT_WAIT
from tunnel_relay.admin.service import Admin
from tunnel_relay.approvals.webhook import Webhook
from tunnel_relay.audit.calls import Calls
from tunnel_relay.audit.refusals import Refusals
from tunnel_relay.audit.saying import Claims
from tunnel_relay.clients.enrolment import Enrolment
from tunnel_relay.clients.listen import LinkListener
from tunnel_relay.clients.registry import Registry
from tunnel_relay.draining import Draining
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.approvals import Asking
from tunnel_relay.gateway.binding import Binding
from tunnel_relay.gateway.bodies import Bodies
from tunnel_relay.gateway.challenges import Challenges
from tunnel_relay.gateway.checks import Edge
from tunnel_relay.gateway.connection import AgentConnection
from tunnel_relay.gateway.http import Gateway
from tunnel_relay.gateway.judge import Judge
from tunnel_relay.gateway.mcp_sessions import McpSessions
from tunnel_relay.gateway.tally import Series
from tunnel_relay.identity.issuers import Issuers
from tunnel_relay.identity.oauth import AuthorizationServer
from tunnel_relay.identity.oidc import OidcClient
from tunnel_relay.keyfiles import read_secret
from tunnel_relay.quotas import Quota, Quotas
from tunnel_relay.ratelimit import RateLimit
from tunnel_relay.sessions import SessionTable
from tunnel_relay.settings import Limits, Settings
from tunnel_relay.store.base import Session, StoreError
from tunnel_relay.tools import Told

log = structlog.get_logger("tunnel_relay.app")

_WRONG_HOST = Response(
    answers.BAD_HOST.body, answers.BAD_HOST.status, media_type="application/json"
)
ABSENCE_SECONDS = 86400.0
MAX_TOLD = 1000
"""Sessions that ended while a client was away and that it is told of when it comes back."""
_HEALTH = frozenset({"/healthz", "/readyz"})


class Pages:
    """The cold pages of one listener (ASGI); `hosts` are the Host headers it answers to.

    Each listener has only its own: a path can be spelled in many ways, and one that the connection
    does not recognise must still not lead to a page of the other listener.
    """

    def __init__(self, routes: Sequence[Route], hosts: frozenset[bytes]) -> None:
        self._routes = Starlette(routes=list(routes))
        self._routes.router.redirect_slashes = False  # one name for one thing
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request."""
        if scope["path"] not in _HEALTH and _host(scope) not in self._hosts:
            await _WRONG_HOST(scope, receive, send)
        else:
            await self._routes(scope, receive, send)


class RelayApp:
    """What the listeners serve: the gateway for `/t/`, Starlette for the cold pages."""

    def __init__(
        self,
        settings: Settings,
        admin: Admin,
        key: PrivateKey,
        mcp_key: SecretBytes,
        policy: PolicyFile,
    ) -> None:
        self.registry, self.edge = _registry(settings.limits, admin), edge_of(settings)
        guesses, claims = _guesses(settings), Claims()
        self.issuers, self._lease = Issuers(admin, guesses), admin.lease
        self.gateway = Gateway(
            self.edge,
            admin.sessions,
            self.registry,
            McpSessions(mcp_key),
            admin.lease,
            challenges=_challenges(settings),
            quotas=_quotas(settings.limits),
            bodies=Bodies(settings.limits.session_body_bytes, settings.limits.user_body_bytes),
            binding=Binding(admin.tasks, admin.clock),
            judge=Judge(lambda: policy.policy, admin.directory.groups_of),
            asking=Asking(admin.approvals, key, _console(settings)),
            calls=Calls(admin.records.log, claims, reads_without=settings.audit.reads_without),
            refusals=Refusals(admin.records, claims, self._tool, lambda: policy.policy.digest),
            guesses=guesses,
            issuers=self.issuers,
            wait_for_client=settings.limits.wait_for_client,
            comment_every=settings.limits.sse_comment,
        )
        self.listener = LinkListener(
            key=key,
            origins=frozenset(settings.link_origins),
            registry=self.registry,
            find_key=admin.find_key,
            admit=admin.admit,
            groups_of=lambda user: admin.directory.groups_of(user),
            limits=_link_limits(settings.limits),
            deadline=settings.limits.handshake,
            most=(settings.limits.links, settings.limits.links_per_client),
        )
        self.listening = anyio.Event()
        self.draining = Draining(self.registry, self.gateway, settings.limits)
        enrolment = Enrolment(admin, per_minute=settings.limits.enrolments_per_minute)
        self.oidc, admin.issuers = oidc_client(admin), self._issuer_facts
        self.oauth = AuthorizationServer(admin, settings, oidc=self.oidc)
        health = [Route("/healthz", _healthz), Route("/readyz", self._readyz)]
        self.agents_pages = Pages([*self.oauth.routes, *health], self.edge.hosts)
        self.links_pages = Pages([enrolment.route, *health], self.edge.hosts)
        self.pages = Pages([*self.oauth.routes, enrolment.route, *health], self.edge.hosts)

    def protocol(self, *, config: Any, server_state: Any, **_: Any) -> AgentConnection:
        """Make the protocol of an accepted connection (uvicorn's `http` class)."""
        return self.draining.taken(AgentConnection(self.gateway, config, server_state))

    def _tool(self, session: Session, name: str) -> ToolWord | None:
        links = self.registry.of_tunnel(session.tunnel)
        return next((tool for link in links if (tool := link.tool(session.upstream, name))), None)

    def _issuer_facts(self) -> list[dict[str, Any]]:
        logins = [] if self.oidc is None else [self.oidc.provider.facts()]
        return [*self.issuers.facts(), *logins]

    def agents_protocol(self, *, config: Any, server_state: Any, **_: Any) -> AgentConnection:
        """Make the protocol of a listener that takes no links."""
        return self.draining.taken(AgentConnection(self.gateway, config, server_state, links=False))

    def links_protocol(self, *, config: Any, server_state: Any, **_: Any) -> AgentConnection:
        """Make the protocol of a listener that takes nothing but links and enrolments."""
        return self.draining.taken(
            AgentConnection(self.gateway, config, server_state, agents=False)
        )

    async def _readyz(self, _request: Request) -> JSONResponse:
        counts = {"links": self.registry.connected, "streams": self.gateway.live}
        reason = "stopping" if self.draining.begun else "store" if self._lease.problem else None
        if reason is None and self.gateway.calls.failing is not None:
            reason = "audit"
        shown = {"ready": reason is None, "reason": reason, **counts}
        return JSONResponse(shown, 503 if reason else 200)


def _ended_lately(admin: Admin, tunnel: str) -> list[str]:
    """Return what a client that was away has to be told, the latest sessions if too many."""
    now = admin.clock()
    return admin.sessions.ended_in(tunnel, now - ABSENCE_SECONDS, now)[-MAX_TOLD:]


def oidc_client(admin: Admin) -> OidcClient | None:
    """Return the relay as a client of its OpenID provider; raises RelayError SECRET_UNUSABLE."""
    oidc = admin.settings.oidc
    if oidc is None:
        return None
    reference = oidc.client_secret
    return OidcClient(
        admin, oidc, None if reference is None else read_secret(reference, os.environ)
    )


def webhook(settings: Settings) -> Webhook | None:
    """Return what announces requests for approval; raises RelayError SECRET_UNUSABLE."""
    chosen = settings.approvals
    if chosen.webhook is None or chosen.webhook_secret is None:
        return None
    secret = read_secret(chosen.webhook_secret, os.environ)
    return Webhook(chosen, secret, _console(settings))


def _challenges(settings: Settings) -> Challenges:
    return Challenges(settings.public_url, bool(settings.authorization_servers), settings.scopes)


def _console(settings: Settings) -> str | None:
    return None if settings.admin is None else settings.admin.origin


def _link_limits(limits: Limits) -> LinkLimits:
    return LinkLimits(
        ping_interval=limits.ping_interval,
        ping_deadline=limits.ping_deadline,
        resume_seconds=min(limits.resume_seconds, limits.lease),  # then the client has ended all
    )


def _registry(limits: Limits, admin: Admin) -> Registry:
    ended = functools.partial(_ended_lately, admin)
    closed = limits.resume_closed_seconds
    return Registry(limits.lease, ended, closed, may_connect=admin.may_connect)


def _quotas(limits: Limits) -> Quotas:
    return Quotas(
        Quota(limits.session_calls_per_second, limits.session_streams),
        Quota(limits.user_calls_per_second, limits.user_streams),
    )


def _guesses(settings: Settings) -> RateLimit | None:
    if settings.trusted_proxies:
        return None  # every agent has the balancer's address
    per_minute = settings.limits.bad_tokens_per_minute
    return RateLimit(per_minute / 60, per_minute)


async def _healthz(_request: Request) -> JSONResponse:
    return JSONResponse({"alive": True})


def _host(scope: Scope) -> bytes | None:
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return hosts[0].lower() if len(hosts) == 1 else None


def edge_of(settings: Settings) -> Edge:
    """Return what the gateway accepts, from the configuration."""
    hosts = set()
    for origin in settings.public_url:
        scheme, _, authority = origin.partition("://")
        hosts.add(authority.encode())
        if ":" not in authority.rpartition("]")[2]:
            port = 443 if scheme == "https" else 80
            hosts.add(f"{authority}:{port}".encode())
    return Edge(
        hosts=frozenset(hosts),
        # A page of the relay's own origin is the relay itself.
        origins=frozenset(
            origin.encode() for origin in (*settings.allowed_origins, *settings.public_url)
        ),
        header_bytes=settings.limits.header_bytes,
        header_fields=settings.limits.header_fields,
        body_bytes=settings.limits.body_bytes,
    )


class LiveLinks:
    """The links of the serving relay, as commands see and end them."""

    def __init__(
        self,
        registry: Registry,
        gateway: Gateway,
        sessions: SessionTable,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.revocations = Series()
        self._registry = registry
        self._gateway = gateway
        self._sessions = sessions
        self._clock = clock

    def links(self) -> list[dict[str, Any]]:
        """Describe every live link."""
        return self._registry.links()

    def tools(self) -> Sequence[Told]:
        """Return what clients say of their tools."""
        return self._registry.tools()

    async def cut_sessions(self, sessions: Sequence[str], wait: float = CUT_WAIT) -> dict[str, Any]:
        """End sessions' streams here, then at every client; says who did and who is silent."""
        started = self._clock()
        known = [found for found in map(self._sessions.get, sessions) if found is not None]
        # Before the streams: a client counts what it ends itself. Both leave in this turn.
        revoking = self._registry.revoke([(each.tunnel, each.id) for each in known])
        streams = sum(self._gateway.cut_session(session) for session in sessions)
        clients = await revoking.answers(wait)
        self.revocations.add(self._clock() - started)
        return {
            "streams": streams,
            "links": sum(client["links"] for client in clients),
            "ms": round((self._clock() - started) * 1000, 2),
            "clients": clients,
            "silent": sorted(each["instance"] for each in clients if each["lease"] is not None),
        }

    def close_tunnel(self, tunnel: str, code: CloseCode, reason: str) -> int:
        """Close the links of a tunnel."""
        return self._registry.close_tunnel(tunnel, code, reason)

    def close_instance(self, instance: str, code: CloseCode, reason: str) -> int:
        """Close the links of one client."""
        return self._registry.close_instance(instance, code, reason)


async def flush_forever(admin: Admin, every: float = 30.0) -> None:
    """Write last uses and tasks back now and then; a store that fails is tried again next time."""
    while True:
        await anyio.sleep(every)
        try:
            await admin.flush_last_used()
        except StoreError as error:
            log.error("not stored yet", reason=str(error))


async def purge_forever(admin: Admin, every: float = 3600.0) -> None:
    """Forget sessions that ended long ago; a store that fails is tried again next time."""
    while True:
        await anyio.sleep(every)
        try:
            await admin.purge()
        except StoreError as error:
            log.error("sessions_not_purged", error=str(error))


async def end_by_time_forever(admin: Admin, every: float = 0.5) -> None:
    """Cut the running calls of sessions whose time is over, at both ends."""
    async with anyio.create_task_group() as tasks:
        while True:
            await anyio.sleep(every)
            # Not awaited: a client that is silent must not hold up the next look.
            tasks.start_soon(admin.end_by_time)
            tasks.start_soon(admin.approvals.tell_over)
