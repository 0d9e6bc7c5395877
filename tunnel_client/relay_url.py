"""The relay's address as configured: parsed once, checked once, written one way."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"wss": 443, "ws": 80}
_MAX_HOST = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


class BadRelayUrlError(ValueError):
    """A relay address that must not be dialled."""


def is_loopback(host: str) -> bool:
    """Tell whether `host` (no brackets) is this machine by name or address (RFC 6761, 6890)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class RelayUrl:
    """Where the relay is; `host` is in lower case and without brackets."""

    secure: bool
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "RelayUrl":
        """Read `wss://host[:port]`, or `ws://` for loopback; raises BadRelayUrlError."""
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise BadRelayUrlError("not a URL with a host and a port") from error
        host = parts.hostname or ""
        if parts.scheme not in _DEFAULT_PORTS:
            raise BadRelayUrlError("a relay's URL starts with wss://")
        if parts.username is not None or parts.password is not None:
            raise BadRelayUrlError("a relay's URL holds no user or password")
        if not _is_host(host) or port == 0:
            raise BadRelayUrlError("a relay's URL names a host")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise BadRelayUrlError("a relay's URL ends after the host and the port")
        if parts.scheme == "ws" and not is_loopback(host):
            raise BadRelayUrlError("ws:// is for loopback only; use wss://")
        return cls(parts.scheme == "wss", host, port or _DEFAULT_PORTS[parts.scheme])

    @property
    def scheme(self) -> str:
        """`wss` or `ws`."""
        return "wss" if self.secure else "ws"

    @property
    def authority(self) -> str:
        """Host and port for the Host header; the default port is left out (RFC 9110 7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """What both ends sign as the relay's name: `wss://host[:port]`."""
        return f"{self.scheme}://{self.authority}"


def _is_host(host: str) -> bool:
    if not host or len(host) > _MAX_HOST:
        return False
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).scope_id is None
        except ValueError:
            return False
    return all(_LABEL.fullmatch(label) for label in host.removesuffix(".").split("."))
