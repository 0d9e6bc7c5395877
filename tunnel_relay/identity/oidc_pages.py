"""The two addresses of a login at an OpenID provider: where it begins, and where it comes back.

Whose login it is for is somebody else's matter: `accepts` says whether a request waits for one, and
`logged_in` goes on with it; `asks` says what else the provider is asked for. What is waited for is
an opaque name, never an address.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from shared.audit.events import note
from tunnel_relay.identity.oidc import Back, LoginError, OidcClient
from tunnel_relay.identity.requests import RequestError, single
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.web.browsers import BrowserCookie
from tunnel_relay.web.pages import page

PER_ADDRESS = 1.0, 30
"""(a second, at once) logins begun, or come back."""

log = structlog.get_logger("tunnel_relay.oidc")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the pages are: `origin` as browsers see it, `prefix` of their paths, static files."""

    origin: str
    prefix: str
    static: str


class OidcPages:
    """The routes on one listener."""

    def __init__(
        self,
        client: OidcClient,
        place: Place,
        accepts: Callable[[Request, str], bool],
        logged_in: Callable[[Back, Request], Awaitable[Response]],
        clock: Callable[[], float] = time.monotonic,
        asks: Callable[[str], Mapping[str, str]] = lambda _: {},
    ) -> None:
        self._client = client
        self._place = place
        self._accepts = accepts
        self._logged_in = logged_in
        self._asks = asks
        self._clock = clock
        self._limit = RateLimit(*PER_ADDRESS)
        secure = place.origin.startswith("https:")
        # Lax: the way back from the provider is another site's link.
        self._cookie = BrowserCookie("mcp-oidc", secure=secure, same_site="Lax")

    @property
    def routes(self) -> list[Route]:
        """The routes of these pages."""
        start, callback = f"{self._place.prefix}/start", f"{self._place.prefix}/callback"
        return [
            Route(start, self.start, methods=["GET"], name=f"GET {start}"),
            Route(callback, self.callback, methods=["GET"], name=f"GET {callback}"),
        ]

    def link(self, then: str) -> tuple[str, str]:
        """Return text and address of the button; `then` is what waits for the login."""
        return f"Log in with {self._client.name}", f"{self._place.prefix}/start?next={then}"

    async def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        try:
            self._take(request)
            then = _sent(request).get("next", "")
            if not self._accepts(request, then):
                raise LoginError("This login is over. Start again.", "nothing waits for it")
            browser = self._cookie.read(request) or self._cookie.fresh()
            back = f"{self._place.origin}{self._place.prefix}/callback"
            source = address_key(_address(request))
            answer = _redirect(self._client.begin(browser, then, back, source, self._asks(then)))
        except LoginError as error:
            return self._problem(error)
        self._cookie.set(answer, browser)
        return answer

    async def callback(self, request: Request) -> Response:
        """Take in what the provider sent the browser back with."""
        try:
            self._take(request)
            back = await self._client.finish(_sent(request), self._cookie.read(request))
        except LoginError as error:
            kind = "login.throttled" if error.status == 429 else "login.failed"
            note(kind, who={"user": None}, at="oidc", source=_address(request), reason=str(error))
            return self._problem(error)
        return await self._logged_in(back, request)

    def _take(self, request: Request) -> None:
        wait = self._limit.take(address_key(_address(request)), self._clock())
        if wait:
            raise LoginError("Too many logins. Try again soon.", f"wait {math.ceil(wait)} s", 429)

    def _problem(self, error: LoginError) -> Response:
        log.warning("oidc_login_refused", reason=str(error))
        answer = page(
            "oauth_problem.html", error.status, static=self._place.static, text=error.text
        )
        if error.status in (429, 503):
            answer.headers["Retry-After"] = "5"
        return answer


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _sent(request: Request) -> dict[str, str]:
    """Return the parameters, each of which is there once; raises LoginError."""
    try:
        return single(parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=20))
    except (RequestError, ValueError):
        raise LoginError("The request is malformed.", "malformed") from None


def _redirect(address: str) -> Response:
    return RedirectResponse(
        address, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )
