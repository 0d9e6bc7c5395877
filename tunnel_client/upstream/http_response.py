"""Reads HTTP/1.1 responses off one connection: bytes in, a head and body pieces out; no I/O."""

import httptools

from shared.errors import PeerError
from shared.jsonrpc.media import means_itself
from shared.repeated import RepeatedHead
from shared.wire.limits import MAX_INLINE_BYTES
from tunnel_client.upstream.base import Headers
from tunnel_client.upstream.http_request import HOP_BY_HOP, named_by_connection
from tunnel_client.upstream.http_target import HttpLimits

_DROPPED = HOP_BY_HOP | {
    # The relay's own server writes these two.
    b"date",
    b"server",
    # About credentials and cookies that only the client holds.
    b"authentication-info",
    b"set-cookie",
    b"set-cookie2",
    b"www-authenticate",
    # Private addresses, or an invitation to go elsewhere.
    b"alt-svc",
    b"content-location",
    b"location",
    b"refresh",
    # Carry what a vendor likes, past every list.
    b"baggage",
    b"tracestate",
    # Said of an origin, and the origin the agent sees is the relay's.
    b"clear-site-data",
    b"strict-transport-security",
}
_DROPPED_PREFIXES = (b"proxy-", b"access-control-")
_SPECIAL = frozenset(
    {
        b"connection",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"mcp-session-id",
        b"transfer-encoding",
    }
)
_MAX_NAMES = 1024
_MAX_NAME_BYTES = 256
_NO_CONTENT = 204


class BrokenResponseError(PeerError):
    """The upstream does not speak HTTP/1.1, or stopped in the middle."""


class RefusedResponseError(PeerError):
    """The upstream answered in a way that is never passed on; the message is for the agent too."""


class ResponseHead:
    """A response's status and headers as the agent may see them.

    `mcp_session` is the upstream's own MCP session id, which is not among `headers`.
    """

    __slots__ = ("event_stream", "headers", "mcp_session", "status", "until_close")

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers: Headers = []
        self.mcp_session: bytes | None = None
        self.event_stream = False
        self.until_close = status != _NO_CONTENT
        """No length and no chunks: only the end of the connection ends the body."""


class _Names(dict[bytes, bytes | None]):
    """A bounded memory of names in lower case, None for a dropped one."""

    def __missing__(self, name: bytes) -> bytes | None:
        lower = name.lower()
        dropped = lower not in _SPECIAL and (
            lower in _DROPPED or lower.startswith(_DROPPED_PREFIXES)
        )
        kept = None if dropped else lower
        if len(name) <= _MAX_NAME_BYTES:
            if len(self) >= _MAX_NAMES:
                self.clear()
            self[name] = kept
        return kept


_NAMES = _Names()


def read_head(status: int, fields: list[tuple[bytes, bytes]]) -> ResponseHead:
    """Judge and filter one response head; raises BrokenResponseError, RefusedResponseError."""
    if not 200 <= status <= 599:
        raise BrokenResponseError(f"the upstream answered with status {status}")
    if 300 <= status <= 399:
        raise RefusedResponseError("redirect refused")
    head = ResponseHead(status)
    keep = head.headers.append
    connection: list[bytes] = []
    for name, value in fields:
        lower = _NAMES[name]
        if lower is None:
            continue
        if lower in _SPECIAL and not _special(head, lower, value, connection):
            continue
        keep((lower, value.strip()))
    if connection:
        named = named_by_connection(connection)
        head.headers = [pair for pair in head.headers if pair[0] not in named]
    return head


def _special(head: ResponseHead, lower: bytes, value: bytes, connection: list[bytes]) -> bool:
    """Note what a header says about the response; tell whether the agent gets it."""
    if lower == b"content-type":
        if any(name == lower for name, _ in head.headers):
            raise RefusedResponseError("two content types refused")
        head.event_stream = _is_event_stream(value)
    elif lower == b"content-length":
        head.until_close = False
        return head.status != _NO_CONTENT
    elif lower == b"transfer-encoding":
        if value.strip().lower() != b"chunked":
            raise RefusedResponseError("transfer coding refused")
        head.until_close = False
        return False
    elif lower == b"content-encoding":
        if value.strip().lower() != b"identity":
            raise RefusedResponseError("content coding refused")
        return False
    elif lower == b"mcp-session-id":
        if head.mcp_session is not None:
            raise RefusedResponseError("two MCP session ids refused")
        head.mcp_session = value.strip()
        return False
    else:
        connection.append(value)
        return False
    return True


def _is_event_stream(content_type: bytes) -> bool:
    """Tell how an answer is read; raises RefusedResponseError where others read it otherwise."""
    lower = content_type.lower()
    media_type = lower.partition(b";")[0]
    found = media_type.strip() == b"text/event-stream"
    # Agents look for a name anywhere in the value, and each for another one first.
    if b"," in media_type or (b"json" if found else b"event-stream") in lower:
        raise RefusedResponseError("content type refused: it is two at once")
    if not means_itself(lower):
        raise RefusedResponseError("charset refused")
    return found


class LastHead:
    """The response head an upstream sent last, for all its connections: most repeat it.

    A response with it is whole and small, so `head` tells no length; its readers count.
    """

    __slots__ = ("head", "repeated")

    def __init__(self) -> None:
        self.repeated: RepeatedHead | None = None
        self.head = ResponseHead(_NO_CONTENT)

    def keep(self, message: bytes, body: bytes, head: ResponseHead) -> None:
        """Remember the head of a whole message, unless it starts an MCP session."""
        self.repeated = None if head.mcp_session is not None else RepeatedHead.of(message, body)
        if self.repeated is not None:
            self.head = kept = ResponseHead(head.status)
            kept.event_stream = head.event_stream
            kept.until_close = False
            kept.headers = [pair for pair in head.headers if pair[0] != b"content-length"]

    def body_of(self, message: bytes) -> bytes | None:
        """Return the body of a small response with this head, None if it is another."""
        if self.repeated is None or len(message) > MAX_INLINE_BYTES:
            return None
        return self.repeated.body_of(message)


class ResponseReader:
    """One connection's response parser; `begin`, then `feed` until `complete`.

    After `feed`: `head` is None until the headers are complete; `pieces` are the body bytes of
    that read, for the caller to take; `complete` says that the response ended; `reusable` that
    the connection may carry another.
    """

    __slots__ = (
        "_error",
        "_fields",
        "_head_bytes",
        "_interim",
        "_last",
        "_limits",
        "_parser",
        "_stray_bytes",
        "complete",
        "head",
        "pieces",
        "reusable",
    )

    def __init__(self, limits: HttpLimits, last: LastHead) -> None:
        self._limits = limits
        self._last = last
        self.begin()
        self._parser = httptools.HttpResponseParser(self)

    def begin(self) -> None:
        """Expect a new response on the same connection."""
        self.head: ResponseHead | None = None
        self.pieces: list[bytes] = []
        self.complete = False
        self.reusable = False
        self._error: PeerError | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._interim = False
        self._head_bytes = 0
        self._stray_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take what one read returned; raises BrokenResponseError, RefusedResponseError."""
        headless = self.head is None
        first = not self._head_bytes
        if headless:
            if first:
                body = self._last.body_of(data)
                if body is not None:
                    self.head, self.pieces = self._last.head, [body]
                    self.complete = self.reusable = True
                    return
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.reusable = False
            if not self.complete and self._error is None:
                self._error = BrokenResponseError(f"not HTTP/1.1: {error}")
        if self._error is not None:
            raise self._error
        if self.head is None:
            # The parser itself sets no limit to what it collects; interim responses count too.
            if self._head_bytes > self._limits.head_bytes:
                raise RefusedResponseError("response headers too large")
        elif first and self.reusable:
            self._last.keep(data, b"".join(self.pieces), self.head)
        elif self.pieces or self.complete or headless:
            self._stray_bytes = 0
        else:
            self._stray_bytes += len(data)
            if self._stray_bytes > self._limits.stray_bytes:
                raise BrokenResponseError("chunk extensions or trailers without end")

    def end_of_input(self) -> bool:
        """Take the end of the connection; tell whether it completes the response."""
        if self.head is not None and self.head.until_close and not self.complete:
            self.complete = True
            self.reusable = False
            return True
        return False

    def close(self) -> None:
        """Break the reference cycle with the parser, so that no garbage collection is needed."""
        del self._parser

    # What follows is called by the parser, inside `feed`.

    def on_message_begin(self) -> None:
        if self.complete:
            # Bytes after the end: an answer to nothing we asked.
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers arrive here too and are dropped (RFC 9110 section 6.5.1).
        if self.head is None:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        status = self._parser.get_status_code()
        fields, self._fields = self._fields, []
        if 100 <= status <= 199 and status != 101:
            self._interim = True
            return
        try:
            self._check_size(fields)
            self.head = read_head(status, fields)
        except PeerError as error:
            self._error = error

    def _check_size(self, fields: list[tuple[bytes, bytes]]) -> None:
        if len(fields) > self._limits.head_fields:
            raise RefusedResponseError("too many response headers")
        # What was read so far bounds the sum, which is therefore seldom needed.
        if self._head_bytes <= self._limits.head_bytes:
            return
        if sum(len(name) + len(value) + 4 for name, value in fields) > self._limits.head_bytes:
            raise RefusedResponseError("response headers too large")

    def on_body(self, piece: bytes) -> None:
        if not self.complete:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
        elif not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()
