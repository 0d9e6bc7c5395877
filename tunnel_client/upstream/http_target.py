"""Where an HTTP upstream is: fixed by configuration, never by a request."""

import ipaddress
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from shared.wire.limits import KIB, MAX_HEAD_FIELDS

_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_UNIX = "unix:"
_MAX_SOCKET_PATH_BYTES = 107
"""`sun_path` of Linux holds 108 bytes, the last of them NUL (unix(7))."""
_PORTS = {"http": 80, "https": 443}


class BadTargetError(ValueError):
    """An upstream's URL or CA file cannot be used; the message never repeats the URL."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one upstream's connection pool. Seconds are counted by the sweep."""

    connections: int = 4096
    """Each event stream an agent keeps open holds one."""
    waiting: int = 1024
    """Exchanges that wait for a connection; more are refused."""
    waiting_seconds: float = 30.0
    connect_seconds: float = 10.0
    """TCP connect and TLS handshake together."""
    head_seconds: float = 300.0
    """From the request until the response's headers are complete."""
    silence_seconds: float = 300.0
    """Between two pieces of a body; event streams may be silent for ever."""
    fresh_seconds: float = 4.0
    """A connection idle for longer is not used while a new one may be dialled: servers commonly
    close at 5 s (uvicorn, Node.js), and a request written into that close is lost."""
    idle_seconds: float = 60.0
    head_bytes: int = 32 * KIB
    head_fields: int = MAX_HEAD_FIELDS
    stray_bytes: int = 64 * KIB
    """Chunk extensions and trailers taken in a row without one byte of body."""
    mcp_sessions: int = 10_000
    mcp_session_seconds: float = 1800.0
    """An MCP session is forgotten when unused for so long and no exchange of it is open."""
    farewell_seconds: float = 10.0
    """For a DELETE of the client's own, whatever the upstream does."""
    sweep_seconds: float = 1.0
    """How often deadlines are looked at, and so how coarse they are."""


@dataclass(frozen=True, slots=True)
class HttpTarget:
    """One upstream's address; `unix` (a socket path) goes before `host` and `port`."""

    host: str
    port: int
    path: str
    """Request target: absolute path and query (RFC 9112 section 3.2.1)."""
    authority: str
    """What the Host header says (RFC 9110 section 7.2)."""
    tls: ssl.SSLContext | None = None
    unix: str | None = None
    limits: HttpLimits = field(default_factory=HttpLimits)


def target_from(
    url: str, ca_file: Path | None = None, *, limits: HttpLimits | None = None
) -> HttpTarget:
    """Read `http://`, `https://` or `unix:/path.sock:/path`; raises BadTargetError.

    `ca_file` (PEM) replaces the system's trusted authorities and is for https only. A certificate
    is always verified, its host name included; there is no way to turn that off.
    """
    if _VISIBLE.fullmatch(url) is None:
        raise BadTargetError("an upstream's URL is visible ASCII without spaces")
    limits = limits or HttpLimits()
    if ca_file is not None and not url.startswith("https:"):
        raise BadTargetError("a CA file is for https upstreams only")
    if url.startswith(_UNIX):
        return _unix_target(url.removeprefix(_UNIX), limits)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadTargetError("not a URL") from None
    if parts.scheme not in _PORTS:
        raise BadTargetError("an upstream's URL starts with http://, https:// or unix:/")
    if parts.username is not None or parts.password is not None:
        raise BadTargetError("an upstream's URL holds no user name or password")
    if parts.fragment:
        raise BadTargetError("an upstream's URL has no fragment")
    host = _host(parts)
    # A zone is ours alone and does not travel (RFC 6874 section 3).
    authority = f"[{host.partition('%')[0]}]" if ":" in host else host
    if port is not None and port != _PORTS[parts.scheme]:
        authority = f"{authority}:{port}"
    return HttpTarget(
        host=host,
        port=_PORTS[parts.scheme] if port is None else port,
        path=_path(parts),
        authority=authority,
        tls=_context(ca_file) if parts.scheme == "https" else None,
        limits=limits,
    )


def _unix_target(rest: str, limits: HttpLimits) -> HttpTarget:
    socket_path, separator, path = rest.partition(":/")
    if not separator or not socket_path.startswith("/"):
        raise BadTargetError("a Unix socket is written unix:/path.sock:/path")
    if len(socket_path) > _MAX_SOCKET_PATH_BYTES:
        raise BadTargetError(f"a socket's path has at most {_MAX_SOCKET_PATH_BYTES} bytes")
    if "#" in path:
        raise BadTargetError("an upstream's URL has no fragment")
    return HttpTarget(
        host="", port=0, path="/" + path, authority="localhost", unix=socket_path, limits=limits
    )


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        if _HOST.fullmatch(host) is None:
            raise BadTargetError("an upstream's URL names a host or an IP address") from None
    return host


def _path(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else "no certificate in it"
        raise BadTargetError(f"cannot read the CA file: {reason}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
