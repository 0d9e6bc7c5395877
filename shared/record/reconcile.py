"""Holds a relay's log against those of its clients, call by call; pure, over records in order.

The logs are read side by side, by time, so that only calls stay in memory of which not everything
is known yet. What one end alone knows is a fault, unless it could not be known to the other: its
log does not reach there, could not be written then, or the call never came over a link that broke.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.record.clocks import Clocks
from shared.record.differences import (
    CLIENT_ONLY,
    CLOCKS,
    IN_GAP,
    NOT_COVERED,
    RELAY_ONLY,
    Difference,
    Reconciled,
)
from shared.record.gaps import Gaps, Spans, covers, joined
from shared.record.model import CLOSED, COMPLETION, GAP, INTENT, OPENED, REFUSED
from shared.record.pairs import Pair, Side, compare
from shared.record.strange import Strange

WINDOW = 600.0
"""Seconds that clocks of both ends may be apart, and a call be on its way."""
SLACK = 5.0
"""Seconds at the edges of a log in which nothing is held against the other."""
MAX_FINDINGS = 1000
MAX_ALONE = 200_000
"""Calls of which one end has not spoken yet; of more the oldest are not waited for."""
KEPT_ALONE = 20_000
"""So many are waited for however old they are: a clock may have been set, and nobody says which."""
MAX_LINKS = 100_000
MAX_GAPS = 10_000
RELAY = "relay"

_NO_END = "no completion"

Records = Iterable[Mapping[str, Any]]


class _Log:
    """One log, as far as it was read."""

    def __init__(self, name: str, records: Records) -> None:
        self.name = name
        self._records: Iterator[Mapping[str, Any]] = iter(records)
        self.first: int | None = None
        self.now = self.clock = 0
        self.opened = -1
        self.closed = False
        self.over = False
        self.gaps: list[tuple[int, int]] = []
        self.head: Mapping[str, Any] | None = None
        self.advance()

    def advance(self) -> None:
        """Read the next record; `now` never goes back, and `clock` does when the clock is set."""
        self.head = next(self._records, None)
        if self.head is None:
            self.over = True
            return
        when = _number(self.head.get("time"))
        self.first = when if self.first is None else self.first
        self.now, self.clock = max(self.now, when), when

    def note(self, facts: Mapping[str, Any]) -> None:
        """Remember what a record says of the log itself."""
        kind = facts.get("kind")
        self.closed = kind == CLOSED
        if kind == OPENED:
            self.opened = _number(facts.get("seq"))
        elif kind == GAP and len(self.gaps) < MAX_GAPS:
            began, ended = _number(facts.get("began")), _number(facts.get("ended"))
            self.gaps.append((min(began, ended), max(began, ended)))  # the clock may have been set

    def reaches(self, when: int, slack: int) -> bool:
        """Tell whether something of that time would stand in it."""
        if self.first is None or when < self.first + slack:
            return False
        return not self.over or when <= self.now - slack

    def owes(self, side: Side, other: Side | None, window: int) -> bool:
        """Tell whether the end of a call should be in it by now."""
        if self.closed or side.seq < self.opened:
            return True
        return other is not None and other.ended and other.end_time < self.now - window


def reconcile(
    relay: Records,
    clients: Mapping[str, Records],
    *,
    slack: float = SLACK,
    window: float = WINDOW,
) -> Reconciled:
    """Return what the logs of a relay and of its clients, by name, say differently; total.

    `slack` and `window` in seconds. Records are parsed JSON objects, in the order of their log.
    """
    return _Matching(relay, clients, int(slack * 1e6), int(window * 1e6)).run()


class _Matching:
    def __init__(
        self, relay: Records, clients: Mapping[str, Records], slack: int, window: int
    ) -> None:
        self._relay = _Log(RELAY, relay)
        self._clients = [_Log(name, records) for name, records in clients.items()]
        self._slack, self._window = slack, window
        self._patience = max(slack, window)
        """When a call is that old, it is known whether the other log covers it."""
        self._links: dict[str, _Log] = {}
        self._alone: dict[str, Pair] = {}
        """One end has spoken; the oldest first."""
        self._late: dict[str, Pair] = {}
        """The other end should have spoken, and this one has not said all."""
        self._both: dict[str, Pair] = {}
        self._unshown: dict[tuple[str, str], Spans] = {}
        """Times of what may lie in a gap and is not among the findings, by kind and log."""
        self._strange = Strange()
        self._clocks = Clocks(self._window)
        self._report = Reconciled(clients=dict.fromkeys(clients, 0))

    def run(self) -> Reconciled:
        logs = [self._relay, *self._clients]
        while ready := [each for each in logs if each.head is not None]:
            # Where the clock was set back both logs stand still for a while: side by side even so.
            log = min(ready, key=lambda each: (each.now, each.clock))
            facts, now = log.head or {}, log.now
            log.note(facts)
            self._see(log, facts)
            log.advance()
            self._expire(now)
        for pair in (*self._alone.values(), *self._late.values()):
            self._settle_alone(pair)
        for pair in self._both.values():
            self._settle(pair)
        for found in self._strange.findings({link: log.name for link, log in self._links.items()}):
            self._add(found)
        for found in self._clocks.findings():
            self._add(found)
        self._allow_for_gaps()
        return self._report

    # What a record says --------------------------------------------------------------------------

    def _see(self, log: _Log, facts: Mapping[str, Any]) -> None:
        kind, call = facts.get("kind"), facts.get("call")
        of_relay = log is self._relay
        if not of_relay:
            link = facts.get("link")
            link = link if isinstance(link, str) else _link(call)
            if link and len(self._links) < MAX_LINKS:
                self._links.setdefault(link, log)
        if not isinstance(call, str) or not call:
            return
        call = call[:128]
        if kind == INTENT or (kind == REFUSED and not of_relay):
            self._begin(log, call, Side(facts, refused=kind == REFUSED))
        elif kind == COMPLETION:
            self._end(log, call, facts)

    def _begin(self, log: _Log, call: str, side: Side) -> None:
        of_relay = log is self._relay
        if of_relay:
            self._report.relay += 1
        else:
            self._report.clients[log.name] += 1
        pair = self._alone.get(call) or self._late.get(call) or self._both.get(call)
        if pair is None:
            pair = self._alone[call] = Pair(call, side.time, log.now)
        elif (pair.relay if of_relay else pair.client) is not None:
            self._find("begun twice", pair, log.name, grave=True)
            return
        if of_relay:
            pair.relay = side
        else:
            pair.client, pair.log = side, log.name
        if pair.relay is not None and pair.client is not None:
            self._alone.pop(call, None)
            self._late.pop(call, None)
            self._both[call] = pair
            self._settle_if_whole(pair)

    def _end(self, log: _Log, call: str, facts: Mapping[str, Any]) -> None:
        pair = self._alone.get(call) or self._late.get(call) or self._both.get(call)
        side = None if pair is None else (pair.relay if log is self._relay else pair.client)
        if pair is None or side is None:
            return  # its intent was removed, or `verify` says that there is none
        side.end(facts)
        if call in self._both:
            self._settle_if_whole(pair)
        elif call in self._late:
            del self._late[call]
            self._settle_alone(pair)

    def _expire(self, now: int) -> None:
        while self._alone:
            call, pair = next(iter(self._alone.items()))
            count = len(self._alone)
            crowded = count > MAX_ALONE
            if count <= KEPT_ALONE or (pair.now >= now - self._patience and not crowded):
                return
            del self._alone[call]
            self._report.hurried += crowded
            side = pair.relay or pair.client
            if side is not None and not side.ended and not crowded:
                self._late[call] = pair
            else:
                self._settle_alone(pair)

    # What comes of a call ------------------------------------------------------------------------

    def _settle_if_whole(self, pair: Pair) -> None:
        if all(side is not None and side.ended for side in (pair.relay, pair.client)):
            del self._both[pair.call]
            self._settle(pair)

    def _settle(self, pair: Pair) -> None:
        relay, client = pair.relay, pair.client
        if relay is None or client is None:
            return
        found = list(compare(relay, client))
        for log, side, other in (
            (self._relay, relay, client),
            (self._log(pair), client, relay),
        ):
            if log is not None and not side.ended:
                grave = log.owes(side, other, self._window)
                found.append((_NO_END if grave else "under way", log.name, grave))
        for kind, said, grave in found:
            self._find(kind, pair, said, grave=grave)
        self._clocks.see(relay.time - client.time, _difference(CLOCKS, pair, "", grave=False))
        self._report.matched += not any(grave for _, _, grave in found)

    def _settle_alone(self, pair: Pair) -> None:
        if pair.client is not None:
            covered = self._covers(self._relay, pair)
            self._find(CLIENT_ONLY if covered else NOT_COVERED, pair, pair.log, grave=covered)
            self._must_end(self._log(pair), pair.client, pair)
        elif pair.relay is not None:
            self._relay_alone(pair, pair.relay)

    def _relay_alone(self, pair: Pair, side: Side) -> None:
        self._must_end(self._relay, side, pair)
        log = self._links.get(_link(pair.call))
        if log is None:
            covering = [each.name for each in self._clients if self._covers(each, pair)]
            self._strange.add(_link(pair.call), covering, _difference("", pair, "", grave=True))
            return
        pair.log = log.name
        if not self._covers(log, pair):
            self._find(NOT_COVERED, pair, "", grave=False)
        elif not side.ended:
            self._find("under way", pair, RELAY, grave=False)
        elif side.answered:
            self._find(RELAY_ONLY, pair, side.result, grave=True)
        else:
            self._find("never arrived", pair, side.result, grave=False)

    def _must_end(self, log: _Log | None, side: Side, pair: Pair) -> None:
        if log is not None and not side.ended and log.owes(side, None, self._window):
            self._find(_NO_END, pair, log.name, grave=True)

    def _covers(self, log: _Log, pair: Pair) -> bool:
        return log.reaches(pair.time, self._slack)

    def _log(self, pair: Pair) -> _Log | None:
        return next((each for each in self._clients if each.name == pair.log), None)

    # What is said of it --------------------------------------------------------------------------

    def _find(self, kind: str, pair: Pair, said: str, *, grave: bool) -> None:
        self._add(_difference(kind, pair, said, grave=grave))

    def _add(self, found: Difference) -> None:
        report = self._report
        report.kinds[found.kind] += found.calls
        report.grave += found.calls if found.grave else 0
        if len(report.findings) < MAX_FINDINGS:
            report.findings.append(found)
        elif found.kind in (RELAY_ONLY, CLIENT_ONLY):
            spans = self._unshown.setdefault((found.kind, found.log), Spans())
            spans.add(found.time, found.calls, found.last)

    def _allow_for_gaps(self) -> None:
        """What one end could not write down is not held against it."""
        report = self._report
        of_relay = joined(self._relay.gaps, self._slack)
        gaps: dict[tuple[str, str], Gaps] = {}
        for log in self._clients:
            gaps[CLIENT_ONLY, log.name] = of_relay
            gaps[RELAY_ONLY, log.name] = joined(log.gaps, self._slack)
        excused: Counter[str] = Counter()
        for (kind, name), spans in self._unshown.items():
            excused[kind] += spans.within(gaps.get((kind, name), ()))
        for found in report.findings:
            if covers(gaps.get((found.kind, found.log), ()), found.time, found.last):
                excused[found.kind] += found.calls
                found.kind, found.grave = IN_GAP, False
        report.grave -= excused.total()
        report.kinds[IN_GAP] += excused.total()
        report.kinds.subtract(excused)
        report.kinds = +report.kinds


def _difference(kind: str, pair: Pair, said: str, *, grave: bool) -> Difference:
    relay = None if pair.relay is None else pair.relay.seq
    client = None if pair.client is None else pair.client.seq
    log, when = pair.log or RELAY, pair.time
    return Difference(kind, pair.call, log, relay, client, said, grave, when, when)


def _link(call: object) -> str:
    return call.partition(".")[0] if isinstance(call, str) else ""


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
