"""Logging in to the console, and out."""

import math
import time

import structlog
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tunnel_relay.admin.answers import StatusError, too_many
from tunnel_relay.admin.callers import CONSOLE_ROLES
from tunnel_relay.admin.logins import COOKIE
from tunnel_relay.console.forms import read_form
from tunnel_relay.console.visit import STATIC, Site, Visit, action_route
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import User
from tunnel_relay.web.pages import headers, page

AT_ONCE = 8
"""Passwords that are verified or wait for it."""
WRONG = "The name or the password is wrong, or this account may not use the console."

log = structlog.get_logger("tunnel_relay.console")


class LoginPages:
    """The login page, and what its form does."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._busy = 0

    def routes(self) -> list[Route]:
        """Return the routes of logging in and out."""
        return [
            Route("/login", self.show, methods=["GET"], name="GET /login"),
            Route("/login", self.log_in, methods=["POST"], name="POST /login"),
            action_route(self._site, "/logout", log_out, log_out),
        ]

    async def show(self, request: Request) -> Response:
        """Show the page, or go on when somebody is logged in."""
        if self._site.callers.of_console(request) is not None:
            return RedirectResponse("/", 303, headers())
        return _page()

    async def log_in(self, request: Request) -> Response:
        """Check name and password; one answer for every reason against it."""
        try:
            form = await read_form(request)
            name, password = form.text("user").strip(), SecretStr(form.text("password"))
            self._may_try(request, name)
            user = await self._verified(name, password)
        except RelayError as error:
            return _page(error)
        # A login that was there before ends, and the cookie is a fresh one: nothing is fixed.
        before = request.cookies.get(COOKIE)
        if before is not None:
            self._site.logins.close(before)
        cookie, _ = self._site.logins.open(user, self._site.admin.clock())
        log.info("console_login", user=user.key, address=_address(request))
        answer = RedirectResponse("/", 303, headers())
        answer.set_cookie(COOKIE, cookie, path="/", secure=True, httponly=True, samesite="strict")
        return answer

    def _may_try(self, request: Request, name: str) -> None:
        wait = self._site.throttle.take(name, _address(request), time.monotonic())
        if wait or self._busy >= AT_ONCE:
            wait = wait or 1.0
            log.warning("console_login_limited", address=_address(request))
            raise too_many(wait, f"Too many attempts. Try again in {math.ceil(wait)} s.")

    async def _verified(self, name: str, password: SecretStr) -> User:
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
            raise StatusError(403, WRONG, code=Code.LOGIN_NEEDED)
        await admin.note_login(user.key)
        return user


async def log_out(visit: Visit) -> Response:
    """End the login here; the cookie alone would be worth something otherwise."""
    cookie = visit.request.cookies.get(COOKIE)
    if cookie is not None:
        visit.site.logins.close(cookie)
    log.info("console_logout", user=visit.logged_in.who.user)
    answer = RedirectResponse("/login", 303, headers())
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return answer


def _page(problem: RelayError | None = None) -> Response:
    answer = page(
        "console/login.html",
        200 if not isinstance(problem, StatusError) else problem.status,
        static=STATIC,
        problem=problem,
    )
    if isinstance(problem, StatusError):
        answer.headers.update(problem.headers)
    return answer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""
