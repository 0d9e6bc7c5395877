"""The pages on which a user logs in and consents, and the routes of the authorization server.

GET shows, POST changes. What waits is bound to one browser by a cookie, every form carries a
secret of its own, and a form of another origin is refused.
"""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tunnel_relay.admin.service import Admin
from tunnel_relay.directory import may_open
from tunnel_relay.identity.agents import AgentFinder
from tunnel_relay.identity.pending import (
    CODE_SECONDS,
    LOGIN_SECONDS,
    REQUEST_SECONDS,
    USED_SECONDS,
    Code,
    Held,
    Waiting,
)
from tunnel_relay.identity.reading import read_form
from tunnel_relay.identity.redirects import allowed
from tunnel_relay.identity.requests import (
    RequestError,
    answer_uri,
    form_target,
    judge,
    shown_target,
    single,
)
from tunnel_relay.identity.resources import (
    PRM,
    SERVER_PATH,
    origins_by_host,
    resource_metadata,
    server_metadata,
)
from tunnel_relay.identity.throttle import LoginThrottle
from tunnel_relay.identity.tokens import TokenEndpoint
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import AgentKind, StoreError, User
from tunnel_relay.web.browsers import BrowserCookie, is_own_request
from tunnel_relay.web.pages import page, static_route

STATIC = "/oauth/static"
_PUBLIC = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=300"}

log = structlog.get_logger("tunnel_relay.oauth")


class AuthorizationServer:
    """The embedded authorization server of one relay; `routes` go onto the public listener."""

    def __init__(
        self, admin: Admin, settings: Settings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._admin = admin
        self._settings = settings
        self._clock = clock
        self._origins = origins_by_host(settings.public_url)
        self.issuer = settings.public_url[0]
        self.finder = AgentFinder(admin, settings.oauth)
        self._waiting: Held[Waiting] = Held()
        self._codes: Held[Code] = Held()
        self._logins: Held[str] = Held()
        self._throttle = LoginThrottle()
        self._cookie = BrowserCookie(
            "mcp-login", secure=self.issuer.startswith("https:"), same_site="Lax"
        )
        self._tokens = TokenEndpoint(admin, settings.oauth, self.finder, self._codes, clock)

    @property
    def routes(self) -> list[Route]:
        """The routes: documents that anybody may read, pages, endpoints for agents."""
        routes = [Route(PRM + "/t/{tunnel}/{upstream}/mcp", self._resource, methods=["GET"])]
        if not self._settings.oauth.enabled:
            return routes
        routes += [
            Route("/.well-known/oauth-authorization-server", self._server, methods=["GET"]),
            Route("/oauth/authorize", self.authorize, methods=["GET"]),
            Route("/oauth/login", self.login, methods=["POST"]),
            Route("/oauth/consent", self.consent_page, methods=["GET"]),
            Route("/oauth/consent", self.consent, methods=["POST"]),
            Route("/oauth/token", self._tokens.token, methods=["POST"]),
            Route("/oauth/revoke", self._tokens.revoke, methods=["POST"]),
            static_route(STATIC),
        ]
        if self._settings.oauth.dynamic_registration:
            routes.append(Route("/oauth/register", self._tokens.register, methods=["POST"]))
        return routes

    # Documents ----------------------------------------------------------------------------------

    async def _resource(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PRM)
        origin = self._origins.get(request.headers.get("host", "").lower())
        if origin is None or not SERVER_PATH.fullmatch(path):
            return JSONResponse({"error": "not_found"}, 404)
        # The same for servers that exist and for those that do not.
        described = resource_metadata(origin + path, self._settings.authorization_servers)
        return JSONResponse(described, headers=_PUBLIC)

    async def _server(self, _request: Request) -> Response:
        oauth = self._settings.oauth
        described = server_metadata(
            self.issuer,
            registration=oauth.dynamic_registration,
            documents=oauth.metadata_documents,
        )
        return JSONResponse(described, headers=_PUBLIC)

    # Pages --------------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        """GET /oauth/authorize: judge the request, then ask who the user is, or for consent."""
        try:
            pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=50)
            sent = single(pairs)
            agent = await self.finder.find(sent.get("client_id", ""))
            redirect_uri = sent.get("redirect_uri", "")
            if not allowed(agent.redirect_uris, redirect_uri):
                raise RequestError("invalid_request", "the redirect URI is not registered")
        except (RequestError, ValueError) as error:
            # Never a redirect: nobody knows yet whom it would go to.
            text = error.text if isinstance(error, RequestError) else "the request is malformed"
            return self._problem(text)
        try:
            asked = judge(sent, redirect_uri, self._settings.public_url)
        except RequestError as error:
            answer = answer_uri(
                *(redirect_uri, self.issuer, sent.get("state")),
                error=error.error,
                error_description=error.text,
            )
            return RedirectResponse(answer, 303)
        browser = self._cookie.read(request)
        user = self._logged_in(browser)
        if not browser:
            browser = self._cookie.fresh()
        waiting = Waiting(asked, agent, browser, user=user)
        name = secrets.token_urlsafe(32)
        self._waiting.put(name, waiting, self._clock() + REQUEST_SECONDS)
        shown = self._ask_login(name, waiting) if user is None else self._ask(name, waiting)
        self._cookie.set(shown, browser)
        return shown

    async def login(self, request: Request) -> Response:
        """POST /oauth/login: a name and a password."""
        found = await self._posted(request)
        if isinstance(found, Response):
            return found
        name, waiting, fields = found
        account, password = fields.get("user", "").strip(), SecretStr(fields.get("password", ""))
        address = request.client.host if request.client else ""
        wait = self._throttle.take(account, address, self._clock())
        if wait:
            log.warning("login_throttled", address=address)
            problem = f"Too many attempts. Try again in {math.ceil(wait)} seconds."
            return self._ask_login(name, waiting, problem, 429)
        user = await self._verified(account, password)
        if user is None:
            log.warning("login_failed", address=address)
            return self._ask_login(name, waiting, "The name or the password is wrong.", 401)
        return await self.logged_in(user, name, waiting)

    async def logged_in(self, user: User, name: str, waiting: Waiting) -> Response:
        """Go on with a user who proved who they are, by whatever way."""
        try:
            await self._admin.note_login(user.key)
        except StoreError as error:
            log.error("login_not_stored", error=str(error))
        # A new value: whoever knew the old one is not logged in by this.
        browser = self._cookie.fresh()
        waiting.browser, waiting.user = browser, user.key
        self._logins.put(browser, user.key, self._clock() + LOGIN_SECONDS)
        log.info("logged_in", user=user.key, agent=waiting.agent.id)
        answer = RedirectResponse(f"/oauth/consent?request={name}", 303)
        self._cookie.set(answer, browser)
        return answer

    async def consent_page(self, request: Request) -> Response:
        """GET /oauth/consent: what the user is asked."""
        name = request.query_params.get("request", "")
        waiting = self._mine(request, name)
        if waiting is None or waiting.user is None:
            return self._problem("This login is over. Start again in your agent.")
        return self._ask(name, waiting)

    async def consent(self, request: Request) -> Response:
        """POST /oauth/consent: yes or no."""
        found = await self._posted(request)
        if isinstance(found, Response):
            return found
        name, waiting, fields = found
        self._waiting.drop(name)
        asked = waiting.request
        if fields.get("decision") != "allow" or not self._may(waiting):
            log.info("consent_denied", user=waiting.user, agent=asked.agent)
            values = {"error": "access_denied"}
        else:
            text = secrets.token_urlsafe(32)
            now = self._clock()
            code = Code(asked, waiting.user or "", now + CODE_SECONDS)
            self._codes.put(text, code, now + USED_SECONDS)
            server = f"{asked.tunnel}/{asked.upstream}"
            log.info("consented", user=waiting.user, agent=asked.agent, server=server)
            values = {"code": text}
        answer = answer_uri(asked.redirect_uri, self.issuer, asked.state, **values)
        return RedirectResponse(answer, 303, {"Cache-Control": "no-store"})

    # Inside -------------------------------------------------------------------------------------

    async def _posted(self, request: Request) -> tuple[str, Waiting, dict[str, str]] | Response:
        """Return what a form belongs to; a page that says what is wrong otherwise."""
        if not is_own_request(request, self._settings.public_url):
            return self._problem("This form was sent by another page.", 403)
        try:
            fields = await read_form(request)
        except ValueError:
            return self._problem("The form is malformed.")
        name = fields.get("request", "")
        waiting = self._mine(request, name)
        if waiting is None or not secrets.compare_digest(
            waiting.csrf.encode(), fields.get("csrf", "").encode()
        ):
            return self._problem("This login is over. Start again in your agent.", 403)
        return name, waiting, fields

    def _mine(self, request: Request, name: str) -> Waiting | None:
        waiting = self._waiting.get(name, self._clock())
        browser = self._cookie.read(request)
        if waiting is None or not secrets.compare_digest(
            waiting.browser.encode(), browser.encode()
        ):
            return None
        return waiting

    def _logged_in(self, browser: str) -> str | None:
        user = self._logins.get(browser, self._clock()) if browser else None
        return user if user is not None and self._admin.directory.active_user(user) else None

    async def _verified(self, account: str, password: SecretStr) -> User | None:
        user = self._admin.directory.active_user(account)
        stored = user.password if user is not None else None
        right = await self._admin.passwords.verify(stored, password)
        return user if right else None

    def _may(self, waiting: Waiting) -> bool:
        """Tell whether the user may open this server; one that does not exist is as forbidden."""
        asked, directory = waiting.request, self._admin.directory
        user = directory.active_user(waiting.user or "")
        tunnel = self._admin.tunnels.get(asked.tunnel)
        return (
            user is not None
            and tunnel is not None
            and may_open(user, tunnel, asked.upstream)
            and not directory.refuses(user.key, asked.agent)
        )

    def _ask_login(
        self, name: str, waiting: Waiting, problem: str = "", status: int = 200
    ) -> Response:
        return page(
            "oauth_login.html",
            status,
            static=STATIC,
            name=name,
            csrf=waiting.csrf,
            problem=problem,
            agent=waiting.agent.name,
            server=f"{waiting.request.tunnel}/{waiting.request.upstream}",
            others=self.other_logins(name),
        )

    def other_logins(self, name: str) -> Sequence[tuple[str, str]]:
        """Return (text, address) of other ways to log in for a request that waits."""
        return ()

    def _ask(self, name: str, waiting: Waiting) -> Response:
        asked, rules = waiting.request, self._settings.sessions
        agent = replace(waiting.agent)
        return page(
            "oauth_consent.html",
            form_targets=form_target(asked.redirect_uri),
            static=STATIC,
            name=name,
            csrf=waiting.csrf,
            permitted=self._may(waiting),
            agent=agent,
            claimed=agent.kind is not AgentKind.REGISTERED,
            target=shown_target(asked.redirect_uri),
            server=f"{asked.tunnel}/{asked.upstream}",
            user=waiting.user,
            ttl=rules.default_ttl,
            idle=min(rules.default_idle, rules.default_ttl),
        )

    def _problem(self, text: str, status: int = 400) -> Response:
        return page("oauth_problem.html", status, static=STATIC, text=text)
