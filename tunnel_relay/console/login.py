"""Logging in to the console, and out."""

import math
import time

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.audit.events import note
from tunnel_relay.admin.answers import StatusError, too_many
from tunnel_relay.admin.callers import CONSOLE_ROLES
from tunnel_relay.admin.logins import COOKIE, FRESH
from tunnel_relay.console.forms import read_form
from tunnel_relay.console.visit import STATIC, Site, Visit, action_route
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.oidc import Back, OidcClient
from tunnel_relay.identity.oidc_pages import OidcPages, Place
from tunnel_relay.store.base import User
from tunnel_relay.web.pages import headers, page

AT_ONCE = 8
"""Passwords that are verified or wait for it."""
PREFIX = "/login/oidc"
CONSOLE = "console"
"""What a login at a provider is for that was begun here."""
AGAIN = "proof"
"""The same of somebody who is logged in and has to prove that it is them."""
NOT_YOURS = "This account may not use the console."
WRONG = "The name or the password is wrong, or this account may not use the console."

log = structlog.get_logger("tunnel_relay.console")


class LoginPages:
    """The login page, and what its form does."""

    def __init__(
        self, site: Site, oidc: OidcClient | None = None, origin: str | None = None
    ) -> None:
        self._site = site
        self._busy = 0
        self._oidc: OidcPages | None = None
        if oidc is not None and origin is not None:
            place = Place(origin, PREFIX, STATIC)
            self._oidc = OidcPages(oidc, place, _is_ours, self._back_from_oidc, asks=_asks)

    def routes(self) -> list[Route]:
        """Return the routes of logging in and out."""
        return [
            Route("/login", self.show, methods=["GET"], name="GET /login"),
            Route("/login", self.log_in, methods=["POST"], name="POST /login"),
            action_route(self._site, "/logout", log_out, log_out),
            *(() if self._oidc is None else self._oidc.routes),
        ]

    async def show(self, request: Request) -> Response:
        """Show the page, or go on when somebody is logged in."""
        if self._site.callers.of_console(request) is not None:
            return RedirectResponse("/", 303, headers())
        return self._page()

    async def log_in(self, request: Request) -> Response:
        """Check name and password; one answer for every reason against it."""
        try:
            form = await read_form(request)
            name, password = form.text("user").strip(), SecretStr(form.text("password"))
            self._may_try(request, name)
            user = await self._verified(name, password, _address(request))
            self._site.admin.throttle.succeeded(name, _address(request))
        except RelayError as error:
            return self._page(error)
        answer = RedirectResponse("/", 303, headers())
        self._open(user, request, answer)
        return answer

    def _open(
        self, user: User, request: Request, answer: Response, proved: float = math.inf
    ) -> None:
        # A login that was there before ends, and the cookie is a fresh one: nothing is fixed.
        before = request.cookies.get(COOKIE)
        if before is not None:
            self._site.logins.close(before)
        times_off = self._site.admin.directory.times_off[user.key]
        now = self._site.admin.clock()
        cookie, _ = self._site.logins.open(user, now, times_off, proved=proved)
        note("login.ok", who={"user": user.key}, at=CONSOLE, source=_address(request))
        log.info("console_login", user=user.key, address=_address(request))
        answer.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")

    async def _back_from_oidc(self, back: Back, request: Request) -> Response:
        """Let in who is known at the provider, if their roles of today allow it.

        A provider that still knew the browser lets it in without a question: what it says of when
        it last asked one counts, and where it says nothing, nothing was proved.
        """
        user = back.user
        who = self._site.callers.who(user.key)
        if who is None or not who.roles & CONSOLE_ROLES:
            log.warning("console_login_refused", user=user.key)
            note("login.failed", who={"user": user.key}, at=CONSOLE, source=_address(request))
            return self._page(StatusError(403, NOT_YOURS, code=Code.LOGIN_NEEDED))
        await self._site.admin.note_login(user.key)
        # A page, not a redirect: a browser that comes from elsewhere shows no strict cookie yet.
        answer = page("console/welcome.html", static=STATIC)
        self._open(user, request, answer, back.logged_in or 0.0)
        return answer

    def _page(self, problem: RelayError | None = None) -> Response:
        answer = page(
            "console/login.html",
            200 if not isinstance(problem, StatusError) else problem.status,
            static=STATIC,
            problem=problem,
            others=() if self._oidc is None else (self._oidc.link(CONSOLE),),
        )
        if isinstance(problem, StatusError):
            answer.headers.update(problem.headers)
        return answer

    def _may_try(self, request: Request, name: str) -> None:
        # What nobody has time to verify is no attempt: it counts against no account.
        busy = self._busy >= AT_ONCE
        throttle = self._site.admin.throttle
        wait = 1.0 if busy else throttle.take(name, _address(request), time.monotonic())
        if wait:
            log.warning("console_login_limited", address=_address(request))
            note("login.throttled", at=CONSOLE, source=_address(request))
            raise too_many(wait, f"Too many attempts. Try again in {math.ceil(wait)} s.")

    async def _verified(self, name: str, password: SecretStr, source: str) -> User:
        """Return the user, or take as long to refuse, whatever the reason."""
        admin = self._site.admin
        known = admin.directory.users.get(name)
        self._busy += 1
        try:
            right = await admin.passwords.verify(known.password if known else None, password)
        finally:
            self._busy -= 1
        # As it is now: much may have changed while the password was verified.
        user, who = admin.directory.users.get(name), self._site.callers.who(name)
        changed = user is None or known is None or user.password != known.password
        if user is None or who is None or not right or changed or not who.roles & CONSOLE_ROLES:
            # Not what was typed: people type passwords into the wrong field.
            log.warning("console_login_refused", user=known.key if known else "unknown")
            note(
                "login.failed",
                who={"user": known.key if known else None},
                at=CONSOLE,
                source=source,
            )
            raise StatusError(403, WRONG, code=Code.LOGIN_NEEDED)
        await admin.note_login(user.key)
        return user


async def log_out(visit: Visit) -> Response:
    """End the login here; the cookie alone would be worth something otherwise."""
    cookie = visit.request.cookies.get(COOKIE)
    if cookie is not None:
        visit.site.logins.close(cookie)
    note("login.over", who={"user": visit.logged_in.who.user}, at=CONSOLE)
    log.info("console_logout", user=visit.logged_in.who.user)
    answer = RedirectResponse("/login", 303, headers())
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return answer


def _is_ours(_request: Request, then: str) -> bool:
    return then in (CONSOLE, AGAIN)


def _asks(then: str) -> dict[str, str]:
    """Return what a provider is asked for (OpenID Connect Core 3.1.2.1): a login that is no older.

    With `max_age` it has to say when that login was.
    """
    asked = {"max_age": f"{FRESH:.0f}"}
    return asked | {"prompt": "login"} if then == AGAIN else asked


def way_anew(oidc: OidcClient) -> tuple[str, str]:
    """Return text and address of the way to prove at the provider who one is."""
    return f"Log in again with {oidc.name}", f"{PREFIX}/start?next={AGAIN}"


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
