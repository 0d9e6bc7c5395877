"""Where an HTTP upstream is: fixed by configuration, never by a request."""

import ipaddress
import re
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from shared.wire.limits import KIB, MAX_HEAD_FIELDS
from tunnel_client.upstream.egress import Egress
from tunnel_client.upstream.trust import trusting

_VISIBLE = re.compile(r"[!-~]+")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
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
    idle_seconds: float = 5.0
    """Then it is closed, as it would not be used again: each burst of calls would leave its own."""
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
    egress: Egress = field(default_factory=Egress)


def target_from(
    url: str,
    ca_file: Path | None = None,
    *,
    limits: HttpLimits | None = None,
    egress: Egress | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> HttpTarget:
    """Read `http://`, `https://` or `unix:/path.sock:/path`; raises BadTargetError.

    `ca_file` (PEM) replaces the system's trusted authorities and is for https only. A certificate
    is always verified, its host name included; there is no way to turn that off. `certificate` is
    our own and its key, two files, shown to this upstream only.
    """
    if _VISIBLE.fullmatch(url) is None:
        raise BadTargetError("an upstream's URL is visible ASCII without spaces")
    limits = limits or HttpLimits()
    if (ca_file or certificate) is not None and not url.startswith("https:"):
        raise BadTargetError("a CA file and a client certificate are for https upstreams only")
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
        tls=_context(ca_file, certificate) if parts.scheme == "https" else None,
        limits=limits,
        egress=egress or Egress(),
    )


def origin_of(url: str) -> str:
    """Return where a URL leads: `scheme://host:port`, or `unix:/path.sock`; raises BadTargetError.

    The same for every spelling of one origin.
    """
    if url.startswith(_UNIX):
        rest = url.removeprefix(_UNIX)
        return _UNIX + str(_unix_target(rest if ":/" in rest else f"{rest}:/", HttpLimits()).unix)
    scheme = url.partition(":")[0]
    # As http, so that no trust store is loaded just to look at a URL.
    target = target_from(f"http:{url.partition(':')[2]}")
    host = f"[{target.host}]" if ":" in target.host else target.host
    port = urlsplit(url).port or _PORTS.get(scheme, 0)
    return f"{scheme}://{host}:{port}"


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
        address = ipaddress.ip_address(host)
    except ValueError:
        _check_name(host)
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None or str(address) != host:
        raise BadTargetError(f"an address is written in one way only: {mapped or address}")
    if address.is_unspecified or address.is_multicast:
        raise BadTargetError("an upstream's URL names one machine")
    return host


def _check_name(host: str) -> None:
    if host.endswith("."):
        raise BadTargetError("a host's name ends without a dot")
    if _HOST.fullmatch(host) is None:
        raise BadTargetError("an upstream's URL names a host or an IP address")
    # What inet_aton reads as an address (127.1, 0x7f000001, 2130706433) would be looked up as one.
    if re.fullmatch(r"0x[0-9a-f]*|[0-9]+", host.rpartition(".")[2]):
        try:
            meant = f": {socket.inet_ntoa(socket.inet_aton(host))}"
        except OSError:
            meant = ""
        raise BadTargetError(f"an address is written in one way only{meant}")


def _path(parts: SplitResult) -> str:
    path = parts.path or "/"
    return f"{path}?{parts.query}" if parts.query else path


def _context(ca_file: Path | None, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    try:
        context = trusting(ca_file)
    except (OSError, ssl.SSLError) as error:
        raise BadTargetError(f"cannot read the CA file: {_reason(error, 'certificate')}") from None
    if certificate is not None:
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(*certificate, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            reason = _reason(error, "matching certificate and key")
            raise BadTargetError(f"cannot read the client certificate: {reason}") from None
    context.set_alpn_protocols(["http/1.1"])
    return context


def _reason(error: Exception, wanted: str) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return error.strerror or "not readable"
    return f"no {wanted} in it"
