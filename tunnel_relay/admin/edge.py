"""The admin listener's first look at a request: host, origin, and what every answer carries.

1. `Host` must name the console (421): a page that rebinds its name to loopback is turned away.
2. Browsers say where a request comes from (`Sec-Fetch-Site`): nothing from another page passes but
   following a link, and links change nothing (403).
3. What may change something comes from the console's own origin, or carries a token (403).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunnel_relay.admin.answers import StatusError, problem
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.setting_types import is_anywhere, is_loopback
from tunnel_relay.settings import AdminListen

API = "/v1/"
LOOPBACK_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
SAFE_METHODS = frozenset(("GET", "HEAD"))

_ALWAYS = {
    # Not no-referrer: browsers would send `Origin: null` with the console's own forms.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_UNLESS_SET = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


@dataclass(frozen=True, slots=True)
class AdminEdge:
    """Under which names the listener is reached."""

    origins: Mapping[str, str]
    """What may stand in `Host` -> the origin of the pages there."""
    loopback: str | None = field(default=None)
    """The scheme under which any port of loopback is ours too (ssh forwards ports); None: not."""

    def origin(self, host: str) -> str | None:
        """Return the origin of the pages under this `Host`, None when it is not ours."""
        host = host.lower()
        found = self.origins.get(host)
        if found is None and self.loopback is not None:
            name, colon, port = host.rpartition(":")
            if not colon or host.endswith("]"):
                name, port = host, "0"
            if name in LOOPBACK_NAMES and port.isascii() and port.isdigit():
                return f"{self.loopback}://{host}"
        return found


def edge_of(settings: AdminListen) -> AdminEdge:
    """Return under which names the configured listener is reached."""
    scheme = "http" if settings.tls is None else "https"
    origins: dict[str, str] = {}
    if not is_anywhere(settings.host):
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        origins |= _under(f"{scheme}://{shown}:{settings.port}")
    if settings.public_url is not None:
        origins |= _under(settings.public_url)
    return AdminEdge(origins, scheme if is_loopback(settings.host) else None)


def _under(origin: str) -> dict[str, str]:
    """Return the origin by what browsers write into `Host`: without the default port, or with."""
    scheme, _, authority = origin.partition("://")
    default = ":443" if scheme == "https" else ":80"
    name = authority.removesuffix(default)
    plain = f"{scheme}://{name}"
    has_port = ":" in name.rpartition("]")[2]
    return {name: plain} if has_port else {name: plain, name + default: plain}


class Guard:
    """ASGI: lets through what may come in, and dresses what goes out."""

    def __init__(self, app: ASGIApp, edge: AdminEdge) -> None:
        self._app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_ALWAYS)
                for name, value in _UNLESS_SET.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = refusal(self._edge, scope["method"], scope["path"], Headers(scope=scope))
        app = self._app if refused is None else _answer(refused, scope["path"])
        await app(scope, receive, dressed)


def refusal(edge: AdminEdge, method: str, path: str, headers: Headers) -> RelayError | None:
    """Return why a request may not come in, None when it may."""
    hosts = headers.getlist("host")
    ours = edge.origin(hosts[0]) if len(hosts) == 1 else None
    if ours is None:
        return StatusError(421, "this is not the console's host name", code=Code.FOREIGN_PAGE)
    site = headers.get("sec-fetch-site", "none")
    follows_link = method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
    if site not in ("none", "same-origin") and not follows_link:
        return RelayError(Code.FOREIGN_PAGE, "the request comes from another page")
    origins = headers.getlist("origin")
    if origins and [origin.lower() for origin in origins] != [ours]:
        return RelayError(Code.FOREIGN_PAGE, "the request comes from another origin")
    # A browser always names the origin of what may change something. Scripts do not, but they
    # show a token, and no cookie.
    scripted = "cookie" not in headers and path.startswith(API)
    if not origins and method not in SAFE_METHODS and not scripted:
        return RelayError(Code.FOREIGN_PAGE, "the request does not say from which origin it comes")
    return None


def _answer(error: RelayError, path: str) -> Response:
    if path.startswith(API):
        return problem(error)
    text = f"{error.code}: {error.message}\n  next: {error.explained.next}\n"
    status = error.status if isinstance(error, StatusError) else 403
    return PlainTextResponse(text, status)
