"""What a record says, for whoever reads one; docs/audit.md explains every member.

Writers spell records with `shared.record.encode`. A reader is total: bytes give a `Record` or
`RecordError`, and members that a later version adds are kept in `facts`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import jiter

VERSION = 1
MAX_RECORD = 256 * 1024
"""Bytes of the longest record; see `shared.record.encode.shorten`."""


class RecordError(ValueError):
    """Bytes that are no record; says what is wrong and repeats nothing of them."""


class Result(StrEnum):
    """How a call ended."""

    OK = "ok"
    TOOL_ERROR = "tool_error"
    PROTOCOL_ERROR = "protocol_error"
    DENIED = "denied"
    TIMEOUT = "timeout"
    REVOKED = "revoked_in_flight"
    UNKNOWN = "delivery_unknown"
    CANCELLED = "cancelled"
    UNREACHABLE = "unreachable"


class Delivery(StrEnum):
    """What is known of the request having reached the upstream."""

    NEVER_SENT = "never_sent"
    UNKNOWN = "unknown"
    DONE = "done"


INTENT = "call.intent"
COMPLETION = "call.completion"
REFUSED = "call.refused"
OPENED = "audit.opened"
CLOSED = "audit.closed"
CHANGED = "audit.changed"
RECOVERED = "audit.recovered"
GAP = "audit.gap"
TOMBSTONE = "audit.tombstone"
VIEWED = "audit.viewed"
ASKED = "approval.asked"
GRANTED = "approval.granted"

KINDS = {
    INTENT: "a call is about to be dispatched",
    COMPLETION: "it is over",
    REFUSED: "a call went no further: intent and completion in one; with `count`, `began` and"
    " `ended` where many were counted together",
    "call.unauthenticated": "calls without a session, counted together by reason and source",
    OPENED: "a writer took the log: `origin`, `key` that signs its checkpoints, `version`;"
    " `unproven` when what it found should have been signed and was not: why",
    CLOSED: "it gave the log back",
    CHANGED: "settings of the log changed: the last record under the old ones",
    RECOVERED: "the writer before was killed: `torn` bytes cut off, `open` calls ended",
    GAP: "nothing could be written from `began` to `ended`: `refused` records, `lost` ones, `why`",
    TOMBSTONE: "records below `size` were removed by `approvers`; the rest follows `hash`",
    VIEWED: "somebody looked at records, or at what stands in them for auditors only",
}
"""Kinds that both programs write, and what each says."""

FAMILIES = {
    "call": "calls",
    "audit": "the log itself",
    "admin": "what an admin did: `admin.` and the action",
    "login": "logins: ok, failed, throttled, over",
    "enrolment": "client instances: enrolled, refused",
    "client": "the client: started, enrolled",
    "relay": "the relay: started, stopping",
    "link": "links: up, down, failed, cloned",
    "policy": "policy files: read, refused",
    "tool": "tools: pinned, classified, changed; what a client told of them",
    "pin": "pins",
    "consent": "what may be started on this machine",
    "upstream": "upstreams that were added or removed",
    "child": "programs: started, refused, ended",
    "approval": "approvals: asked, supported, granted, denied, refused, consumed, expired",
    "grant": "grants of sessions: refused, over",
    "session": "sessions: created, revoked, cut, over, lifted",
    "lock": "locks: set, lifted",
    "credential": "secrets of upstreams, seen in what they answered",
}
"""What the first word of a kind is about."""

MEMBERS = {
    "v": "version of this format",
    "seq": "number of the record in its log, from 0, without gaps",
    "time": "microseconds since 1970, by the clock of whoever wrote it",
    "kind": "what it is about",
    "call": "the call, by the same name at both ends: link, dot, stream",
    "who": "who called, as authenticated; `who.claimed` is not",
    "who.user": "the user: a name, or `ISSUER#SUBJECT`",
    "who.agent": "the agent, as registered",
    "who.session": "the public id of the session, never its token",
    "who.claimed": "what the agent says it is; believed by nobody",
    "what": "what was called",
    "what.server": "name of the upstream, without its tunnel",
    "what.tunnel": "the tunnel it is behind, at the relay, in what is no call that was sent",
    "what.http": "HTTP method",
    "what.method": "MCP method",
    "what.name": "the tool or prompt; a tag when it could be no name",
    "what.class": "class of the tool, as the operator set it",
    "what.definition": "SHA-256 of the tool's whole definition; at a call, once it is pinned",
    "why": "what decided",
    "why.decision": "`allow`, `deny` or `require_approval`",
    "why.rule": "the rule of the policy",
    "why.policy": "SHA-256 of the policy",
    "why.by": "what decided: `rule`, or what did when it was none",
    "arguments": "by the names that the tool declares: a tag, or the value where it may be clear",
    "body": "SHA-256 of the request's bytes, as they passed",
    "trace": "W3C trace id, a dash and the agent's span, when the agent sent them",
    "source": "address the request came from",
    "request": "the number that the agent was told",
    "approval": "the approval that let it pass",
    "approval.id": "its id",
    "approval.approvers": "who gave it",
    "approval.keys": "fingerprints of the keys that signed it",
    "approval.arguments": "digest of the arguments that were approved",
    "intent": "`seq` of the intent that this record ends",
    "result": "how it ended",
    "delivery": "`never_sent`, `unknown` or `done`",
    "status": "HTTP status of the upstream; 0 when there was none",
    "bytes": "bytes of the answer",
    "us": "microseconds from intent to end",
    "scrub_hits": "how often a secret was taken out of the answer",
    "closed_by": "`restart` when the writer of the intent did not live to say more",
    "reason": "why it was refused",
}
"""Every member that a record of a call may have, by its path."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who called. Empty texts: it is not known."""

    user: str = ""
    agent: str = ""
    session: str = ""
    claimed: str = ""


@dataclass(frozen=True, slots=True)
class What:
    """What was called."""

    server: str = ""
    http: str = ""
    method: str = ""
    name: str = ""
    tool_class: str = ""
    definition: str = ""
    tunnel: str = ""


@dataclass(frozen=True, slots=True)
class Why:
    """What decided."""

    decision: str = ""
    rule: str = ""
    policy: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval that a call used, or that a person gave."""

    id: str = ""
    approvers: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A whole record. `facts` is what the members here do not say."""

    seq: int
    time: int
    kind: str
    version: int = VERSION
    call: str = ""
    who: Who = field(default_factory=Who)
    what: What = field(default_factory=What)
    why: Why = field(default_factory=Why)
    arguments: Mapping[str, Any] = field(default_factory=dict)
    body: str = ""
    trace: str = ""
    source: str = ""
    request: str = ""
    approval: Approval | None = None
    intent: int | None = None
    result: str = ""
    delivery: str = ""
    status: int = 0
    bytes: int = 0
    us: int = 0
    scrub_hits: int = 0
    closed_by: str = ""
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def parse(record: bytes) -> dict[str, Any]:
    """Return the JSON object of a record, its four first members checked; raises RecordError."""
    if len(record) > MAX_RECORD:
        raise RecordError("longer than a record")
    try:
        found = jiter.from_json(record, allow_inf_nan=False, catch_duplicate_keys=True)
    except ValueError:
        raise RecordError("no strict JSON") from None
    if not isinstance(found, dict):
        raise RecordError("no object")
    return checked(found)


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """Return an object whose four first members are what they have to be; raises RecordError."""
    for name in ("seq", "time", "v"):
        value = found.get(name)
        # The type itself: asked of every record, and true is a number to `isinstance`.
        if type(value) is not int or value < 0:
            raise RecordError(f"{name} is no number")
    if not isinstance(found.get("kind"), str):
        raise RecordError("kind is no text")
    return found


def read(record: bytes) -> Record:
    """Return what a record says; raises RecordError."""
    found = parse(record)
    seq, time, kind = found.pop("seq"), found.pop("time"), found.pop("kind")
    values: dict[str, Any] = {"seq": seq, "time": time, "kind": kind, "version": found.pop("v")}
    for name, take in _TAKEN.items():
        if name in found and (value := take(found[name])) is not None:
            del found[name]
            values[name] = value
    return Record(**values, facts=found)


def user_text(user: object) -> str:
    """Return a user as one text; of issuer and subject both with a space between."""
    if isinstance(user, (list, tuple)):
        return " ".join(one for one in user if isinstance(one, str))
    return user if isinstance(user, str) else ""


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and _is_count(value) else None


def _object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _of(make: Callable[..., Any], renamed: Mapping[str, str]) -> Callable[[object], Any]:
    names = {each: renamed.get(each, each) for each in make.__dataclass_fields__}  # type: ignore[attr-defined]

    def take(value: object) -> Any:
        if not isinstance(value, dict):
            return None
        given = {at: _plain(value.get(name)) for at, name in names.items()}
        return make(**{at: one for at, one in given.items() if one is not None})

    return take


def _plain(value: object) -> object:
    if isinstance(value, list):
        return tuple(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) else None


def _who(value: object) -> Who | None:
    if not isinstance(value, dict):
        return None
    agent, session, claimed = (_text(value.get(each)) or "" for each in Who.__slots__[1:])
    return Who(user_text(value.get("user")), agent, session, claimed)


_TAKEN: dict[str, Callable[[object], Any]] = {
    "who": _who,
    "what": _of(What, {"tool_class": "class"}),
    "why": _of(Why, {}),
    "approval": _of(Approval, {}),
    "arguments": _object,
    **dict.fromkeys(("call", "body", "trace", "source", "request", "result"), _text),
    **dict.fromkeys(("delivery", "closed_by", "reason"), _text),
    **dict.fromkeys(("intent", "status", "bytes", "us", "scrub_hits"), _count),
}
