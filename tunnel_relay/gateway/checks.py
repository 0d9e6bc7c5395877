"""What a request must be before its body is read. Pure: a head in, an answer or None out."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from shared.ids import SESSION_PREFIX, is_token
from tunnel_relay.gateway import answers
from tunnel_relay.gateway.answers import Answer

PATH = re.compile(r"/t/([a-z0-9-]{1,63})/([a-z0-9-]{1,63})/mcp")
METHODS = frozenset({"POST", "GET", "DELETE"})

_SINGLE = frozenset(
    {
        *(b"host", b"authorization", b"origin", b"content-type", b"content-length"),
        *(b"content-encoding", b"mcp-session-id", b"connection", b"accept"),
    }
)
"""Fields two readers could take two values from if they came twice."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What the gateway is configured to accept. Hosts and origins are in lower case."""

    hosts: frozenset[bytes]
    origins: frozenset[bytes]
    header_bytes: int
    header_fields: int
    body_bytes: int


@dataclass(slots=True)
class Fields:
    """The single-valued fields of one request head."""

    host: bytes | None = None
    authorization: bytes | None = None
    origin: bytes | None = None
    content_type: bytes | None = None
    content_length: bytes | None = None
    content_encoding: bytes | None = None
    mcp_session_id: bytes | None = None
    connection: bytes | None = None
    accept: bytes | None = None


_ATTRIBUTES = {name: name.decode().replace("-", "_") for name in _SINGLE}


def read_fields(headers: Iterable[tuple[bytes, bytes]], edge: Edge) -> Fields | Answer:
    """Pick out the single-valued fields; an Answer when one repeats or the head is too big."""
    fields = Fields()
    size = count = 0
    for name, value in headers:
        size += len(name) + len(value) + 4
        count += 1
        attribute = _ATTRIBUTES.get(name)
        if attribute is not None:
            if getattr(fields, attribute) is not None:
                return _repeated(name)
            setattr(fields, attribute, value)
    if size > edge.header_bytes or count > edge.header_fields:
        return answers.HEADERS_TOO_LARGE
    return fields


def _repeated(name: bytes) -> Answer:
    if name == b"authorization":
        return answers.TWO_TOKENS
    return answers.BAD_HOST if name == b"host" else answers.BAD_REQUEST


def refuse_place(fields: Fields, edge: Edge) -> Answer | None:
    """Check Host and Origin: what a browser on a foreign page cannot forge."""
    if fields.host is None or fields.host.lower() not in edge.hosts:
        return answers.BAD_HOST
    if fields.origin is not None and fields.origin.lower() not in edge.origins:
        return answers.BAD_ORIGIN
    return None


def read_token(fields: Fields) -> str | None:
    """Return the bearer token, None unless it has the shape of one of ours (RFC 6750)."""
    value = fields.authorization
    if value is None:
        return None
    scheme, _, rest = value.partition(b" ")
    token = rest.strip().decode("latin-1")
    if scheme.lower() != b"bearer" or not token.startswith(SESSION_PREFIX) or not is_token(token):
        return None
    return token


def refuse_body(method: str, fields: Fields, edge: Edge) -> Answer | None:
    """Check what the head says about the body."""
    length = fields.content_length
    if method != "POST":
        return None if length in (None, b"0") else answers.BODY_NOT_ALLOWED
    media_type = (fields.content_type or b"").split(b";", 1)[0].strip().lower()
    encoding = fields.content_encoding
    if media_type != b"application/json" or (encoding or b"identity").lower() != b"identity":
        return answers.NOT_JSON
    if length is not None and (not length.isdigit() or len(length) > 12):
        return answers.BAD_REQUEST
    if length is not None and int(length) > edge.body_bytes:
        return answers.BODY_TOO_LARGE
    return None
