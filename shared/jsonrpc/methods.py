"""What an agent may send: the methods of MCP, and nothing else reaches an upstream.

Sources: schema of 2025-03-26 to 2026-07-28, tasks of 2025-11-25 and the tasks extension.
"""

from shared.jsonrpc.envelope import METHOD_NOT_FOUND, Envelope, EnvelopeError, Kind

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
            return None
        status = 404 if modern else 200
        return EnvelopeError(METHOD_NOT_FOUND, "Method not found", envelope.id, status)
    if envelope.kind is Kind.NOTIFICATION and envelope.method not in NOTIFICATIONS:
        return EnvelopeError(METHOD_NOT_FOUND, "Unknown notification", status=202)
    return None
