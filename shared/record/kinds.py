"""The kinds of records that either program writes; docs/audit.md says what they are about."""

from shared.record.model import FAMILIES

_WORDS = {
    "call": "intent completion refused unauthenticated",
    "audit": "opened closed changed recovered gap tombstone viewed",
    "admin": "asked done token_made token_revoked",
    "login": "ok failed throttled over",
    "enrolment": "done refused",
    "client": "started enrolled",
    "relay": "started stopping",
    "link": "up down failed cloned cut resumed",
    "policy": "read refused written",
    "tool": "pinned classified changed told",
    "consent": "approved",
    "upstream": "added removed",
    "child": "started refused ended",
    "approval": "asked supported granted denied refused consumed expired",
    "grant": "refused over",
    "session": "created revoked cut over lifted",
    "lock": "set lifted",
    "credential": "echo listed locked",
}

WRITTEN = tuple(f"{family}.{word}" for family, words in _WORDS.items() for word in words.split())
"""All of them."""
BEGINNINGS = tuple(f"{family}." for family in FAMILIES)
"""How a kind begins."""
