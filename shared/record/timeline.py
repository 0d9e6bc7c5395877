"""A session as it went: records in order become steps, a call and its end one step; pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.record.model import COMPLETION, INTENT, REFUSED, Result, user_text

_APART = frozenset(
    {
        *("seq", "time", "kind", "v", "who", "what", "why", "arguments", "body", "call"),
        *("approval", "result", "delivery", "status", "bytes", "us", "intent", "reason"),
        *("scrub_hits", "closed_by", "session", "user", "agent", "trace", "source", "link"),
    }
)
MAX_MORE = 12


@dataclass(slots=True)
class Entry:
    """One step; texts are as they stand in the log, to be escaped by who shows them."""

    seq: int
    time: int
    kind: str
    call: str = ""
    user: str = ""
    agent: str = ""
    server: str = ""
    method: str = ""
    name: str = ""
    tool_class: str = ""
    decision: str = ""
    ground: str = "-"
    """The rule that decided, or what decided when it was none."""
    approval: str = ""
    approvers: tuple[str, ...] = ()
    result: str = ""
    """Empty: nobody has said yet how it ended."""
    delivery: str = ""
    status: int | None = None
    bytes: int | None = None
    us: int | None = None
    reason: str = ""
    scrub_hits: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def is_call(self) -> bool:
        """Is it a call, not something else that happened to the session?"""
        return self.kind in (INTENT, REFUSED)

    @property
    def title(self) -> str:
        """What happened, in few words."""
        if self.is_call:
            return f"{self.server}/{self.name or self.method or '-'}"
        return f"{self.kind} {self.name}" if self.name else self.kind

    @property
    def outcome(self) -> str:
        """How a call ended, in few words."""
        if self.kind == REFUSED:
            return f"refused: {self.reason}" if self.reason else "refused"
        if not self.result:
            return "no end yet"
        if self.decision == "allow" and self.result == Result.DENIED:
            return "denied by the private side"  # the relay's record of a call that it sent on
        extra = [] if not self.status else [f"status {self.status}"]
        extra += [] if not self.scrub_hits else [f"{self.scrub_hits} secrets taken out"]
        return self.result if not extra else f"{self.result} ({', '.join(extra)})"

    def end(self, facts: Mapping[str, Any]) -> None:
        """Take the completion of the call."""
        self.result, self.delivery = _text(facts.get("result")), _text(facts.get("delivery"))
        self.status, self.bytes = _count(facts.get("status")), _count(facts.get("bytes"))
        self.us, self.scrub_hits = _count(facts.get("us")), _count(facts.get("scrub_hits")) or 0

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        named = {name: getattr(self, name) for name in self.__slots__}
        named["class"] = named.pop("tool_class")
        return {**named, "approvers": list(self.approvers), "title": self.title}


def steps(records: Iterable[Mapping[str, Any]]) -> tuple[list[Entry], dict[str, Entry]]:
    """Return the steps in order, and those calls of which the end is not among the records."""
    found: list[Entry] = []
    under_way: dict[str, Entry] = {}
    for record in records:
        kind, call = _text(record.get("kind")), _text(record.get("call"))
        if kind == COMPLETION:
            begun = under_way.pop(call, None)
            if begun is not None:  # else its intent was shown on the page before
                begun.end(record)
            continue
        entry = _entry(record, kind, call)
        found.append(entry)
        if kind == INTENT:
            under_way[call] = entry
    return found, under_way


def _entry(record: Mapping[str, Any], kind: str, call: str) -> Entry:
    who, what, why, approval = (
        part if isinstance(part := record.get(name), Mapping) else {}
        for name in ("who", "what", "why", "approval")
    )
    approvers = approval.get("approvers")
    more = [(name, record[name]) for name in sorted(record) if name not in _APART]
    return Entry(
        seq=_count(record.get("seq")) or 0,
        time=_count(record.get("time")) or 0,
        kind=kind,
        call=call,
        user=user_text(who.get("user", record.get("user"))),
        agent=_text(who.get("agent", record.get("agent"))),
        server=_text(what.get("server")),
        method=_text(what.get("method")) or _text(what.get("http")),
        name=_text(what.get("name")),
        tool_class=_text(what.get("class")),
        decision=_text(why.get("decision")),
        ground=_text(why.get("rule")) or _text(why.get("by")) or "-",
        approval=_text(approval.get("id")),
        approvers=tuple(map(str, approvers)) if isinstance(approvers, list) else (),
        reason=_text(record.get("reason")),
        more=dict(more[:MAX_MORE]),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
