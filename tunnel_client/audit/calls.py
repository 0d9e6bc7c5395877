"""Records of calls: the intent before anything leaves, the completion when it is over.

On the way of every call: what repeats is spelled once and kept as bytes, and nothing is parsed
that was not parsed already. Without a log nothing is written down.
"""

import time
from functools import partial
from typing import TYPE_CHECKING

import structlog

from shared.audit.log import AuditLog
from shared.errors import ResetCode
from shared.grant import Grant
from shared.jsonrpc.outcome import Look, Outcome, suspicious
from shared.link.driver import LinkDriver
from shared.record.encode import COMPLETION
from shared.wire.codec import OpenHead
from tunnel_client.audit.spelling import Known, Spelling
from tunnel_client.judge import Asks, Passed, Verdict
from tunnel_client.upstream.base import Headers, UpstreamRequest, is_event_stream

if TYPE_CHECKING:
    from tunnel_client.crossing import Crossing

logger = structlog.get_logger("tunnel_client.audit")

UNKNOWN = b"delivery_unknown"
_RESULTS = {
    ResetCode.CANCELLED: b"cancelled",
    ResetCode.REVOKED: b"revoked_in_flight",
    ResetCode.NO_GRANT: b"revoked_in_flight",
    ResetCode.TIMEOUT: b"timeout",
    ResetCode.UPSTREAM_UNREACHABLE: b"unreachable",
}
"""What is said of an exchange that ended early; of the rest nobody knows what the upstream did."""
_OK, _FAULT = b"ok", b"protocol_error"
_ANSWERED = frozenset(each.encode() for each in Outcome)


class Call:
    """One exchange whose intent is written down with those of its turn, until its completion is."""

    # Most never change these: as members of the class they cost nothing.
    recorded = True
    dispatched = False
    hits = 0
    seq: int | None = None
    """The number of the intent; None until it is spelled."""
    name = b""
    _bytes = 0
    _status = 0
    _headers: Headers = []  # noqa: RUF012 - never changed, only replaced
    _look: Look | None = None
    _result: bytes | None = None
    _is_over = False

    def __init__(self, log: AuditLog, known: Known, permit: str) -> None:
        self._log = log
        self.known = known
        self.permit = permit
        self.waits = known.waits or permit != ""
        """Must the intent be on the disk before anything leaves?"""
        self._began = time.monotonic()

    def head(self, status: int, headers: Headers, end: bool) -> None:
        """The answer begins; `end`: no body follows, and the status is all of it."""
        self._status = status
        self._headers = headers
        if end:
            self.data(b"", True)

    def data(self, chunk: bytes, end: bool) -> None:
        """Some of the answer goes on its way, all that is left of it with `end`."""
        self._bytes += len(chunk)
        look = self._look
        if look is None:
            if end and not suspicious(chunk):
                self._result = _OK if self._status < 400 else _FAULT
                return
            look = self._look = Look(events=is_event_stream(self._headers))
        look.feed(chunk)
        if end:
            outcome = look.end()
            if outcome is Outcome.OK and self._status >= 400:
                outcome = Outcome.PROTOCOL_ERROR
            self._result = outcome.encode()

    def failed(self, code: ResetCode) -> None:
        """The exchange ends early, by this side."""
        self._result = _RESULTS.get(code, UNKNOWN)

    def cut(self, code: ResetCode, *, lost: bool) -> None:
        """The exchange ends early, by the other side; `lost`: the link is gone."""
        self._result = UNKNOWN if lost else _RESULTS.get(code, UNKNOWN)

    def written(self, name: bytes, seq: int) -> None:
        """The intent is spelled; one that is over already ends right behind it."""
        self.name, self.seq = name, seq
        if self._is_over:
            self.over()

    def over(self) -> None:
        """Write down how it ended."""
        seq, log, result = self.seq, self._log, self._result
        if seq is None:
            self._is_over = True
            return
        if result in _ANSWERED:
            delivery = b"done"
        else:
            delivery = b"unknown" if self.dispatched else b"never_sent"
        log.take_late(
            COMPLETION
            % (
                self._bytes,
                self.name,
                delivery,
                seq,
                result or UNKNOWN,
                self.hits,
                log.size,
                self._status,
                time.time_ns() // 1000,
                (time.monotonic() - self._began) * 1e6,
            )
        )


class Unrecorded(Call):
    """An exchange of which nothing is written down."""

    recorded = False
    waits = False

    def __init__(self) -> None: ...

    def head(self, status: int, headers: Headers, end: bool) -> None: ...

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
        self._ready: list[tuple[Call, Crossing, UpstreamRequest]] = []
        self.unrecorded = 0
        """Exchanges that went on although they could not be written down."""

    def intend(
        self, grant: Grant, request: UpstreamRequest, verdict: Passed | Asks, permit: str = ""
    ) -> Call | None:
        """Return what will write a call down, before it is dispatched; None: it must not be."""
        log, spelling = self._log, self._spelling
        if log is None or spelling is None:
            return UNRECORDED
        known = spelling.known(grant, request, verdict)
        if log.failing is not None:
            if known.waits or permit or not self._reads_without:
                return None
            self.unrecorded += 1
            return UNRECORDED
        return Call(log, known, permit)

    def when_written(
        self, driver: LinkDriver, call: Call, crossing: "Crossing", request: UpstreamRequest
    ) -> None:
        """Have `crossing.recorded` called when what is intended in this turn is written down.

        With why it is not, where the call must not go on without. All calls of a turn share one
        `write(2)`.
        """
        if not self._ready:
            driver.at_turn_end(self._written)
        self._ready.append((call, crossing, request))

    def _written(self) -> None:
        log, spelling, ready = self._log, self._spelling, self._ready
        self._ready = []
        if log is None or spelling is None:
            return
        now = time.time_ns() // 1000
        for call, crossing, request in ready:
            name = b"%b.%d" % crossing.place
            spelled = spelling.intent(name, log.size, now, call.known, request, call.permit)
            call.written(name, log.take_late(spelled))
        why = log.flush()
        for call, crossing, request in ready:
            try:
                if not call.waits:
                    crossing.recorded(request, False, None if self._reads_without else why)
                elif why is None and call.seq is not None:
                    log.durable(call.seq, partial(crossing.recorded, request, True))
                else:
                    crossing.recorded(request, True, why)
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
