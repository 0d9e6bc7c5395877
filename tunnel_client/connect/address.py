"""Addresses of an MCP server and of its login: which may be called, and which may be opened."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from tunnel_client.errors_connect import BadServerUrlError
from tunnel_client.relay_url import is_loopback

MAX_URL = 2048
_PORTS = {"https": 443, "http": 80}
# What RFC 3986 allows, but for the characters that mean something to a shell or a script: such an
# address may end in the argument of a program that opens a browser (CVE-2025-6514).
_HARMLESS = re.compile(r"[A-Za-z0-9._~:/?\[\]@!&+,;=%-]+")


@dataclass(frozen=True, slots=True)
class WebUrl:
    """An http(s) address, written one way: `text` is the whole, `origin` its beginning.

    `host` is in lower case and without brackets; `path` and `query` are as they came.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @classmethod
    def parse(cls, text: str) -> "WebUrl":
        """Read an https address, or an http one on loopback; raises BadServerUrlError."""
        if len(text) > MAX_URL or not _HARMLESS.fullmatch(text):
            raise BadServerUrlError("the address holds characters that no such address needs")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError:
            raise BadServerUrlError("this is not a URL with a host and a port") from None
        host = parts.hostname or ""
        if parts.scheme not in _PORTS or not host or port == 0:
            raise BadServerUrlError("an address starts with https:// and a host")
        if "@" in parts.netloc:
            raise BadServerUrlError("an address holds no user or password")
        if parts.scheme == "http" and not is_loopback(host):
            raise BadServerUrlError("http:// is for this machine only; use https://")
        return cls(parts.scheme, host, port or _PORTS[parts.scheme], parts.path, parts.query)

    @property
    def origin(self) -> str:
        """Scheme, host and port; the default port is left out (RFC 6454 section 6.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def text(self) -> str:
        """The whole address."""
        return self.origin + self.path + (f"?{self.query}" if self.query else "")

    @property
    def is_local(self) -> bool:
        """Tell whether it is on this machine."""
        return is_loopback(self.host)


def reachable_from(text: str, server: WebUrl) -> WebUrl:
    """Read an address that a server names; raises BadServerUrlError.

    A server elsewhere must not make us call what listens on this machine.
    """
    url = WebUrl.parse(text)
    if url.is_local and not server.is_local:
        raise BadServerUrlError("a server elsewhere may not point at this machine")
    return url
