"""Records of calls: the intent before anything leaves, the completion when it is over.

On the way of every call: what repeats is spelled once and kept as bytes, and nothing is parsed
that was not parsed already. Without a log nothing is written down.
"""

import time

import structlog

from shared.audit.log import AuditLog, Tell
from shared.errors import ResetCode
from shared.grant import Grant
from shared.jsonrpc.outcome import Look, Outcome, suspicious
from shared.link.driver import LinkDriver
from shared.wire.codec import OpenHead
from tunnel_client.audit.spelling import COMPLETION, Spelling
from tunnel_client.judge import Asks, Passed, Verdict
from tunnel_client.upstream.base import Headers, UpstreamRequest, is_event_stream

logger = structlog.get_logger("tunnel_client.audit")

UNKNOWN = "delivery_unknown"
_RESULTS = {
    ResetCode.CANCELLED: "cancelled",
    ResetCode.REVOKED: "revoked_in_flight",
    ResetCode.NO_GRANT: "revoked_in_flight",
    ResetCode.TIMEOUT: "timeout",
    ResetCode.UPSTREAM_UNREACHABLE: "unreachable",
}
"""What is said of an exchange that ended early; of the rest nobody knows what the upstream did."""
_ANSWERED = frozenset(Outcome)


class Call:
    """One exchange whose intent is written down, until its completion is."""

    # Most never change these: as members of the class they cost nothing.
    recorded = True
    dispatched = False
    hits = 0
    _bytes = 0
    _status = 0
    _headers: Headers = []  # noqa: RUF012 - never changed, only replaced
    _look: Look | None = None
    _result: str | None = None

    def __init__(self, log: AuditLog, name: bytes, seq: int, waits: bool) -> None:
        self._log = log
        self.name = name
        self.seq = seq
        self.waits = waits
        """Must the intent be on the disk before anything leaves?"""
        self._began = time.monotonic()

    def head(self, status: int, headers: Headers) -> None:
        """The answer begins."""
        self._status = status
        self._headers = headers

    def data(self, chunk: bytes, end: bool) -> None:
        """Some of the answer goes on its way, all that is left of it with `end`."""
        self._bytes += len(chunk)
        look = self._look
        if look is None:
            if end and not suspicious(chunk):
                self._answered(Outcome.OK)
                return
            look = self._look = Look(events=is_event_stream(self._headers))
        look.feed(chunk)
        if end:
            self._answered(look.end())

    def _answered(self, outcome: Outcome) -> None:
        if outcome is Outcome.OK and self._status >= 400:
            outcome = Outcome.PROTOCOL_ERROR
        self._result = outcome

    def failed(self, code: ResetCode) -> None:
        """The exchange ends early, by this side."""
        self._result = _RESULTS.get(code, UNKNOWN)

    def cut(self, code: ResetCode, *, lost: bool) -> None:
        """The exchange ends early, by the other side; `lost`: the link is gone."""
        self._result = UNKNOWN if lost else _RESULTS.get(code, UNKNOWN)

    def over(self) -> None:
        """Write down how it ended."""
        delivery = "never_sent" if not self.dispatched else "unknown"
        if self._result in _ANSWERED:
            delivery = "done"
        took = int((time.monotonic() - self._began) * 1e6)
        result = self._result or UNKNOWN
        self._log.take_late(
            COMPLETION
            % (
                *(self._bytes, self.name, delivery.encode(), self.seq, result.encode()),
                *(self.hits, self._log.size, self._status, time.time_ns() // 1000, took),
            )
        )


class Unrecorded(Call):
    """An exchange of which nothing is written down."""

    recorded = False
    waits = False

    def __init__(self) -> None: ...

    def head(self, status: int, headers: Headers) -> None: ...

    def data(self, chunk: bytes, end: bool) -> None: ...

    def failed(self, code: ResetCode) -> None: ...

    def cut(self, code: ResetCode, *, lost: bool) -> None: ...

    def over(self) -> None: ...


UNRECORDED = Unrecorded()


class Calls:
    """Writes what becomes of the exchanges of one client.

    `reads_without`: what changes nothing may go on while the log cannot be written.
    """

    def __init__(
        self,
        log: AuditLog | None = None,
        spelling: Spelling | None = None,
        *,
        reads_without: bool = False,
    ) -> None:
        self._log = log
        self._spelling = spelling
        self._reads_without = reads_without
        self._ready: list[tuple[Call, Tell]] = []
        self.unrecorded = 0
        """Exchanges that went on although they could not be written down."""

    def intend(
        self,
        link: str,
        stream: int,
        grant: Grant,
        request: UpstreamRequest,
        verdict: Passed | Asks,
        permit: str = "",
    ) -> Call | None:
        """Write down what is about to happen; None: it must not happen."""
        log, spelling = self._log, self._spelling
        if log is None or spelling is None:
            return UNRECORDED
        known = spelling.known(grant, request, verdict)
        waits = known.waits or bool(permit)
        if log.failing is not None:
            if waits or not self._reads_without:
                return None
            self.unrecorded += 1
            return UNRECORDED
        name = b"%b.%d" % (link.encode(), stream)
        seq = log.take_late(spelling.intent(name, log.size, known, request, permit))
        return Call(log, name, seq, waits)

    def when_written(self, driver: LinkDriver, call: Call, go: Tell) -> None:
        """Have `go` called when what was intended in this turn of the loop is written down.

        With why it is not, where the call must not go on without.
        """
        self._ready.append((call, go))
        if len(self._ready) == 1:
            driver.at_turn_end(self._written)

    def _written(self) -> None:
        log, ready = self._log, self._ready
        self._ready = []
        why = None if log is None else log.flush()
        for call, go in ready:
            try:
                if why is None and call.waits and log is not None:
                    log.durable(call.seq, go)
                else:
                    go(None if self._reads_without and not call.waits else why)
            except Exception:
                # One that cannot be handed over must not keep the others of its turn.
                logger.exception("a call could not be handed over", call=call.name.decode())

    def refused(
        self,
        link: str,
        stream: int,
        why: str,
        head: OpenHead | None = None,
        grant: Grant | None = None,
        request: UpstreamRequest | None = None,
        verdict: Verdict | None = None,
    ) -> Call:
        """Write down that nothing of an exchange reaches its upstream."""
        if self._log is not None and self._spelling is not None:
            facts = self._spelling.refused(why, head, grant, request, verdict)
            self._log.add("call.refused", {"call": f"{link}.{stream}", **facts})
        return UNRECORDED
