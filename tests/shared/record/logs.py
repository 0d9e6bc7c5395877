"""Two logs as a relay and its client write them, for tests of what reconcile says."""

from typing import Any

from shared.record.differences import Reconciled
from shared.record.reconcile import reconcile

SECOND = 1_000_000
LINK = "0123456789abcdef"
WHO = {"user": "ann", "agent": "bot", "session": "s1"}
WHAT = {"server": "files", "method": "tools/call", "name": "read", "class": "read"}


class Log:
    """Writes records down as a log does: numbered, one second after another."""

    def __init__(self, start: int = 1000) -> None:
        self.records: list[dict[str, Any]] = []
        self.now = start
        self.add("audit.opened")

    def add(self, kind: str, **facts: Any) -> int:
        seq = len(self.records)
        self.records.append({"seq": seq, "time": self.now * SECOND, "kind": kind, "v": 1, **facts})
        self.now += 1
        return seq

    def at(self, now: int) -> "Log":
        self.now = now
        return self

    def begin(self, stream: int, link: str = LINK, **facts: Any) -> int:
        facts = {"body": "b" * 64, "what": WHAT, "who": WHO, **facts}
        return self.add("call.intent", call=f"{link}.{stream}", **facts)

    def end(
        self, stream: int, intent: int, result: str = "ok", *, link: str = LINK, **facts: Any
    ) -> int:
        delivery = "done" if result in ("ok", "tool_error", "protocol_error") else "unknown"
        ended = {"result": result, "delivery": delivery, "bytes": 7, "scrub_hits": 0, **facts}
        return self.add("call.completion", call=f"{link}.{stream}", intent=intent, **ended)

    def call(self, stream: int, result: str = "ok", **facts: Any) -> "Log":
        self.end(stream, self.begin(stream), result, **facts)
        return self


def both(*, until: int = 5000) -> tuple[Log, Log]:
    """Return two logs that know one call each end agrees on."""
    relay, client = Log(), Log()
    client.add("link.up", link=LINK)
    relay.at(1100).call(1)
    client.at(1100).call(1)
    return relay, client


def found(relay: Log, client: Log, *, until: int = 9000, **options: Any) -> Reconciled:
    for log in (relay, client):
        log.at(until).add("audit.closed")
    return reconcile(relay.records, {"c": client.records}, slack=5, **options)


def kinds(report: Reconciled) -> dict[str, bool]:
    return {each.kind: each.grave for each in report.findings}
