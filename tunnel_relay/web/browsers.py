"""What tells a browser's own requests from those another page makes it send."""

import secrets
from collections.abc import Container

from starlette.requests import Request
from starlette.responses import Response


class BrowserCookie:
    """A cookie with a random value; `__Host-` pins it to this host, over TLS only.

    Browsers treat loopback as safe, but not all of them keep Secure cookies there: over plain http,
    which only loopback may use, the cookie goes without.
    """

    def __init__(self, name: str, *, secure: bool, same_site: str) -> None:
        self.name = f"__Host-{name}" if secure else name
        self._secure = secure
        self._same_site = same_site

    def read(self, request: Request) -> str:
        """Return the value the browser sent, or an empty string."""
        value = request.cookies.get(self.name, "")
        return value if len(value) <= 64 and value.isascii() else ""

    def fresh(self) -> str:
        """Return a new value."""
        return secrets.token_urlsafe(32)

    def set(self, response: Response, value: str) -> None:
        """Let the browser keep a value until it is closed."""
        flags = "; Path=/; HttpOnly; SameSite=" + self._same_site
        if self._secure:
            flags += "; Secure"
        response.headers.append("set-cookie", f"{self.name}={value}{flags}")

    def clear(self, response: Response) -> None:
        """Let the browser forget it."""
        flags = "; Path=/; Max-Age=0; HttpOnly; SameSite=" + self._same_site
        if self._secure:
            flags += "; Secure"
        response.headers.append("set-cookie", f"{self.name}={flags}")


def is_own_request(request: Request, origins: Container[str]) -> bool:
    """Tell whether a form was sent by a page of ours: by Origin, and by what fetch says.

    A browser names the origin with every POST; what names none is no browser, and has no cookie.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    return origin is not None and origin in origins
