"""The pages on which a user logs in and consents, and the routes of the authorization server.

GET shows, POST changes. What waits is bound to one browser by a cookie, every form carries a
secret of its own, and a form of another origin is refused. A second cookie, a new one with each
login, says who is logged in; several agents may send one browser here at the same time.
"""

import math
import secrets
import time
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.audit.events import note
from tunnel_relay.admin.service import Admin
from tunnel_relay.directory import may_open
from tunnel_relay.identity import scopes
from tunnel_relay.identity.agents import AgentFinder
from tunnel_relay.identity.metadata import Metadata
from tunnel_relay.identity.oidc import Back, OidcClient
from tunnel_relay.identity.oidc_pages import OidcPages, Place
from tunnel_relay.identity.pending import (
    CODE_SECONDS,
    LOGIN_SECONDS,
    REQUEST_SECONDS,
    USED_SECONDS,
    Code,
    Kept,
    Login,
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
from tunnel_relay.identity.shared_routes import shared_route
from tunnel_relay.identity.tokens import TokenEndpoint
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import AgentKind, Door, StoreError, User
from tunnel_relay.web.browsers import BrowserCookie, is_own_request
from tunnel_relay.web.pages import page, static_route

STATIC = "/oauth/static"
PER_ADDRESS = 2.0, 60
"""(a second, at once) requests of agents that may begin to wait for their user."""
VERIFYING = 16
"""Passwords that are verified or wait for it; more are turned away."""
OVER = "This login is over. Start again in your agent."

log = structlog.get_logger("tunnel_relay.oauth")


class AuthorizationServer:
    """The embedded authorization server of one relay; `routes` go onto the public listener."""

    def __init__(
        self,
        admin: Admin,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        oidc: OidcClient | None = None,
    ) -> None:
        self._admin = admin
        self._settings = settings
        self._clock = clock
        self.issuer = settings.public_url[0]
        self.finder = AgentFinder(admin, settings.oauth, clock=clock)
        # By address, then by user: nobody's request, code or login goes for another's.
        self._waiting: Kept[Waiting] = Kept(REQUEST_SECONDS)
        self._codes: Kept[Code] = Kept(USED_SECONDS)
        self._logins: Kept[Login] = Kept(LOGIN_SECONDS)
        self._begun = RateLimit(*PER_ADDRESS)
        self._verifying = 0
        secure = self.issuer.startswith("https:")
        self._browser_cookie = BrowserCookie("mcp-browser", secure=secure, same_site="Lax")
        self._login_cookie = BrowserCookie("mcp-login", secure=secure, same_site="Lax")
        self._tokens = TokenEndpoint(admin, settings.oauth, self.finder, self._codes, clock)
        self._oidc: OidcPages | None = None
        if oidc is not None:
            place = Place(self.issuer, "/oauth/oidc", STATIC)
            self._oidc = OidcPages(oidc, place, self._awaits_login, self._back_from_oidc, clock)

    @property
    def routes(self) -> list[Route]:
        """The routes: documents that anybody may read, pages, endpoints for agents."""
        routes = Metadata(self._settings).routes
        if not self._settings.oauth.enabled:
            return routes
        pages = self._settings.allowed_origins
        routes += [
            Route("/oauth/authorize", self.authorize, methods=["GET"]),
            Route("/oauth/login", self.login, methods=["POST"]),
            Route("/oauth/consent", self.consent_page, methods=["GET"]),
            Route("/oauth/consent", self.consent, methods=["POST"]),
            shared_route("/oauth/token", self._tokens.token, "POST", pages),
            shared_route("/oauth/revoke", self._tokens.revoke, "POST", pages),
            static_route(STATIC),
            *(() if self._oidc is None else self._oidc.routes),
        ]
        if self._settings.oauth.dynamic_registration:
            routes.append(shared_route("/oauth/register", self._tokens.register, "POST", pages))
        return routes

    # Pages --------------------------------------------------------------------------------------

    async def authorize(self, request: Request) -> Response:
        """GET /oauth/authorize: judge the request, then ask who the user is, or for consent."""
        address = request.client.host if request.client else ""
        wait = self._begun.take(address_key(address), self._clock())
        if wait:
            return self._problem("Too many logins were begun. Try again soon.", 429, wait)
        try:
            pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=50)
            sent = single(pairs)
            agent = await self.finder.find(sent.get("client_id", ""), address)
            redirect_uri = sent.get("redirect_uri", "")
            if not allowed(agent.redirect_uris, redirect_uri):
                raise RequestError("invalid_request", "the redirect URI is not registered")
        except RequestError as error:
            # Never a redirect: nobody knows yet whom it would go to.
            return self._problem(error.text, 429 if error.wait else 400, error.wait)
        except ValueError:
            return self._problem("the request is malformed")
        try:
            asked = judge(sent, redirect_uri, self._settings.public_url)
        except RequestError as error:
            if agent.id not in self._admin.directory.agents:
                # Nobody vouched for it: without a click our name would lead to a stranger's page.
                return self._problem(error.text)
            answer = answer_uri(
                *(redirect_uri, self.issuer, sent.get("state")),
                error=error.error,
                error_description=error.text,
            )
            return _redirect(answer)
        browser = self._browser_cookie.read(request) or self._browser_cookie.fresh()
        login = self._logged_in(request)
        waiting = Waiting(asked, agent, browser, login=login)
        name = secrets.token_urlsafe(32)
        wait = self._waiting.put(name, waiting, address_key(address), self._clock())
        if wait:
            return self._problem("Too many logins wait for their user. Try again.", 429, wait)
        shown = self._ask_login(name, waiting) if login is None else self._ask(name, waiting)
        self._browser_cookie.set(shown, browser)
        return shown

    async def login(self, request: Request) -> Response:
        """POST /oauth/login: a name and a password."""
        found = await self._posted(request)
        if isinstance(found, Response):
            return found
        name, waiting, fields = found
        account, password = fields.get("user", "").strip(), SecretStr(fields.get("password", ""))
        address = request.client.host if request.client else ""
        # What nobody has time to verify is no attempt: it counts against no account.
        busy = self._verifying >= VERIFYING
        wait = 1.0 if busy else self._admin.throttle.take(account, address, self._clock())
        if wait:
            log.warning("login_throttled", address=address)
            note("login.throttled", at="oauth", source=address)
            seconds = math.ceil(wait)
            problem = f"Too many attempts. Try again in {seconds} seconds."
            answer = self._ask_login(name, waiting, problem, 429)
            answer.headers["Retry-After"] = str(seconds)
            return answer
        user = await self._verified(account, password)
        if user is None:
            log.warning("login_failed", address=address)
            known = account if account in self._admin.directory.users else None
            note("login.failed", who={"user": known}, at="oauth", source=address)
            return self._ask_login(name, waiting, "The name or the password is wrong.", 401)
        self._admin.throttle.succeeded(account, address)
        return await self.logged_in(user, name, waiting)

    async def logged_in(self, user: User, name: str, waiting: Waiting) -> Response:
        """Go on with a user who proved who they are, by whatever way."""
        await self._admin.note_login(user.key)
        times_off = self._admin.directory.times_off[user.key]
        waiting.login = Login(user.key, user.password, times_off)
        # A new value: whoever planted a cookie before is not logged in by this. Where there is no
        # place for it, the next agent has its user asked for the password again.
        login = self._login_cookie.fresh()
        self._logins.put(login, waiting.login, user.key, self._clock())
        note("login.ok", who={"user": user.key}, at="oauth", agent=waiting.agent.id)
        log.info("logged_in", user=user.key, agent=waiting.agent.id)
        answer = _redirect(f"/oauth/consent?request={name}")
        self._login_cookie.set(answer, login)
        return answer

    async def consent_page(self, request: Request) -> Response:
        """GET /oauth/consent: what the user is asked."""
        name = request.query_params.get("request", "")
        waiting = self._mine(request, name)
        if waiting is None or waiting.user is None:
            return self._problem(OVER)
        return self._ask(name, waiting)

    async def consent(self, request: Request) -> Response:
        """POST /oauth/consent: yes or no."""
        found = await self._posted(request)
        if isinstance(found, Response):
            return found
        name, waiting, fields = found
        self._waiting.drop(name)
        asked = waiting.request
        classes = scopes.chosen(fields)
        if fields.get("decision") != "allow" or not classes or not self._may(waiting):
            log.info("consent_denied", user=waiting.user, agent=asked.agent)
            values = {"error": "access_denied"}
        else:
            try:
                await self.finder.keep(waiting.agent)
            except StoreError as error:
                log.error("agent_not_stored", error=str(error))
                return self._problem("The relay cannot store this now. Try again soon.", 503)
            text = secrets.token_urlsafe(32)
            now = self._clock()
            code = Code(asked, waiting.user or "", now + CODE_SECONDS, classes)
            wait = self._codes.put(text, code, code.user, now)
            if wait:
                return self._problem("You were given too many codes. Try again.", 429, wait)
            server = f"{asked.tunnel}/{asked.upstream}"
            log.info(
                "consented",
                user=waiting.user,
                agent=asked.agent,
                server=server,
                classes=" ".join(classes),
            )
            values = {"code": text}
        return _redirect(answer_uri(asked.redirect_uri, self.issuer, asked.state, **values))

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
            return self._problem(OVER, 403)
        return name, waiting, fields

    def _mine(self, request: Request, name: str) -> Waiting | None:
        waiting = self._waiting.get(name, self._clock())
        browser = self._browser_cookie.read(request)
        if waiting is None or not secrets.compare_digest(
            waiting.browser.encode(), browser.encode()
        ):
            return None
        return waiting

    def _logged_in(self, request: Request) -> Login | None:
        login = self._logins.get(self._login_cookie.read(request), self._clock())
        return login if login is not None and self._holds(login) else None

    def _holds(self, login: Login) -> bool:
        known = self._admin.directory
        return login.is_of(known.active_user(login.user), known.times_off[login.user])

    async def _verified(self, account: str, password: SecretStr) -> User | None:
        user = self._admin.directory.active_user(account)
        self._verifying += 1
        try:
            right = await self._admin.passwords.verify(user.password if user else None, password)
        finally:
            self._verifying -= 1
        # As they are now: much may have changed while the password was verified.
        now = self._admin.directory.active_user(account)
        same = user is not None and now is not None and user.password == now.password
        return now if right and same else None

    def _may(self, waiting: Waiting) -> bool:
        """Tell whether the user may open this server; one that does not exist is as forbidden."""
        asked, admin = waiting.request, self._admin
        user = admin.directory.active_user(waiting.user or "")
        # A new password ends what the one before began, here too.
        if waiting.login is None or not self._holds(waiting.login):
            return False
        tunnel = admin.tunnels.get(asked.tunnel)
        if user is None or tunnel is None or not may_open(user, tunnel, asked.upstream):
            return False
        if tunnel.disabled or admin.owner_is_off(tunnel.name):
            return False
        if admin.directory.refuses(user.key, asked.agent):
            return False
        place = (asked.tunnel, asked.upstream)
        session = admin.new_session(user, asked.agent, place, door=Door.OAUTH, granted_by=user.key)
        return not admin.locks.locks_session(session, admin.clock())

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
        return () if self._oidc is None else (self._oidc.link(name),)

    def _awaits_login(self, request: Request, name: str) -> bool:
        return self._mine(request, name) is not None

    async def _back_from_oidc(self, back: Back, request: Request) -> Response:
        waiting = self._mine(request, back.next)
        if waiting is None:
            return self._problem(OVER)
        return await self.logged_in(back.user, back.next, waiting)

    def _ask(self, name: str, waiting: Waiting) -> Response:
        asked, rules, agent = waiting.request, self._settings.sessions, waiting.agent
        permitted, place = self._may(waiting), f"{asked.tunnel}/{asked.upstream}"
        # Whoever may not use a server learns nothing of it.
        server = self._admin.tools.server(place) if permitted else None
        if server is not None and not server.told:
            server = None
        return page(
            "oauth_consent.html",
            form_targets=form_target(asked.redirect_uri),
            static=STATIC,
            name=name,
            csrf=waiting.csrf,
            permitted=permitted,
            agent=agent,
            claimed=agent.kind is not AgentKind.REGISTERED,
            target=shown_target(asked.redirect_uri),
            server=place,
            user=waiting.user,
            asked=scopes.asked(asked.scope),
            meaning=scopes.MEANING,
            tools=None if server is None else scopes.tools_of(server.by_class()),
            ttl=rules.default_ttl,
            idle=min(rules.default_idle, rules.default_ttl),
        )

    def _problem(self, text: str, status: int = 400, wait: float = 0.0) -> Response:
        answer = page("oauth_problem.html", status, static=STATIC, text=text)
        if wait:
            answer.headers["Retry-After"] = str(math.ceil(wait))
        return answer


def _redirect(address: str) -> Response:
    return RedirectResponse(
        address, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )
