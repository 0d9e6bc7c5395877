"""Puts the admin listener together: the API, the login, the pages, and the guard before them."""

import structlog
from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from tunnel_relay.admin.api import Api
from tunnel_relay.admin.callers import Callers
from tunnel_relay.admin.edge import AdminEdge, Guard
from tunnel_relay.admin.logins import Logins
from tunnel_relay.admin.service import Admin
from tunnel_relay.console import (
    agents,
    approvals,
    audit,
    locks,
    overview,
    passkeys,
    permissions,
    sessions,
    tools,
    tunnels,
    users,
)
from tunnel_relay.console.login import LoginPages, way_anew
from tunnel_relay.console.proof import proven
from tunnel_relay.console.scrape import metrics_route
from tunnel_relay.console.visit import STATIC, Site, action_route, view_route
from tunnel_relay.events import EventRing
from tunnel_relay.identity.oidc import OidcClient
from tunnel_relay.metrics import Metrics
from tunnel_relay.web.pages import static_route

log = structlog.get_logger("tunnel_relay.console")


class _Number(IntegerConvertor):
    """A number of a record or an event: of more digits Python may refuse to make one."""

    regex = "[0-9]{1,18}"


register_url_convertor("number", _Number())


class ConsoleApp:
    """What the admin listener serves (ASGI)."""

    def __init__(
        self,
        admin: Admin,
        edge: AdminEdge,
        events: EventRing,
        oidc: OidcClient | None = None,
        origin: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.logins = Logins()
        callers = Callers(admin, self.logins)
        anew = None if oidc is None or origin is None else way_anew(oidc)
        self.site = Site(admin, events, self.logins, callers, anew)
        self.routes: list[BaseRoute] = [
            *Api(admin, callers).routes(),
            *LoginPages(self.site, oidc, origin).routes(),
            *page_routes(self.site),
            static_route(STATIC),
            *([] if metrics is None else [metrics_route(metrics, callers)]),
        ]
        inner = Starlette(
            routes=self.routes, exception_handlers={HTTPException: _plain, Exception: _failed}
        )
        inner.router.redirect_slashes = False
        self._guarded = Guard(inner, edge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self._guarded(scope, receive, send)


def console_app(
    admin: Admin,
    edge: AdminEdge,
    events: EventRing,
    oidc: OidcClient | None = None,
    origin: str | None = None,
    metrics: Metrics | None = None,
) -> ConsoleApp:
    """Return the ASGI application of the admin listener; `origin` is where providers lead back."""
    return ConsoleApp(admin, edge, events, oidc, origin, metrics)


def page_routes(site: Site) -> list[BaseRoute]:
    """Return the routes of all pages and forms behind the login."""
    tunnel, session = "/tunnels/{name}", "/sessions/{session}"
    approval = "/approvals/{approval}"
    return [
        view_route(site, "/", overview.overview),
        view_route(site, "/live", overview.live, live=True),
        view_route(site, "/events", overview.events),
        view_route(site, "/events/after/{number:number}", overview.events_after, live=True),
        view_route(site, "/approvals", approvals.approvals),
        view_route(site, "/approvals/live", approvals.live, live=True),
        view_route(site, "/approvals/count", approvals.count, live=True),
        view_route(site, approval, approvals.approval),
        action_route(site, f"{approval}/approve", approvals.approve, approvals.approval),
        action_route(site, f"{approval}/deny", approvals.deny, approvals.approval),
        view_route(site, "/passkeys", passkeys.passkeys),
        action_route(site, "/passkeys/add", passkeys.add, passkeys.passkeys),
        action_route(site, "/passkeys/remove", passkeys.remove, passkeys.passkeys),
        view_route(site, "/tunnels", tunnels.tunnels),
        action_route(site, "/tunnels/create", proven(tunnels.create), tunnels.tunnels),
        view_route(site, tunnel, tunnels.tunnel),
        action_route(site, f"{tunnel}/rotate", proven(tunnels.rotate), tunnels.tunnel),
        action_route(site, f"{tunnel}/disable", tunnels.disable, tunnels.tunnel),
        action_route(site, f"{tunnel}/enable", proven(tunnels.enable), tunnels.tunnel),
        view_route(site, f"{tunnel}/tools/{{upstream}}", tools.tools),
        view_route(site, f"{tunnel}/tools/{{upstream}}/tool", tools.tool),
        view_route(site, "/sessions", sessions.sessions),
        view_route(site, session, sessions.session),
        action_route(site, f"{session}/revoke", sessions.revoke, sessions.session),
        view_route(site, "/users", users.users),
        view_route(site, "/user", users.user),
        view_route(site, "/user/could", permissions.could),
        action_route(site, "/users/add", proven(users.add), users.users),
        action_route(site, "/users/change", proven(users.change), users.user),
        action_route(site, "/users/password", users.set_password, users.user),
        action_route(site, "/users/disable", users.disable, users.user),
        action_route(site, "/users/enable", proven(users.enable), users.user),
        action_route(site, "/users/revoke-token", users.revoke_token, users.user),
        view_route(site, "/agents", agents.agents),
        action_route(site, "/agents/add", proven(agents.add), agents.agents),
        action_route(site, "/agents/disable", agents.disable, agents.agents),
        action_route(site, "/agents/enable", proven(agents.enable), agents.agents),
        view_route(site, "/locks", locks.locks),
        action_route(site, "/locks/add", locks.add, locks.locks),
        action_route(site, "/locks/remove", proven(locks.remove), locks.locks),
        *_audit_routes(site),
    ]


def _audit_routes(site: Site) -> list[BaseRoute]:
    return [
        view_route(site, "/audit", audit.audit),
        action_route(site, "/audit/verify", audit.verify, audit.audit),
        view_route(site, "/audit/checkpoint", audit.checkpoint),
        view_route(site, "/audit/records/{seq:number}", audit.record),
        view_route(site, "/audit/sessions/{session}", audit.session),
    ]


async def _plain(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    text = {404: "There is no such page.\n", 405: "That is not done this way.\n"}
    return PlainTextResponse(text.get(status, "refused\n"), status, headers)


async def _failed(request: Request, error: Exception) -> Response:
    # To the log with its trace; to the caller nothing of it.
    log.error("console_failed", path=request.url.path, exc_info=error)
    return PlainTextResponse("The relay failed at this; its log says more.\n", 500)
