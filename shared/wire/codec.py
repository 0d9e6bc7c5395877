"""What the payloads say. Every decoder is total: a value, or PeerError."""

import re
import struct
from dataclasses import dataclass

from shared.errors import PeerError, ResetCode, TooBigError
from shared.ids import is_name
from shared.wire.frames import U32
from shared.wire.limits import (
    MAX_CATALOG_UPSTREAMS,
    MAX_DETAIL_BYTES,
    MAX_HEAD_BYTES,
    MAX_HEAD_FIELDS,
    MAX_INLINE_BYTES,
    MAX_PERMIT_BYTES,
)

Headers = list[tuple[bytes, bytes]]

METHODS = frozenset((b"POST", b"GET", b"DELETE"))
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]{1,256}")
_SESSION = re.compile(rb"[0-9a-f]{32}")
_MCP_SESSION = re.compile(rb"[\x21-\x7e]{0,128}")
_PERMIT = re.compile(rb"[A-Za-z0-9._~-]{0,%d}" % MAX_PERMIT_BYTES)
_U16 = struct.Struct(">H")
_REVOKE = struct.Struct(">I32s")
_REVOKED = struct.Struct(">II")

_PRINTABLE = bytes(byte if 0x20 <= byte <= 0x7E else ord("?") for byte in range(256))

_known_names: set[bytes] = set()
"""Field names seen to be tokens: checking one again costs a set look-up, not a regex."""
_KNOWN_NAMES_CAP = 4096


@dataclass(slots=True)
class OpenHead:
    """A request head: which upstream, for which session, and the HTTP head around the body.

    `session` is the session's public id (32 hex digits); `mcp_session` is the relay's MCP session
    id or ""; `permit` is what humans signed for this very call, or "".
    No field can hold an address: the client knows where its upstreams are, the relay does not.
    """

    upstream: str
    method: str
    session: str
    mcp_session: str
    headers: Headers
    permit: str = ""


def encode_open(head: OpenHead) -> bytes:
    """Return the payload of OPEN; raises TooBigError over MAX_HEAD_BYTES."""
    fields = [
        head.upstream.encode(),
        head.method.encode(),
        head.session.encode(),
        head.mcp_session.encode(),
        head.permit.encode(),
    ]
    return _join(fields, head.headers)


def decode_open(payload: bytes) -> OpenHead:
    """Read the payload of OPEN; raises PeerError."""
    fields = _split(payload, fixed=5)
    upstream, method, session, mcp_session, permit = fields[:5]
    try:
        name = upstream.decode("ascii")
    except UnicodeDecodeError:
        raise PeerError("upstream name is not ASCII") from None
    if not is_name(name):
        raise PeerError("upstream name is malformed")
    if method not in METHODS:
        raise PeerError("method is not POST, GET or DELETE")
    if not _SESSION.fullmatch(session) or not _MCP_SESSION.fullmatch(mcp_session):
        raise PeerError("session reference is malformed")
    if not _PERMIT.fullmatch(permit):
        raise PeerError("permit is malformed")
    return OpenHead(
        name,
        method.decode(),
        session.decode(),
        mcp_session.decode(),
        _pairs(fields, 5),
        permit.decode(),
    )


def encode_head(status: int, headers: Headers) -> bytes:
    """Return the payload of HEAD; raises TooBigError over MAX_HEAD_BYTES."""
    return _join([b"%d" % status], headers)


def decode_head(payload: bytes) -> tuple[int, Headers]:
    """Read the payload of HEAD; raises PeerError. The status is 200 to 599."""
    fields = _split(payload, fixed=1)
    status = fields[0]
    if len(status) != 3 or not status.isdigit() or not b"200" <= status <= b"599":
        raise PeerError("status is not 200 to 599")
    return int(status), _pairs(fields, 1)


def _join(fields: list[bytes], headers: Headers) -> bytes:
    for pair in headers:
        fields += pair
    # LF cannot stand in a field value (RFC 9110 section 5.5), so it can stand between them.
    payload = b"\n".join(fields)
    if len(payload) > MAX_HEAD_BYTES or len(headers) > MAX_HEAD_FIELDS:
        raise TooBigError("head over its limit")
    if payload.count(b"\n") != len(fields) - 1:
        raise TooBigError("line feed in a header")
    return payload


def _split(payload: bytes, fixed: int) -> list[bytes]:
    if len(payload) > MAX_HEAD_BYTES:
        raise TooBigError("head over its limit")
    if b"\r" in payload or b"\0" in payload:
        raise PeerError("control character in a head")
    fields = payload.split(b"\n", fixed + 2 * MAX_HEAD_FIELDS + 1)
    if len(fields) < fixed or (len(fields) - fixed) % 2:
        raise PeerError("head has a field too many or too few")
    if len(fields) > fixed + 2 * MAX_HEAD_FIELDS:
        raise TooBigError("head has too many fields")
    return fields


def _pairs(fields: list[bytes], fixed: int) -> Headers:
    names = fields[fixed::2]
    if not _known_names.issuperset(names):
        for name in names:
            _check_name(name)
    return list(zip(names, fields[fixed + 1 :: 2], strict=True))


def _check_name(name: bytes) -> None:
    if not _TOKEN.fullmatch(name):
        raise PeerError("header name is not a lower-case token")
    if len(_known_names) < _KNOWN_NAMES_CAP:
        _known_names.add(name)


def encode_whole(head: bytes, body: bytes) -> bytes:
    """Return the payload of REQUEST or RESPONSE: a head's payload and the whole body."""
    return _U16.pack(len(head)) + head + body


def decode_whole(payload: bytes) -> tuple[bytes, bytes]:
    """Split the payload of REQUEST or RESPONSE into head and body; raises PeerError."""
    if len(payload) < _U16.size:
        raise PeerError("head length cut short")
    size = _U16.unpack_from(payload)[0]
    end = _U16.size + size
    if end > len(payload):
        raise PeerError("head cut short")
    if size > MAX_HEAD_BYTES or len(payload) - end > MAX_INLINE_BYTES:
        raise TooBigError("head or inline body over its limit")
    return payload[_U16.size : end], payload[end:]


def encode_reset(code: ResetCode, detail: str) -> bytes:
    """Return the payload of RESET; `detail` is cut to its limit."""
    return _U16.pack(code) + _detail(detail)


def decode_reset(payload: bytes) -> tuple[ResetCode, str]:
    """Read the payload of RESET; raises PeerError."""
    if len(payload) < _U16.size:
        raise PeerError("RESET cut short")
    try:
        code = ResetCode(_U16.unpack_from(payload)[0])
    except ValueError:
        raise PeerError("unknown reset code") from None
    return code, decode_detail(payload[_U16.size :])


def _detail(text: str) -> bytes:
    # An error text of the system may hold line feeds, and the peer takes printable text only.
    return text.encode("ascii", "backslashreplace")[:MAX_DETAIL_BYTES].translate(_PRINTABLE)


def encode_detail(text: str) -> bytes:
    """Return text for people as the payload of DRAIN, cut to its limit."""
    return _detail(text)


def decode_detail(payload: bytes) -> str:
    """Read text for people; raises PeerError unless it is short printable ASCII."""
    if len(payload) > MAX_DETAIL_BYTES:
        raise TooBigError("detail over its limit")
    text = payload.decode("latin-1")
    if not (text.isascii() and (text.isprintable() or not text)):
        raise PeerError("detail is not printable ASCII")
    return text


def encode_credit(credit: int) -> bytes:
    """Return the payload of CREDIT."""
    return U32.pack(credit)


def decode_credit(payload: bytes) -> int:
    """Read the payload of CREDIT; raises PeerError."""
    if len(payload) != U32.size:
        raise PeerError("CREDIT has the wrong size")
    credit: int = U32.unpack(payload)[0]
    return credit


def encode_catalog(upstreams: list[str]) -> bytes:
    """Return the payload of CATALOG."""
    return "\n".join(upstreams).encode()


def decode_catalog(payload: bytes) -> list[str]:
    """Read the payload of CATALOG; raises PeerError for a bad, repeated or 257th name."""
    if not payload:
        return []
    names = payload.split(b"\n", MAX_CATALOG_UPSTREAMS)
    if len(names) > MAX_CATALOG_UPSTREAMS:
        raise TooBigError("too many upstreams")
    upstreams = [name.decode("latin-1") for name in names]
    if not all(is_name(name) for name in upstreams) or len(set(upstreams)) != len(upstreams):
        raise PeerError("malformed upstream name")
    return upstreams


def encode_revoke(order: int, session: str) -> bytes:
    """Return the payload of REVOKE; `session` is its public id."""
    return _REVOKE.pack(order, session.encode())


def decode_revoke(payload: bytes) -> tuple[int, str]:
    """Read the payload of REVOKE; raises PeerError."""
    if len(payload) != _REVOKE.size:
        raise PeerError("REVOKE has the wrong size")
    order, session = _REVOKE.unpack(payload)
    if not _SESSION.fullmatch(session):
        raise PeerError("session reference is malformed")
    return order, session.decode()


def encode_revoked(order: int, ended: int) -> bytes:
    """Return the payload of REVOKED."""
    return _REVOKED.pack(order, ended)


def decode_revoked(payload: bytes) -> tuple[int, int]:
    """Read the payload of REVOKED; raises PeerError."""
    if len(payload) != _REVOKED.size:
        raise PeerError("REVOKED has the wrong size")
    order, ended = _REVOKED.unpack(payload)
    return order, ended
