"""What an agent may send: the methods of MCP, and nothing else reaches an upstream.

Sources: schema of 2025-03-26 to 2026-07-28, tasks of 2025-11-25 and the tasks extension.
"""

import re
from typing import Any

from shared.jsonrpc.envelope import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Envelope,
    EnvelopeError,
    Kind,
)

_BOTH = frozenset(
    {
        *("tools/list", "tools/call", "prompts/list", "prompts/get", "completion/complete"),
        *("resources/list", "resources/templates/list", "resources/read"),
        *("tasks/get", "tasks/list", "tasks/result", "tasks/cancel"),
    }
)
LEGACY_REQUESTS = _BOTH | {
    *("initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"),
}
MODERN_REQUESTS = _BOTH | {"server/discover", "subscriptions/listen", "tasks/update"}
NOTIFICATIONS = frozenset(
    {
        *("notifications/cancelled", "notifications/initialized", "notifications/progress"),
        *("notifications/roots/list_changed", "notifications/tasks/status"),
    }
)
"""Of both eras: modern upstreams acknowledge and drop the legacy ones."""

OF_A_URI = frozenset({"resources/read", "resources/subscribe", "resources/unsubscribe"})
_CALL, _COMPLETE = "tools/call", "completion/complete"
_NAMED = {_CALL: "name", "prompts/get": "name", **dict.fromkeys(OF_A_URI, "uri")}
_REFERRED = {"ref/prompt": "name", "ref/resource": "uri"}
"""Which member says what a request is for, to rules as well; that of a completion is in `ref`."""
_SLASH = r"(?:[/\\]|%2f|%5c)"
_DOTS = re.compile(rf"(?:^|{_SLASH})(?:\.|%2e){{1,2}}(?:$|{_SLASH})", re.IGNORECASE)
"""Segments that a server may take out of a path, and what is before them (RFC 3986, 5.2.4)."""

_DROPPED = re.compile(r"[\x00-\x1f\x7f]|^ | $")
_NO_PORT = "\n"  # refused before that
_SPECIAL = {
    "http": ":80",
    "https": ":443",
    "ws": ":80",
    "wss": ":443",
    "ftp": ":21",
    "file": _NO_PORT,
}
"""Schemes whose host and slashes parsers put right, and the port that they leave out."""

# Without a version in the body a request may be a modern one with a fault, and only the upstream
# knows how it names that fault.
_UNVERSIONED_REQUESTS = LEGACY_REQUESTS | MODERN_REQUESTS


def refusal(envelope: Envelope) -> EnvelopeError | None:
    """Return the answer to a method that is not forwarded, None when it may be.

    Requests: -32601 with status 404 in the modern era, 200 in the legacy one. Notifications:
    status 202 and an empty body. They are dropped rather than refused, because nobody reads the
    answer to a notification, while an agent's library may give up on a 4xx; servers do the same.
    Responses pass: a legacy agent answers requests of the upstream.
    """
    if envelope.kind is Kind.REQUEST:
        modern = envelope.is_modern
        if envelope.method in (MODERN_REQUESTS if modern else _UNVERSIONED_REQUESTS):
            # Most requests are calls, and what names one was looked at when it was read.
            named = envelope.name is not None and envelope.method == _CALL
            return None if named else _misnamed(envelope)
        status = 404 if modern else 200
        return EnvelopeError(METHOD_NOT_FOUND, "Method not found", envelope.id, status)
    if envelope.kind is Kind.NOTIFICATION and envelope.method not in NOTIFICATIONS:
        return EnvelopeError(METHOD_NOT_FOUND, "Unknown notification", status=202)
    return None


def _misnamed(envelope: Envelope) -> EnvelopeError | None:
    """Refuse what no rule could go by: no text, or a URI that a server may read as another one."""
    params = envelope.params or {}
    if envelope.method == _COMPLETE:
        fault = _misreferred(params.get("ref"))
    else:
        fault = _fault(params, _NAMED.get(envelope.method or ""))
    if fault is None:
        return None
    return EnvelopeError(INVALID_PARAMS, fault, envelope.id, 400 if envelope.is_modern else 200)


def _misreferred(ref: Any) -> str | None:
    kind = ref.get("type") if type(ref) is dict else None
    key = _REFERRED.get(kind) if type(kind) is str else None
    if key is None:
        return "ref must be of type ref/prompt or ref/resource"
    uri = ref.get("uri")
    return _fault(ref, key) or (_misread(uri) if type(uri) is str else None)


def _fault(members: dict[str, Any], key: str | None) -> str | None:
    if key is None:
        return None
    name = members.get(key)
    if type(name) is not str:
        return f"{key} must be a string"
    return _misread(name) if key == "uri" else None


def _misread(uri: str) -> str | None:
    """Return what the parsers that servers use put right in a URI before they look at it.

    Source: WHATWG URL, sections 4.1 and 4.4, by which Node.js, Rust and so pydantic read. What
    follows `?` or `#` is no path to them, but to a server that takes all after `file://` for one.
    """
    if _DROPPED.search(uri) is not None:
        return "the URI has blanks or control characters that parsers drop"
    scheme, colon, rest = uri.partition(":")
    if colon and scheme != scheme.lower():
        return "the scheme of the URI is not in lower case"
    if scheme in _SPECIAL:
        host = re.split("[/?#]", rest[2:], maxsplit=1)[0]
        left_out = "localhost" if scheme == "file" else ""
        mended = "\\" in rest or "%" in host or host != host.lower() or host == left_out
        if mended or not rest.startswith("//") or host.endswith(_SPECIAL[scheme]):
            return "the URI is not spelled as parsers spell it"
    path = uri if scheme == "file" else re.split("[?#]", uri, maxsplit=1)[0]
    return None if _DOTS.search(path) is None else "the URI has dot segments"
