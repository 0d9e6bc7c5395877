"""Who sends a request to the admin listener: a token's user, or a login's, with today's roles."""

from dataclasses import dataclass, replace

import structlog
from starlette.requests import Request

from shared.ids import SESSION_PREFIX
from tunnel_relay.admin.answers import StatusError
from tunnel_relay.admin.commands import DECISIONS, Who
from tunnel_relay.admin.logins import COOKIE, Login, Logins
from tunnel_relay.admin.service import Admin
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.store.base import LockKind, Role

CSRF_HEADER = "x-csrf-token"
CONSOLE_ROLES = frozenset((Role.AUDITOR, Role.APPROVER, Role.ADMIN))
"""Who may log in to the console."""

log = structlog.get_logger("tunnel_relay.admin")


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A login of the console and who it makes the caller."""

    login: Login
    who: Who


class Callers:
    """Tells who sends a request; nothing is remembered between two of them but the login."""

    def __init__(self, admin: Admin, logins: Logins) -> None:
        self._admin = admin
        self._logins = logins

    def of_api(self, request: Request, command: str = "") -> Who:
        """Return who gives a command; raises StatusError 401, and 403 without the page's token."""
        if command in DECISIONS and _is_of_agent(request):
            log.warning("agent_token_refused", code=Code.AGENT_TOKEN, command=command)
            raise RelayError(Code.AGENT_TOKEN, "agents decide nothing")
        if "authorization" in request.headers:
            found = self._by_token(request.headers.getlist("authorization"))
            if found is not None:
                return found
        else:
            logged_in = self.of_console(request)
            if logged_in is not None:
                shown = request.headers.get(CSRF_HEADER, "")
                if request.method != "GET" and not logged_in.login.is_from_our_page(shown):
                    raise RelayError(Code.FOREIGN_PAGE, f"{CSRF_HEADER} is missing or wrong")
                return logged_in.who
        raise StatusError(
            401,
            "log in to the console, or send an admin token",
            code=Code.LOGIN_NEEDED,
            headers={"WWW-Authenticate": "Bearer"},
        )

    def of_console(self, request: Request, *, use: bool = True) -> LoggedIn | None:
        """Return the login of a browser's cookie, if its user may still have one."""
        cookie = request.cookies.get(COOKIE)
        login = self._logins.find(cookie, self._admin.clock(), use=use) if cookie else None
        if login is None or cookie is None:
            return None
        who = self.who(login.user)
        user = self._admin.directory.users.get(login.user)
        # None for both: a user of another issuer, who logged in there.
        times_off = self._admin.directory.times_off[login.user]
        changed = user is None or (user.password, times_off) != (login.password, login.times_off)
        if who is None or changed or not who.roles & CONSOLE_ROLES:
            self._logins.close(cookie)
            return None
        return LoggedIn(login, replace(who, fresh=login.is_fresh(self._admin.clock())))

    def who(self, key: str) -> Who | None:
        """Return a user as the one who acts, None when disabled, locked or unknown."""
        user = self._admin.directory.active_user(key)
        if user is None or self._admin.locks.holds(LockKind.USER, key, self._admin.clock()):
            return None
        return Who(key, frozenset(user.roles) | {Role.USER})

    def _by_token(self, headers: list[str]) -> Who | None:
        scheme, _, token = headers[0].partition(" ")
        if len(headers) != 1 or scheme.lower() != "bearer":
            return None
        found = self._admin.admin_tokens.find(token.strip(), self._admin.clock())
        return None if found is None else self.who(found.user)


def _is_of_agent(request: Request) -> bool:
    """Tell whether a session's token is shown, by its looks: good or not, it is an agent's."""
    shown = request.headers.getlist("authorization")
    return any(each.partition(" ")[2].strip().startswith(SESSION_PREFIX) for each in shown)
