"""Every answer the relay makes itself (DESIGN: responses the agent sees). Pure."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple

from shared.errors import NEVER_SENT, ResetCode
from shared.jsonrpc.envelope import INVALID_PARAMS, EnvelopeError, error_body

Headers = list[tuple[bytes, bytes]]
JSON = (b"content-type", b"application/json")
NO_STORE = (b"cache-control", b"no-store")

UNAVAILABLE = -31001
"""Our own JSON-RPC codes stand outside -32768..-32000, which the protocol keeps for itself."""
INTERRUPTED = -31002
ENDED = -31003
REFUSED = -31004

ALLOWED_METHODS = b"POST, GET, DELETE"


class Why(NamedTuple):
    """What the record says of a request that an answer was the end of; agents hear nothing of it.

    `request` is the number that the agent was told, `approval` the one it waits for.
    """

    reason: str
    rule: str | None = None
    decision: str = "deny"
    request: str = ""
    approval: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole HTTP response; `why` where it does not say itself what is written down of it."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=list)
    why: Why | None = field(default=None, compare=False)


def _own(
    status: int,
    code: int,
    message: str,
    message_id: str | int | None = None,
    data: dict[str, object] | None = None,
    headers: Headers | None = None,
) -> Answer:
    told = {"origin": "relay"} | (data or {})
    body = error_body(message_id, code, message, told)
    return Answer(status, body, [JSON, NO_STORE, *(headers or [])])


BAD_HOST = _own(421, REFUSED, "this relay does not serve that host")
BAD_ORIGIN = _own(403, REFUSED, "this web origin may not call the relay")
NOT_FOUND = _own(404, REFUSED, "no such server, or this session may not use it")
METHOD_NOT_ALLOWED = _own(
    405, REFUSED, "only POST, GET and DELETE", headers=[(b"allow", ALLOWED_METHODS)]
)
TWO_TOKENS = _own(400, REFUSED, "more than one Authorization header")
HEADERS_TOO_LARGE = _own(431, REFUSED, "too many or too large headers")
BODY_TOO_LARGE = _own(413, REFUSED, "the request body is larger than this relay takes")
NOT_JSON = _own(415, REFUSED, "send application/json, without a content encoding")
BAD_REQUEST = _own(400, REFUSED, "malformed request")
BODY_NOT_ALLOWED = _own(400, REFUSED, "GET and DELETE carry no body")
BUSY = _own(
    503,
    UNAVAILABLE,
    "this relay takes in too much at once; try again soon",
    data={"delivery": "never_sent"},
    headers=[(b"retry-after", b"1")],
)
UNCHECKED = _own(
    503,
    UNAVAILABLE,
    "this relay cannot check sessions now; try again soon",
    data={"delivery": "never_sent"},
    headers=[(b"retry-after", b"5")],
)
LATER = _own(
    503,
    UNAVAILABLE,
    "this relay cannot judge the token now; try again soon",
    data={"delivery": "never_sent"},
    headers=[(b"retry-after", b"5")],
)
MCP_SESSION_GONE = _own(
    404,
    -32600,
    "this MCP session is unknown or has ended; reconnect this server in your agent "
    "to start a new one",
)


PREFLIGHT: Headers = [
    (b"access-control-allow-methods", ALLOWED_METHODS),
    (
        b"access-control-allow-headers",
        (
            b"authorization, content-type, accept, last-event-id, mcp-protocol-version, "
            b"mcp-session-id, mcp-method, mcp-name"
        ),
    ),
    (b"access-control-max-age", b"600"),
]


def _challenge(realm: str, metadata: str | None, scopes: Sequence[str]) -> str:
    challenge = f'Bearer realm="{realm}"'
    if scopes:
        challenge += f', scope="{" ".join(scopes)}"'
    return challenge if metadata is None else f'{challenge}, resource_metadata="{metadata}"'


def unauthorized(
    realm: str, token_sent: bool, metadata: str | None = None, scopes: Sequence[str] = ("mcp",)
) -> Answer:
    """Answer a request without a good token; the same for unknown, expired and revoked ones.

    `metadata` is where the server's metadata is (RFC 9728), None where nobody can log in.
    """
    challenge = _challenge(realm, metadata, scopes)
    if token_sent:
        # RFC 6750 section 3.1: no error code when no credentials came.
        challenge += ', error="invalid_token"'
    return _own(
        401,
        REFUSED,
        "a valid session token is required; log in, or ask the relay's admin for a session",
        headers=[(b"www-authenticate", challenge.encode())],
    )


def insufficient_scope(realm: str, metadata: str | None, scopes: Sequence[str]) -> Answer:
    """Answer a good token without a scope that the configuration asks for (RFC 6750)."""
    challenge = f'{_challenge(realm, metadata, scopes)}, error="insufficient_scope"'
    return _own(
        403,
        REFUSED,
        "the token lacks a scope that this relay asks for",
        headers=[(b"www-authenticate", challenge.encode())],
    )


def too_many(what: str, wait: float, message_id: str | int | None = None) -> Answer:
    """Answer a call beyond what its session or user may ask for; it was not sent."""
    after = max(1, math.ceil(wait))
    text = f"too many {what}; try again in {after} s"
    headers: Headers = [(b"retry-after", b"%d" % after)]
    return _own(429, UNAVAILABLE, text, message_id, {"delivery": "never_sent"}, headers)


def envelope_refused(error: EnvelopeError) -> Answer:
    """Answer a message that is malformed or not allowed; the codes are the protocol's own."""
    return Answer(error.status, error.body(), [JSON, NO_STORE])


def bad_trace(fault: str) -> Answer:
    """Answer a head whose trace context is too long: as in `_meta`."""
    return Answer(400, error_body(None, INVALID_PARAMS, fault), [JSON, NO_STORE])


def not_connected(message_id: str | int | None, retry_after: int) -> Answer:
    """Answer when no client serves the upstream now."""
    return _own(
        503,
        UNAVAILABLE,
        "the private network behind this server is not connected now; try again soon",
        message_id,
        {"delivery": "never_sent"},
        [(b"retry-after", b"%d" % retry_after)],
    )


def unrecorded(message_id: str | int | None) -> Answer:
    """Answer a call that cannot be written down: it is not sent."""
    return _own(
        503,
        UNAVAILABLE,
        "this relay cannot write down what is called now; try again soon",
        message_id,
        {"delivery": "never_sent"},
        [(b"retry-after", b"5")],
    )


class Cut(Enum):
    """Why the relay itself ended a call, where no reset code says so."""

    UNCHECKED = "unchecked"
    """The relay's lease lapsed: it does not know any more whether the session lives."""
    STOPPING = "stopping"
    """The relay stops, and has waited for the call as long as it may."""
    LINK_LOST = "link_lost"
    """The client is gone, or its link was cut for longer than it waits."""


Cause = ResetCode | Cut

_FAILURES: dict[Cause, tuple[int, int, str]] = {
    Cut.UNCHECKED: (503, INTERRUPTED, "this relay cannot check sessions now; the call was cut"),
    Cut.STOPPING: (502, INTERRUPTED, "this relay stops; the call was cut and may have run"),
    Cut.LINK_LOST: (
        502,
        INTERRUPTED,
        "the link to the private side was lost; the call may have run",
    ),
    ResetCode.REVOKED: (403, ENDED, "the session has ended; its running call was cut"),
    ResetCode.REFUSED: (503, UNAVAILABLE, "the server takes no more calls now; try again soon"),
    ResetCode.NO_GRANT: (503, UNAVAILABLE, "the private side has to be told of the session again"),
    ResetCode.NEEDS_APPROVAL: (403, REFUSED, "approval pending: a person has to allow this call"),
    ResetCode.UPSTREAM_UNREACHABLE: (502, UNAVAILABLE, "the private server is not reachable"),
    ResetCode.TOO_LARGE: (502, INTERRUPTED, "the private server's answer is too large"),
    ResetCode.TIMEOUT: (504, INTERRUPTED, "the private server did not answer in time"),
    ResetCode.STALLED: (502, INTERRUPTED, "the answer was not read for too long"),
}
_BROKEN = (502, INTERRUPTED, "the private server broke off; the call may have run")


def failed(code: Cause, message_id: str | int | None) -> Answer:
    """Answer a call whose stream ended before a head came."""
    if code is ResetCode.NEEDS_APPROVAL and message_id is not None:
        return _approval_pending(message_id)
    status, own_code, message = _FAILURES.get(code, _BROKEN)
    headers: Headers = [(b"retry-after", b"1")] if status == 503 else []
    return _own(status, own_code, message, message_id, _delivery(code), headers)


def _approval_pending(message_id: str | int) -> Answer:
    """Answer a call as its tool would: agents show a result to their people, and errors seldom."""
    text = "approval pending: a person has to allow this call; make it again afterwards"
    result = {"content": [{"type": "text", "text": text}], "isError": True}
    message = {"jsonrpc": "2.0", "id": message_id, "result": result}
    return Answer(200, json.dumps(message).encode(), [JSON, NO_STORE])


def cannot_be_approved(message_id: str | int | None) -> Answer:
    """Answer a call that a person would have to permit, where nobody can."""
    text = "this call needs an approval, and nobody could give it"
    return _own(403, REFUSED, text, message_id, {"delivery": "never_sent"})


def failure_event(code: Cause, message_id: str | int) -> bytes:
    """Return the last SSE event of a stream that was cut after its head went out."""
    _, own_code, message = _FAILURES.get(code, _BROKEN)
    told = {"origin": "relay"} | _delivery(code)
    return b"event: message\ndata: " + error_body(message_id, own_code, message, told) + b"\n\n"


def _delivery(code: Cause) -> dict[str, object]:
    return {"delivery": "never_sent" if code in NEVER_SENT else "unknown"}
