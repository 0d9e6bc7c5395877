"""What a relay's request must be before it reaches an upstream: the private side's own check.

The relay checked all this already. It is checked again because the relay may be the attacker:
what is decided here needs nobody's word but this client's configuration.
"""

from typing import NamedTuple

from shared.errors import PeerError
from shared.jsonrpc.envelope import parse
from shared.jsonrpc.headers import Routing, check_routing, read_routing
from shared.jsonrpc.media import is_json
from shared.jsonrpc.methods import refusal
from shared.jsonrpc.param_headers import PARAM_PREFIX
from shared.jsonrpc.reserved import headers_fault
from shared.wire.codec import OpenHead, decode_open
from shared.wire.limits import MIB
from tunnel_client.upstream.base import UpstreamRequest

MAX_ASSEMBLING_BYTES = 64 * MIB
"""Request bodies of one link that are still coming; beyond it streams are refused unsent."""

_KIND = b"content-type"
_NEVER = frozenset(
    {
        *(b"authorization", b"cookie", b"host", b"origin", b"mcp-session-id", b"connection"),
        *(b"content-length", b"transfer-encoding", b"upgrade", b"te", b"trailer", b"keep-alive"),
        *(b"proxy-authorization", b"proxy-connection", b"expect", b"content-encoding"),
    }
)
"""Fields a relay of ours never sends; one that does is broken or worse."""


class GateError(PeerError):
    """The relay sent a request of a kind that it must not send."""


class Head(NamedTuple):
    """A request head that may go on, and what its routing headers say."""

    open: OpenHead
    routing: Routing


def admit_head(payload: bytes) -> Head:
    """Read a request head; raises PeerError when malformed, GateError for what none may hold."""
    head = decode_open(payload)
    # CGI-like servers read `Content_Encoding` as `Content-Encoding`.
    names = [name.lower().replace(b"_", b"-") for name, _ in head.headers]
    if not _NEVER.isdisjoint(names) or any(map(_is_misspelt, names, head.headers)):
        raise GateError("the relay forwarded a header that is not forwarded")
    if head.method == "POST" and _KIND in names:
        kinds = [
            value
            for name, (_, value) in zip(names, head.headers, strict=True)
            if name == b"content-type"
        ]
        if len(kinds) > 1 or not is_json(kinds[0]):
            raise GateError("the relay forwarded a body that is not JSON in UTF-8")
    fault = headers_fault(head.headers)
    if fault is not None:
        raise GateError(fault)
    return Head(head, read_routing(head.headers))


def _is_misspelt(spelled: bytes, field: tuple[bytes, bytes]) -> bool:
    """Tell whether a header of MCP's own is spelled with `_`; a mirrored argument may have one."""
    name = field[0]
    return spelled.startswith(b"mcp-") and spelled != name and not name.startswith(PARAM_PREFIX)


def admit(admitted: Head, body: bytes) -> UpstreamRequest:
    """Return the request for the upstream.

    Raises GateError for what no relay of ours sends, EnvelopeError for what the agent must be
    told (its `status` and `body()` are the answer).
    """
    head, envelope = admitted.open, None
    if head.method == "POST":
        envelope = parse(body)
        check_routing(envelope, admitted.routing)
        refused = refusal(envelope)
        if refused is not None:
            raise refused
    elif body:
        raise GateError("a body on " + head.method)
    return UpstreamRequest(
        head.method, head.headers, body, envelope, head.session, head.mcp_session or None
    )
