"""What records say of sessions and approvals: one spelling for all who note something of them."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from shared.jsonrpc.canonical import canonical
from shared.keys import BadKeyError
from shared.passkey import approver_fingerprint, read_approver_key
from shared.wire.tools import ToolWord
from tunnel_relay.store.approvals import Approval
from tunnel_relay.store.base import Session

MAX_TOOLS = 20
"""Tools that one record names; its digest is of all of them."""


def of_tools(before: Mapping[str, ToolWord], told: Mapping[str, ToolWord]) -> dict[str, Any]:
    """Return what a client says of an upstream's tools: class and pinned definition of each."""
    words = {
        name: [name, None if tool.kind is None else tool.kind.value, tool.sha256]
        for name, tool in sorted(told.items())
    }
    changed = [words[name] for name in words if before.get(name) != told[name]]
    return {
        "changed": changed[:MAX_TOOLS],
        "digest": sha256(canonical(list(words.values()))).hexdigest(),
        "gone": sorted(set(before) - set(told))[:MAX_TOOLS],
        "tools": len(words),
    }


def of_session(session: Session) -> dict[str, Any]:
    """Return whose session it is, and what for; nothing of its token."""
    return {
        "what": {"server": session.upstream, "tunnel": session.tunnel},
        "who": {"agent": session.agent, "session": session.id, "user": session.user},
    }


def of_approval(approval: Approval) -> dict[str, Any]:
    """Return which call it is about, and who said yes so far.

    Its `approval` is spelled as in the intent of the call that uses it, so that the two can be
    held against each other (attack A20).
    """
    return {
        "approval": {
            "approvers": [voice.user for voice in approval.voices],
            "arguments": approval.arguments,
            "id": approval.id,
            "keys": sorted(_fingerprint(voice.key) for voice in approval.voices if voice.key),
        },
        "what": {
            "class": approval.tool_class or None,
            "definition": approval.definition or None,
            "name": approval.tool,
            "server": approval.upstream,
            "tunnel": approval.tunnel,
        },
        "who": {"agent": approval.agent, "session": approval.session, "user": approval.user},
        "why": {
            "decision": "require_approval",
            "policy": approval.policy,
            "rule": approval.rule,
        },
    }


def _fingerprint(key: str) -> str:
    try:
        return approver_fingerprint(read_approver_key(key))
    except BadKeyError:
        return "unreadable"
