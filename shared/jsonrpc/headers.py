"""Routing headers say what the body says, or the message is refused (2026-07-28, transports).

Anything between the agent and the upstream may route by `Mcp-Method` and its like, while policy
reads the body. Two readings of one message must not be possible, so both ends check that they are
equal. Names of headers are in lower case here, as ASGI and the link give them.

The order of the checks, which agents can observe: `_meta` present (-32602), headers equal
(-32020), version served (-32022), parameter headers equal (-32020). Between agent and upstream
only `check_routing` is due; whoever answers as an HTTP server for a stdio upstream owes them all.
"""

from collections.abc import Iterable
from typing import NamedTuple

from shared.jsonrpc.envelope import (
    CAPABILITIES_KEY,
    HEADER_MISMATCH,
    INVALID_PARAMS,
    NAME_KEYS,
    UNSUPPORTED_VERSION,
    VERSION_KEY,
    Envelope,
    EnvelopeError,
    Kind,
)
from shared.jsonrpc.header_values import Headers, decode_value, text_of
from shared.jsonrpc.param_headers import PARAM_PREFIX
from shared.jsonrpc.param_headers import check_params as check_params

VERSION_HEADER = b"mcp-protocol-version"
METHOD_HEADER = b"mcp-method"
NAME_HEADER = b"mcp-name"

HANDSHAKE_VERSIONS = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"})
"""Revisions that begin with `initialize`; any other value of the version header is modern."""

_ROUTING = frozenset({VERSION_HEADER, METHOD_HEADER, NAME_HEADER})
# The tasks extension asks for Mcp-Name too, but servers in the field do not insist on it.
_NAME_DEMANDED = frozenset({"tools/call", "prompts/get", "resources/read"})


class Routing(NamedTuple):
    """What the routing headers of one head say; `twice` names one that came more than once.

    Two `Mcp-Param-*` that differ in `_` and `-` alone are one that came twice: servers of the CGI
    kind read them as one.
    """

    version: str | None
    method: str | None
    name: str | None
    twice: str | None


def read_routing(headers: Headers) -> Routing:
    """Pick the routing headers out of a head; total."""
    found: dict[bytes, str] = {}
    twice, params = None, set[bytes]()
    for name, value in headers:
        if name in _ROUTING:
            if name in found:
                twice = name.decode()
            found[name] = text_of(value)
        elif name.startswith(PARAM_PREFIX):
            spelled = name.replace(b"_", b"-")
            if spelled in params:
                twice = "mcp-param-*"
            params.add(spelled)
    get = found.get
    return Routing(get(VERSION_HEADER), get(METHOD_HEADER), get(NAME_HEADER), twice)


def check_routing(envelope: Envelope, routing: Routing) -> None:
    """Check that the routing headers equal the body; raises EnvelopeError (-32020, status 400).

    A modern request must carry them. On every other message with a method, those it carries must
    be right too, so that leaving out the version, or naming an old one, is no way around this.
    A modern request with too little in `_meta` passes as long as its headers contradict nothing:
    the upstream has the word for that fault. If they do, we give that word (-32602) ourselves.
    """
    if routing.twice is not None:
        raise _mismatch(envelope, f"{routing.twice} header appears more than once")
    if envelope.method is None:
        return
    version = routing.version
    modern = envelope.is_modern or (version is not None and version not in HANDSHAKE_VERSIONS)
    is_request = modern and envelope.kind is Kind.REQUEST
    wrong = _contradiction(envelope, routing, is_request and _has_modern_meta(envelope))
    if wrong is not None:
        if is_request:
            check_modern_meta(envelope)
        raise _mismatch(envelope, f"{wrong.decode()} header does not match the request body")


def check_modern_meta(envelope: Envelope) -> None:
    """Check that a modern request has what `_meta` must hold; raises EnvelopeError (-32602, 400).

    Only presence counts here (2026-07-28, basic, "Per-request protocol fields").
    """
    if not _has_modern_meta(envelope):
        raise EnvelopeError(
            INVALID_PARAMS,
            f"params._meta must be an object with {VERSION_KEY} and {CAPABILITIES_KEY}",
            envelope.id,
        )


def check_version(envelope: Envelope, supported: Iterable[str]) -> None:
    """Check that a version is served; raises EnvelopeError (-32022; -32602 when not a string)."""
    if envelope.version is None:
        raise EnvelopeError(INVALID_PARAMS, f"{VERSION_KEY} must be a string", envelope.id)
    served = list(supported)
    if envelope.version not in served:
        raise EnvelopeError(
            UNSUPPORTED_VERSION,
            "Unsupported protocol version",
            envelope.id,
            data={"supported": served, "requested": envelope.version},
        )


def _has_modern_meta(envelope: Envelope) -> bool:
    meta = None if envelope.params is None else envelope.params.get("_meta")
    return type(meta) is dict and VERSION_KEY in meta and CAPABILITIES_KEY in meta


def _contradiction(envelope: Envelope, routing: Routing, demanded: bool) -> bytes | None:
    """Name the first routing header that differs from the body, or is absent though demanded."""
    version = routing.version
    # A version that is not a string never equals a header.
    if demanded and (version is None or version != envelope.version):
        return VERSION_HEADER
    if version is not None and envelope.version is not None and version != envelope.version:
        return VERSION_HEADER
    method = routing.method
    if method != envelope.method and (demanded or method is not None):
        return METHOD_HEADER
    key = NAME_KEYS.get(envelope.method or "")
    if key is None or envelope.params is None:
        return None
    named = envelope.params.get(key)
    given = routing.name
    if named is None or (given is None and not (demanded and envelope.method in _NAME_DEMANDED)):
        return None
    return NAME_HEADER if given is None or decode_value(given) != named else None


def _mismatch(envelope: Envelope, message: str) -> EnvelopeError:
    return EnvelopeError(HEADER_MISMATCH, message, envelope.id)
