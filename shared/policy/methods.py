"""Which methods of MCP a rule decides about, and which need none, with the reason.

Both eras. A method in neither table is denied, whatever the rules say.
"""

import re

TOOL = "tools/call"
TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
"""Names that the specification has for tools; no rule can allow another one."""

FREE: dict[str, str] = {
    "initialize": "opens an MCP session below a session that was judged already",
    "ping": "asks for nothing",
    "server/discover": "the modern initialize: names and versions, no content",
    "tools/list": "its result is filtered by the rules",
    "prompts/list": "its result is filtered by the rules",
    "resources/list": "its result is filtered by the rules",
    "resources/templates/list": "its result is filtered by the rules",
    "logging/setLevel": "how much the server tells about its own work",
    "tasks/get": "a task is bound to the session that began it by a judged call",
    "tasks/list": "lists the session's own tasks",
    "tasks/result": "the result of a call that was judged",
    "tasks/cancel": "ends something of its own",
    "tasks/update": "answers for a call that was judged",
    "notifications/cancelled": "ends something of its own",
    "notifications/initialized": "ends the handshake",
    "notifications/progress": "about something of its own",
    "notifications/roots/list_changed": "says that an answer of the agent would differ now",
    "notifications/tasks/status": "about something of its own",
}
"""Needs no rule, and no rule can take it away: lock the user, the agent or the server for that."""

FROM_SERVER = frozenset({"sampling/createMessage", "elicitation/create", "roots/list"})
"""What an upstream may ask of an agent, if a rule says so."""

RULED = FROM_SERVER | {
    *(TOOL, "prompts/get", "resources/read", "resources/subscribe", "resources/unsubscribe"),
    *("completion/complete", "subscriptions/listen"),
}
"""Denied unless a rule allows it."""

NAMED_BY: dict[str, frozenset[str]] = {
    "tool": frozenset({TOOL}),
    "prompt": frozenset({"prompts/get", "completion/complete"}),
    "resource": frozenset(
        {
            *("resources/read", "resources/subscribe", "resources/unsubscribe"),
            "completion/complete",
        }
    ),
}
"""Which methods have the kind of name that a key of `match` speaks of."""

IMPLIED: dict[str, frozenset[str]] = {
    "tool": frozenset({TOOL}),
    "prompt": frozenset({"prompts/get"}),
    "resource": NAMED_BY["resource"] - {"completion/complete"},
}
"""What a rule without `method` is about when it has this key; without any: calls of tools."""
