"""Joins streams of a link to upstreams: one Crossing an exchange, plain calls both ways."""

from collections.abc import Mapping

import structlog

from shared.errors import PeerError, ResetCode
from shared.grant import Grant
from shared.link.driver import LinkDriver
from tunnel_client.asked import Refusals
from tunnel_client.audit.calls import Calls
from tunnel_client.crossing import NO_GRANT, Crossing
from tunnel_client.gate import GateError, Head, admit_head
from tunnel_client.grants import Grants
from tunnel_client.judge import Judge
from tunnel_client.permit_desk import PermitDesk
from tunnel_client.tally import Tally
from tunnel_client.upstream.base import Upstream

log = structlog.get_logger("tunnel_client.bridge")

NO_UPSTREAM = "no such upstream here"
MAX_HEADS = 256
"""Request heads remembered; they hold no credential, those never leave the relay."""


class Bridge:
    """Starts an exchange for every stream the relay opens; one instance a link."""

    def __init__(
        self,
        upstreams: Mapping[str, Upstream],
        grants: Grants,
        judge: Judge,
        permits: PermitDesk,
        calls: Calls,
        tally: Tally,
    ) -> None:
        self.tally = tally
        self._upstreams = upstreams
        self.grants = grants
        self.judge = judge
        self.permits = permits
        self.calls = calls
        self.refusals = Refusals()
        self._heads: dict[bytes, Head] = {}
        self.assembling = self.held = 0
        self.crossings: set[Crossing] = set()

    def open(
        self, driver: LinkDriver, stream: int, payload: bytes, whole: bytes | None
    ) -> Crossing | None:
        """Take a stream in, with its `whole` body if that came along; None when refused."""
        try:
            head = self._admit(payload)
        except GateError as error:
            self.calls.refused(driver.link, stream, str(error))
            log.error("refused what the relay sent", reason=str(error))
            driver.reset(stream, ResetCode.REFUSED, str(error))
            return None
        except PeerError as error:
            self.calls.refused(driver.link, stream, str(error))
            log.error("malformed request head", reason=str(error))
            driver.reset(stream, ResetCode.PROTOCOL, str(error))
            return None
        grant = self.granted(head)
        if grant is None:
            self.calls.refused(driver.link, stream, NO_GRANT, head.open)
            driver.reset(stream, ResetCode.NO_GRANT, NO_GRANT)
            return None
        upstream = self._upstreams.get(head.open.upstream)
        if upstream is None:
            self.calls.refused(driver.link, stream, NO_UPSTREAM, head.open, grant)
            driver.reset(stream, ResetCode.REFUSED, NO_UPSTREAM)
            return None
        crossing = Crossing(self, driver, stream, head, grant, upstream)
        self.crossings.add(crossing)
        if whole is not None:
            crossing.start(whole)
        return crossing

    def granted(self, head: Head) -> Grant | None:
        """Return the living grant of a stream's session; None when it is not for this upstream."""
        session, upstream = head.open.session, head.open.upstream
        grant = self.grants.find(session)
        if grant is not None and grant.upstream == upstream:
            return grant
        reason = NO_GRANT if grant is None else "a grant for another upstream"
        self.grants.seldom.log("refused", session=session[:8], upstream=upstream, reason=reason)
        return None

    def _admit(self, payload: bytes) -> Head:
        """Judge a request head; an agent's heads repeat, so what they say is remembered."""
        head = self._heads.get(payload)
        if head is None:
            head = admit_head(payload)
            if head.open.permit:
                return head  # for this one call
            if len(self._heads) >= MAX_HEADS:
                self._heads.clear()
            self._heads[payload] = head
        return head

    def cut_session(self, session: str) -> int:
        """End every exchange of a session on this link; returns how many."""
        ended = [crossing for crossing in self.crossings if crossing.session == session]
        for crossing in ended:
            crossing.cut(ResetCode.REVOKED, "the session was revoked")
        return len(ended)
