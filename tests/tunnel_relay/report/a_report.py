"""Facts of an installation in which nothing is found, to be spoilt by a test."""

from copy import deepcopy
from typing import Any

from shared.policy.document import read_policy
from tunnel_relay.report.parts import Part
from tunnel_relay.report.rules import rules_of

NOW = 1_800_000_000.0
DAY = 86400.0
ONE = "1" * 32
KEY = "SHA256:aaaa"
POLICY = """\
version: 1
rules:
  - {id: looking, match: {class: [read, draft]}, effect: allow}
  - {id: changing, match: {class: write, group: staff}, effect: allow}
  - id: mailing
    match: {class: [external_send, admin]}
    effect: require_approval
    approvers: {group: [approvers], count: 2, ttl: 15m}
"""

Doc = dict[str, Any]


def tool(name: str, state: str = "pinned", kind: str | None = "read") -> Doc:
    """Return one tool as the relay lists it."""
    row = {"server": "office/git", "tool": name, "class": kind, "state": state}
    return {**row, "agreed": True}


def upstream(**more: Any) -> Doc:
    """Return a server as its client tells of it."""
    facts = {
        "name": "git",
        "transport": "stdio",
        "target": "mcp-git",
        "in_clear": False,
        "pinning": True,
        "pins": {"read": 1},
        "oldest_pin": int(NOW - DAY),
        "credential": "bearer",
        "for_each_user": True,
        "scrubbed": True,
        "variables": 0,
        "sandbox": "bubblewrap + landlock + rlimits; no network",
        "caged": True,
        "network": False,
        "consent": None,
        "any_version": False,
    }
    return facts | more


def user(name: str, *roles: str, **more: Any) -> Doc:
    """Return a user as the relay lists them."""
    facts = {
        "user": name,
        "issuer": "local",
        "subject": name,
        "name": name,
        "roles": list(roles or ("user",)),
        "groups": ["staff"],
        "servers": ["office/git"],
        "login": True,
        "created": NOW - DAY,
        "disabled": None,
        "last_login": NOW - 60,
        "passkeys": 1,
    }
    return facts | more


def session(**more: Any) -> Doc:
    """Return a living session as the relay lists it."""
    facts = {
        "id": "s" * 32,
        "fingerprint": "0a1b2c3d",
        "user": "uma",
        "agent": "bot",
        "server": "office/git",
        "created": NOW - 60,
        "expires": NOW + 3600,
        "idle": 600.0,
        "calls": 3,
    }
    return facts | more


def clean_facts() -> Doc:
    """Return what a relay without a fault answers."""
    policy = read_policy(POLICY, "policy")
    return {
        "relay": {
            "version": "0.1.0",
            "serving": True,
            "made": NOW,
            "uptime": 3600.0,
            "public_url": ["https://relay.example.com"],
            "unstored": 0,
            "store": {},
        },
        "settings": {
            "listen": {"loopback": False, "tls": True},
            "admin": {"loopback": True, "tls": False},
            "demo_certificate": False,
            "proxies": [],
            "origins": [],
            "oauth": True,
            "registration": False,
            "oidc": None,
            "issuers": [],
            "sessions": {"default_ttl": 43200.0, "max_ttl": 2592000.0, "default_idle": 3600.0},
            "webhook": False,
            "audit": {"on": True, "reads_without": False, "keep_days": 400},
        },
        "files": [file("relay key")],
        "audit": {"on": True, "failing": None, "records": 10},
        "tunnels": [
            {
                "name": "office",
                "owner": "ada",
                "owner_is": "active",
                "created": NOW - DAY,
                "disabled": False,
                "links": 1,
                "upstreams": ["git"],
                "instances": [instance()],
            }
        ],
        "servers": [
            {
                "server": "office/git",
                "clients": 1,
                "told": 1,
                "tools": 1,
                "pinned": 1,
                "new": 0,
                "changed": 0,
                "differs": 0,
                "classes": {"read": 1},
            }
        ],
        "tools": [tool("git_log")],
        "users": [user("ada", "admin"), user("abe", "admin"), user("otto", "auditor"), user("uma")],
        "agents": 1,
        "locks": [],
        "tokens": [],
        "sessions": {
            "live": 1,
            "ended": {"revoked": 2},
            "servers": {"office/git": 1},
            "never_idle": 0,
            "unnarrowed": 1,
            "longest": [session()],
        },
        "approvals": {"states": {"pending": 1}, "by_keys": 1, "all": 1},
        "policy": {
            "digest": policy.digest,
            "problem": None,
            "environment": None,
            "rules": rules_of(policy),
        },
        "map": [],
        "left_out": {},
    }


def instance(**more: Any) -> Doc:
    """Return an enrolled client as the relay lists it."""
    facts = {"id": ONE, "key": KEY, "host": "vm-1", "created": NOW - DAY, "connects": 3}
    return {**facts, "locked": False, "connected": True} | more


def file(what: str, **more: Any) -> Doc:
    """Return a file that is the program's alone."""
    facts = {"what": what, "path": "/var/lib/x", "mode": "0600", "open": False}
    return {**facts, "changed": NOW - DAY} | more


def clean_log() -> Doc:
    """Return a log that was verified."""
    return {
        "looked": True,
        "problem": None,
        "ok": True,
        "records": 10,
        "removed": 0,
        "signed": 9,
        "checkpoints": 2,
        "unproven": None,
        "first_bad": None,
        "reason": None,
        "torn": False,
        "open": 0,
        "odd": [],
        "key": KEY,
        "checkpoint": "mcp-tunnel/relay\n10\nabc=\n\n- x y\n",
        "sample": [],
    }


def clean_part(**more: Any) -> Part:
    """Return a client's word in which nothing is found."""
    policy = read_policy(POLICY, "policy")
    facts: Doc = {
        "kind": "tunnel-client report",
        "version": "0.1.0",
        "made": NOW,
        "tunnel": "office",
        "instance": ONE,
        "key": KEY,
        "policy": {
            "digest": policy.digest,
            "problem": None,
            "environment": None,
            "rules": rules_of(policy),
            "approver_keys": {"carol": "passkey"},
        },
        "audit": {
            "on": True,
            "reads_without": False,
            "problem": None,
            "ok": True,
            "records": 5,
            "signed": 5,
            "unproven": None,
            "first_bad": None,
            "reason": None,
        },
        "files": [file("client key")],
        "upstreams": [upstream()],
    }
    return Part(deepcopy(facts) | more, policy)
