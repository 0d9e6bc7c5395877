"""What both ends say of one call, and what of it does not agree; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.record.model import Delivery, Result, user_text

ANSWERED = frozenset({Result.OK, Result.TOOL_ERROR, Result.PROTOCOL_ERROR})
_TOOL = "tools/call"
_TAG = "hmac:"

Said = tuple[str, str, bool]
"""What kind of difference, more about it, and whether it is grave."""


class Side:
    """What one end wrote down of a call."""

    __slots__ = (
        *("approval", "body", "closed_by", "delivery", "end_time", "ended", "hits", "method"),
        *("name", "refused", "result", "seq", "server", "size", "time", "tool_class", "who"),
        "definition",
    )

    def __init__(self, facts: Mapping[str, Any], *, refused: bool = False) -> None:
        what, who = _part(facts, "what"), _part(facts, "who")
        approval = _part(facts, "approval")
        self.seq, self.time = _count(facts.get("seq")), _count(facts.get("time"))
        self.body = _text(facts.get("body"))
        self.who = tuple(
            user_text(who.get("user")) if name == "user" else _text(who.get(name))
            for name in ("user", "agent", "session")
        )
        server = _text(what.get("server"))
        self.server = server.rpartition("/")[2]  # the relay names it with its tunnel
        self.method, self.name = _text(what.get("method")), _text(what.get("name"))
        self.tool_class = _text(what.get("class"))
        self.definition = _text(what.get("definition"))
        self.approval = (_text(approval.get("id")), _text(approval.get("arguments")))
        self.refused = self.ended = refused
        self.end_time = self.time
        self.result: str = Result.DENIED if refused else ""
        self.delivery: str = Delivery.NEVER_SENT if refused else ""
        self.closed_by = ""
        self.size = self.hits = 0

    def end(self, facts: Mapping[str, Any]) -> None:
        """Take its completion."""
        self.ended = True
        self.end_time = _count(facts.get("time"))
        self.result, self.delivery = _text(facts.get("result")), _text(facts.get("delivery"))
        self.closed_by = _text(facts.get("closed_by"))
        self.size, self.hits = _count(facts.get("bytes")), _count(facts.get("scrub_hits"))

    @property
    def answered(self) -> bool:
        """Does it say that there was a whole answer?"""
        return self.result in ANSWERED or self.delivery == Delivery.DONE


@dataclass(slots=True)
class Pair:
    """One call at both ends, as far as it is known."""

    call: str
    time: int
    relay: Side | None = None
    client: Side | None = None
    log: str = ""
    """Name of the client's log."""


def compare(relay: Side, client: Side) -> Iterator[Said]:
    """Yield what both ends say differently of a call that both know."""
    for kind, here, there in (
        ("other body", relay.body, client.body),
        *zip(("other user", "other agent", "other session"), relay.who, client.who, strict=True),
        ("other server", relay.server, client.server),
        ("other method", relay.method, client.method),
        ("other tool", relay.name, client.name),
        ("other class", relay.tool_class, client.tool_class),
        ("other definition", relay.definition, client.definition),
        ("other approval", relay.approval[0], client.approval[0]),
        ("other approval", relay.approval[1], client.approval[1]),
    ):
        # One end may know less than the other, and a name may be a tag at one of them.
        tagged = here.startswith(_TAG) or there.startswith(_TAG)
        if here and there and here != there and not tagged:
            yield kind, f"{here[:80]} at the relay, {there[:80]} at the client", True
    if client.hits:
        yield "secret in the answer", f"taken out {client.hits} times", False
    if relay.ended and client.ended:
        yield from _ends(relay, client)


def _ends(relay: Side, client: Side) -> Iterator[Said]:
    said = f"{relay.result} at the relay, {client.result} at the client"
    if client.refused:
        # It is told by an ordinary answer, or by a reset.
        if relay.result == Result.OK and client.method == _TOOL:
            yield "results disagree", said, True
    elif relay.delivery == Delivery.NEVER_SENT and _was_sent(client):
        yield "sent after all", said, True
    elif relay.answered and client.answered:
        if relay.result != client.result:
            yield "results disagree", said, True
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


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
