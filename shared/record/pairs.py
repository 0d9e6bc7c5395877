"""What both ends say of one call, and what of it does not agree; pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.policy.methods import TOOL, TOOL_NAME
from shared.record.model import Delivery, Result, user_text
from shared.record.redact import PREFIX, REST, TAG_HEX

ANSWERED = frozenset({Result.OK, Result.TOOL_ERROR, Result.PROTOCOL_ERROR})
_TAG = re.compile(rf"{PREFIX}[0-9a-f]{{{TAG_HEX}}}")
_NAME, _APPROVAL = "other tool", "other approval"
_RELAY_MAY_LACK = frozenset({_NAME, "other class", "other definition"})
"""The relay has a tool's facts from its client alone, which tells them later than it knows them."""

Said = tuple[str, str, bool]
"""What kind of difference, more about it, and whether it is grave."""


class Side:
    """What one end wrote down of a call."""

    __slots__ = (
        *("always", "approval", "closed_by", "cut", "definition", "delivery", "end_time", "ended"),
        *("hits", "http", "method", "name", "refused", "result", "seq", "size", "status"),
        *("time", "tool_class"),
    )

    def __init__(self, facts: Mapping[str, Any], *, refused: bool = False) -> None:
        what, who = _part(facts, "what"), _part(facts, "who")
        approval = _part(facts, "approval")
        self.seq, self.time = _count(facts.get("seq")), _count(facts.get("time"))
        self.always = {
            "body": _text(facts.get("body")),
            "user": user_text(who.get("user")),
            "agent": _text(who.get("agent")),
            "session": _text(who.get("session")),
            # The relay names it with its tunnel.
            "server": _text(what.get("server")).rpartition("/")[2],
        }
        """What stands in every intent, at either end."""
        self.cut = REST in what
        """Was what is called too long to be written down?"""
        self.http, self.method = _text(what.get("http")), _text(what.get("method"))
        self.name = _text(what.get("name"))
        self.tool_class = _text(what.get("class"))
        self.definition = _text(what.get("definition"))
        self.approval = (
            *(_text(approval.get(name)) for name in ("id", "arguments")),
            *(_texts(approval.get(name)) for name in ("approvers", "keys")),
        )
        self.refused = self.ended = refused
        self.end_time = self.time
        self.result: str = Result.DENIED if refused else ""
        self.delivery: str = Delivery.NEVER_SENT if refused else ""
        self.closed_by = ""
        self.size = self.hits = self.status = 0

    def end(self, facts: Mapping[str, Any]) -> None:
        """Take its completion."""
        self.ended = True
        self.end_time = _count(facts.get("time"))
        self.result, self.delivery = _text(facts.get("result")), _text(facts.get("delivery"))
        self.closed_by = _text(facts.get("closed_by"))
        self.size, self.hits = _count(facts.get("bytes")), _count(facts.get("scrub_hits"))
        self.status = _count(facts.get("status"))

    @property
    def answered(self) -> bool:
        """Does it say that there was a whole answer?"""
        return self.result in ANSWERED or self.delivery == Delivery.DONE


@dataclass(slots=True)
class Pair:
    """One call at both ends, as far as it is known."""

    call: str
    time: int
    """What the record says that spoke of it first."""
    now: int
    """The time of that log then, which is not set back when a clock is."""
    relay: Side | None = None
    client: Side | None = None
    log: str = ""
    """Name of the client's log."""


def compare(relay: Side, client: Side) -> Iterator[Said]:
    """Yield what both ends say differently of a call that both know."""
    for end, side in (("relay", relay), ("client", client)):
        if lacking := _lacking(side, client):
            yield "incomplete record", f"no {', '.join(lacking)} at the {end}", True
    for name, here in relay.always.items():
        there = client.always[name]
        if here and there and here != there:
            yield f"other {name}", _said(here, there), True
    for kind, here, there in (
        ("other method", relay.http, client.http),
        ("other method", relay.method, client.method),
        (_NAME, relay.name, client.name),
        ("other class", relay.tool_class, client.tool_class),
        ("other definition", relay.definition, client.definition),
        *((_APPROVAL, *both) for both in zip(relay.approval, client.approval, strict=True)),
    ):
        if here != there and not _excused(kind, here, there, relay, client):
            yield kind, _said(here, there), True
    if client.hits:
        yield "secret in the answer", f"taken out {client.hits} times", False
    if relay.ended and client.ended:
        yield from _ends(relay, client)


def _lacking(side: Side, client: Side) -> list[str]:
    """Return what an end does not say and always would."""
    if side.refused:
        return []  # it may have been refused before it was read
    excused = {"server"} if side.cut and client.refused else set()
    return [name for name, said in side.always.items() if not said and name not in excused]


def _excused(kind: str, here: str, there: str, relay: Side, client: Side) -> bool:
    """Tell whether two logs that are kept well may say this differently."""
    if not there:
        # Nor is an approval used where the client's policy does not ask for one any more.
        return client.refused or kind == _APPROVAL
    if not here:
        # A method as long as that is in no policy: the client refuses it.
        return kind in _RELAY_MAY_LACK or (relay.cut and client.refused)
    # A client writes a tag of what an agent called if it could be no name.
    tagged = _TAG.fullmatch(there) is not None and TOOL_NAME.fullmatch(here) is None
    return kind == _NAME and tagged


def _said(here: str, there: str) -> str:
    return f"{here[:80] or 'nothing'} at the relay, {there[:80] or 'nothing'} at the client"


def _ends(relay: Side, client: Side) -> Iterator[Said]:
    said = f"{relay.result} at the relay, {client.result} at the client"
    if client.refused:
        # It is told by an ordinary answer, or by a reset.
        if relay.result == Result.OK and TOOL in (relay.method, client.method):
            yield "results disagree", said, True
    elif relay.delivery == Delivery.NEVER_SENT and _was_sent(client):
        yield "sent after all", said, True
    elif relay.answered and client.answered:
        if relay.result != client.result:
            yield "results disagree", said, True
        elif relay.status != client.status:
            yield "results disagree", _said(str(relay.status), str(client.status)), True
        elif relay.size != client.size:
            yield "other length", f"{relay.size} and {client.size} bytes", False
    elif client.answered:
        yield "answer lost on the way", said, False
    elif relay.answered:
        # A client that is killed right after it answered has not said so yet.
        grave = client.closed_by == ""
        yield ("results disagree" if grave else "end not written"), said, grave


def _was_sent(client: Side) -> bool:
    # To be unreachable is the client's own promise that nothing was sent.
    return client.delivery != Delivery.NEVER_SENT and client.result != Result.UNREACHABLE


def _part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> str:
    return ", ".join(map(_text, value)) if isinstance(value, list) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
