"""The request an HTTP upstream gets: what is dropped, what is set, what is refused.

The gate and the relay have filtered already; this is the last hop, and it trusts neither.
"""

import re
from collections.abc import Iterable

from shared.errors import PeerError
from tunnel_client.upstream.base import Headers, UpstreamRequest
from tunnel_client.upstream.http_target import HttpTarget

METHODS = frozenset({"POST", "GET", "DELETE"})
"""What MCP's Streamable HTTP uses; HEAD and CONNECT would change how a response is framed."""

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110 section 5.6.2."""
_FIELD_BYTES = bytes(b for b in range(256) if (b >= 0x20 and b != 0x7F) or b == 0x09)
"""RFC 9110 section 5.5: visible, space, tab and obs-text; no other control character."""
_CRLF = b"\r\n"

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 section 7.6.1, and `HTTP2-Settings` of RFC 7540."""

_DROPPED = HOP_BY_HOP | {
    # An answer in part, in another charset or as a difference is not searched for what it holds.
    *(b"accept-charset", b"accept-encoding", b"range", b"if-range", b"a-im"),
    b"api-key",
    b"authorization",
    b"baggage",
    b"content-length",
    b"cookie",
    b"cookie2",
    b"expect",
    b"forwarded",
    b"host",
    b"mcp-session-id",
    b"origin",
    b"tracestate",
    b"x-api-key",
    b"x-auth-token",
    b"x-real-ip",
    # What would say who calls, or which other path, host or method is meant: our relay drops these
    # too, but one in other hands could have our credential do something else at the upstream.
    *(b"referer", b"remote-user", b"via", b"x-remote-user", b"x-user", b"x-host"),
    *(b"x-method-override", b"x-http-method", b"x-http-method-override"),
}
_DROPPED_PREFIXES = (
    *(b"proxy-", b"x-forwarded-", b"x-upstream-", b"x-mcp-tunnel-", b"sec-"),
    *(b"x-original-", b"x-rewrite-"),
)
NEVER_INJECTED = HOP_BY_HOP | {
    *(b"content-length", b"host", b"mcp-session-id", b"accept-encoding", b"content-encoding"),
    *(b"content-type", b"origin", b"expect"),
}
"""What a credential's header cannot be called: it would change how a request is read."""
_DROP: None = None
_CONNECTION = b""
_MAX_NAMES = 1024
_MAX_HEADS = 256
_MAX_NAME_BYTES = 256


class BadHeaderError(PeerError):
    """A header cannot be sent as it is; the message never repeats it."""


class BadInjectionError(BadHeaderError):
    """A header the client itself wanted to add cannot be sent."""


class _Names(dict[bytes, bytes | None]):
    """A bounded memory of names: the start of the line to send, or None for a dropped one."""

    def __missing__(self, name: bytes) -> bytes | None:
        if len(name) > _MAX_NAME_BYTES or TOKEN.fullmatch(name) is None:
            raise BadHeaderError("a header name is not a token")
        lower = name.lower()
        # CGI-like servers read `X_Forwarded_For` as `X-Forwarded-For`; so we drop both.
        canonical = lower.replace(b"_", b"-")
        line: bytes | None
        if lower == b"connection":
            line = _CONNECTION
        elif canonical in _DROPPED or canonical.startswith(_DROPPED_PREFIXES):
            line = _DROP
        else:
            line = lower + b": "
        # Agents choose names (Mcp-Param-*), so the memory starts anew instead of growing.
        if len(self) >= _MAX_NAMES:
            self.clear()
        self[name] = line
        return line


class RequestEncoder:
    """Writes request heads for one target."""

    def __init__(self, target: HttpTarget) -> None:
        self._names = _Names()
        self._known: dict[int, tuple[Headers, bytes]] = {}
        self._ours: _Injected | None = None
        self._beside: dict[int, tuple[Headers, tuple[bytes, ...], bytes]] = {}
        self._starts = {
            method: (
                f"{method} {target.path} HTTP/1.1\r\n"
                f"Host: {target.authority}\r\nAccept-Encoding: identity\r\n"
            ).encode("ascii")
            for method in METHODS
        }

    def encode(
        self, request: UpstreamRequest, mcp_session: bytes | None, injected: Headers
    ) -> bytes:
        """Return the head up to the empty line; raises BadHeaderError, BadInjectionError.

        `mcp_session` is the upstream's own MCP session id. `injected` takes the place of every
        header of the same name. `request.method` must be one of METHODS.
        """
        start = self._starts[request.method]
        if injected:
            ours = self._ours
            if ours is None or ours[0] is not injected:
                ours = self._ours = _prepared(injected)
            # Last, after all the agent said, and with no field of the same name before it.
            agents = self._lines_beside(request.headers, ours[1]) + ours[2]
        else:
            agents = self._known_lines(request.headers)
        if mcp_session is not None:
            if mcp_session.translate(None, _FIELD_BYTES):
                raise BadHeaderError("an MCP session id holds a control character")
            agents += b"Mcp-Session-Id: %b\r\n" % mcp_session
        if request.body or request.method == "POST":
            return b"%b%bContent-Length: %d\r\n\r\n" % (start, agents, len(request.body))
        return start + agents + _CRLF

    def _known_lines(self, headers: Headers) -> bytes:
        """Return the lines of a head; the bridge keeps the heads that agents repeat."""
        known = self._known.get(id(headers))
        if known is not None and known[0] is headers:
            return known[1]
        lines = self._lines(headers)
        if len(self._known) >= _MAX_HEADS:
            self._known.clear()
        self._known[id(headers)] = headers, lines  # the reference keeps the id from being reused
        return lines

    def _lines_beside(self, headers: Headers, names: tuple[bytes, ...]) -> bytes:
        """Return the lines of a head less fields of these names; no injected value is in them."""
        known = self._beside.get(id(headers))
        if known is not None and known[0] is headers and known[1] == names:
            return known[2]
        ours = {_canonical(name) for name in names}
        lines = self._lines([pair for pair in headers if _canonical(pair[0]) not in ours])
        if len(self._beside) >= _MAX_HEADS:
            self._beside.clear()
        self._beside[id(headers)] = headers, names, lines
        return lines

    def _lines(self, headers: Headers) -> bytes:
        """Write the agent's fields; raises BadHeaderError."""
        names = self._names
        lines = []
        for name, value in headers:
            start = names[name]
            if start:
                lines.append(start + value)
            elif start is not None:
                return self._lines(_without_named(headers))
        lines.append(b"")
        fields = _CRLF.join(lines)
        # One pass for all values: beside our own line ends nothing may be left but field bytes.
        if fields.translate(None, _FIELD_BYTES) != _CRLF * (len(lines) - 1):
            raise BadHeaderError("a header value holds a control character")
        return fields


_Injected = tuple[Headers, tuple[bytes, ...], bytes]


def _prepared(injected: Headers) -> _Injected:
    """Return what is injected with its names and its lines; raises BadInjectionError."""
    for name, value in injected:
        if TOKEN.fullmatch(name) is None or name.lower() in NEVER_INJECTED:
            raise BadInjectionError("an injected header has a name that cannot be injected")
        if value.translate(None, _FIELD_BYTES):
            raise BadInjectionError("an injected header holds a control character")
    lines = b"".join(b"%b: %b\r\n" % pair for pair in injected)
    return injected, tuple(name for name, _ in injected), lines


def _canonical(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _without_named(headers: Headers) -> Headers:
    """Drop Connection and every header it names (RFC 9110 section 7.6.1)."""
    named = named_by_connection(value for name, value in headers if name.lower() == b"connection")
    named.add(b"connection")
    return [pair for pair in headers if pair[0].lower() not in named]


def named_by_connection(values: Iterable[bytes]) -> set[bytes]:
    """Return the lower-case names that Connection header values list."""
    return {option.strip().lower() for value in values for option in value.split(b",")}
