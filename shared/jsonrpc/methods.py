"""What an agent may send: the methods of MCP, and nothing else reaches an upstream.

Sources: schema of 2025-03-26 to 2026-07-28, tasks of 2025-11-25 and the tasks extension.
"""

import re

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
_SLASH = r"(?:[/\\]|%2f|%5c)"
_DOTS = re.compile(rf"(?:^|{_SLASH})(?:\.|%2e){{1,2}}(?:$|{_SLASH})", re.IGNORECASE)
"""Segments that a server may take out of a path, and what is before them (RFC 3986, 5.2.4)."""

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
            return _leads_elsewhere(envelope) if envelope.method in OF_A_URI else None
        status = 404 if modern else 200
        return EnvelopeError(METHOD_NOT_FOUND, "Method not found", envelope.id, status)
    if envelope.kind is Kind.NOTIFICATION and envelope.method not in NOTIFICATIONS:
        return EnvelopeError(METHOD_NOT_FOUND, "Unknown notification", status=202)
    return None


def _leads_elsewhere(envelope: Envelope) -> EnvelopeError | None:
    """Refuse a URI that a server may read as another one than policy does."""
    uri = (envelope.params or {}).get("uri")
    if type(uri) is not str or _DOTS.search(re.split("[?#]", uri, maxsplit=1)[0]) is None:
        return None
    status = 400 if envelope.is_modern else 200
    return EnvelopeError(INVALID_PARAMS, "the URI has dot segments", envelope.id, status)
