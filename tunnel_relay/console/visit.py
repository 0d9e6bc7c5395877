"""One request of somebody who is logged in, and the routes that let nobody else in.

1. Without a login there is only the login page.
2. A form is believed when it shows the token of this login.
3. What a page shows and does goes through `run_command`, with the user's roles of today.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from tunnel_relay.admin.answers import StatusError, status_of
from tunnel_relay.admin.callers import Callers, LoggedIn
from tunnel_relay.admin.commands import COMMANDS, allows, run_command
from tunnel_relay.admin.logins import Logins
from tunnel_relay.admin.service import Admin
from tunnel_relay.console.forms import Form, read_form
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.events import EventRing
from tunnel_relay.store.base import Role
from tunnel_relay.web.pages import headers, page

STATIC = "/static"
MAX_RESULTS = 5
NAVIGATION = (
    ("/", "Overview", "status"),
    ("/approvals", "Approvals", "approval_list"),
    ("/passkeys", "Passkeys", "passkey_add"),
    ("/tunnels", "Tunnels", "tunnel_list"),
    ("/sessions", "Sessions", "session_list"),
    ("/users", "Users", "user_list"),
    ("/agents", "Agents", "agent_list"),
    ("/locks", "Locks", "lock_list"),
    ("/events", "Events", "status"),
    ("/audit", "Audit", "audit_query"),
)
"""Path, label, and the command that whoever may see the page may give."""

_WHOLE_PAGE = {"HX-Retarget": "#main", "HX-Reselect": "#main", "HX-Reswap": "outerHTML"}
"""What makes htmx show a refusal as a page, where it asked for a piece of one."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Site:
    """What all pages stand on."""

    admin: Admin
    events: EventRing
    logins: Logins
    callers: Callers
    anew: tuple[str, str] | None = None
    """Text and address of the way to log in once more, for who has no password here."""
    layouts: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    async def beside(self, work: Callable[[], _T]) -> _T:
        """Do what takes long, and touches nothing of ours, in a thread: one at a time."""
        return await anyio.to_thread.run_sync(work, limiter=self.layouts)


@dataclass(slots=True)
class Visit:
    """One request; `problem` is why what was asked for by a form was not done."""

    site: Site
    request: Request
    logged_in: LoggedIn
    form: Form = field(default_factory=Form)
    problem: RelayError | None = None

    @property
    def roles(self) -> frozenset[Role]:
        """What the user may do now."""
        return self.logged_in.who.roles

    @property
    def by_htmx(self) -> bool:
        """Whether a piece of the page is wanted, not the whole."""
        return "hx-request" in self.request.headers

    @property
    def needs_proof(self) -> bool:
        """Whether the user has to prove who they are before they decide or give."""
        return not self.logged_in.who.fresh

    @property
    def has_password(self) -> bool:
        """Whether the user has a password here; others log in anew at their provider."""
        user = self.site.admin.directory.users.get(self.logged_in.login.user)
        return user is not None and user.password is not None

    def may(self, command: str) -> bool:
        """Tell whether the user may give a command."""
        return allows(self.roles, COMMANDS[command])

    def query(self, name: str) -> str:
        """Return what the address says under a name, or nothing."""
        return self.request.query_params.get(name, "")

    async def run(self, command: str, **arguments: Any) -> Any:
        """Give a command as the user; raises RelayError."""
        return await run_command(self.site.admin, command, arguments, self.logged_in.who)

    def tell(self, text: str, kind: str = "good") -> None:
        """Let the next page say what became of this."""
        results = self.logged_in.login.results
        results.append((kind, text))
        del results[:-MAX_RESULTS]

    def tell_stored(self, result: dict[str, Any]) -> None:
        """Say it where a change holds in memory and the database refused it."""
        if not result.get("stored", True):
            code = "MT1013" if result["journalled"] else "MT1071: a restart would forget it"
            self.tell(f"Enforced, not yet stored: the database refuses ({code}).", "warn")

    def go(self, path: str) -> Response:
        """Send the browser on, so that reloading does nothing twice."""
        return RedirectResponse(path, 303, headers())

    def show(self, template: str, **values: Any) -> Response:
        """Return a page, with what is to be told."""
        return self.piece(template, results=self._told(), **values)

    async def show_much(self, template: str, **values: Any) -> Response:
        """Return a page with much on it; it is rendered beside the loop."""
        render = self._page(template, results=self._told(), **values)
        return self._for_htmx(await self.site.beside(render))

    def piece(self, template: str, **values: Any) -> Response:
        """Return a piece of a page; what is to be told waits for a whole one."""
        return self._for_htmx(self._page(template, **values)())

    async def piece_much(self, template: str, **values: Any) -> Response:
        """Return a piece with much on it; it is rendered beside the loop."""
        return self._for_htmx(await self.site.beside(self._page(template, **values)))

    def _told(self) -> list[tuple[str, str]]:
        results, self.logged_in.login.results = self.logged_in.login.results, []
        return results

    def _page(self, template: str, **values: Any) -> Callable[[], Response]:
        # All that may change meanwhile is looked at now; to render reads values only.
        return partial(
            page,
            f"console/{template}",
            200 if self.problem is None else status_of(self.problem),
            static=STATIC,
            user=self.logged_in.who.user,
            csrf=self.logged_in.login.csrf,
            navigation=[entry for entry in NAVIGATION if self.may(entry[2])],
            path=self.request.url.path,
            waiting=self.site.admin.approvals.waiting_for(self.logged_in.who.user),
            may=self.may,
            problem=self.problem,
            form=self.form,
            by_htmx=self.by_htmx,
            prove=self.needs_proof,
            password=self.has_password,
            anew=self.site.anew,
            **values,
        )

    def _for_htmx(self, answer: Response) -> Response:
        if self.by_htmx and self.problem is not None:
            answer.headers.update(_WHOLE_PAGE)
        return answer


View = Callable[[Visit], Awaitable[Response]]


def view_route(site: Site, path: str, view: View, *, live: bool = False) -> Route:
    """Return the route of a page; a `live` one refreshes itself, which is no use of a login."""

    async def answer(request: Request) -> Response:
        logged_in = site.callers.of_console(request, use=not live)
        if logged_in is None:
            return to_login(request)
        return await _or_refusal(Visit(site, request, logged_in), view)

    return Route(path, answer, methods=["GET"], name=f"GET {path}")


def action_route(site: Site, path: str, action: View, back: View) -> Route:
    """Return the route of a form; when it is refused, the page `back` says why."""

    async def answer(request: Request) -> Response:
        logged_in = site.callers.of_console(request)
        if logged_in is None:
            return to_login(request)
        visit = Visit(site, request, logged_in)
        try:
            visit.form = await read_form(request)
            check_csrf(visit)
            return await action(visit)
        except RelayError as error:
            visit.problem = error
        if isinstance(visit.problem, StatusError) or visit.problem.code is Code.FOREIGN_PAGE:
            return await _refused(visit)
        refused = visit.problem
        answer = await _or_refusal(visit, back)
        if visit.problem is not refused:  # not even the page it came from can be shown
            visit.problem = refused
            answer = await _refused(visit)
        return answer

    return Route(path, answer, methods=["POST"], name=f"POST {path}")


def check_csrf(visit: Visit) -> None:
    """Refuse a form that is not of a page we gave to this login."""
    if not visit.logged_in.login.is_from_our_page(visit.form.text("csrf")):
        raise RelayError(Code.FOREIGN_PAGE, "the form is not of this login; load the page again")


def to_login(request: Request) -> Response:
    """Send somebody who is not logged in to the login page; a piece of a page cannot go there."""
    if "hx-request" in request.headers:
        return Response(status_code=401, headers={**headers(), "HX-Redirect": "/login"})
    return RedirectResponse("/login", 303, headers())


async def _or_refusal(visit: Visit, view: View) -> Response:
    try:
        return await view(visit)
    except RelayError as error:
        visit.problem = error
        return await _refused(visit)


async def _refused(visit: Visit) -> Response:
    return visit.show("refused.html")
