"""Keeps one of the process's links up: dials, proves who we are, resumes, moves, dials again."""

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import anyio
import structlog

from shared.audit import events
from shared.errors import CloseCode, NotSpokenError, PeerError, TunnelError
from shared.link import handshake
from shared.link.inbox import Inbox, LinkLostError
from shared.link.transport import CUT
from shared.link.websocket import ClientWebSocket
from shared.version import VERSION
from shared.wire.handshake import Hello
from tunnel_client.client_link import LOOK_SECONDS, ClientLink
from tunnel_client.dial import DialTarget, dial
from tunnel_client.errors import NotARelayError
from tunnel_client.process import Process
from tunnel_client.reconnect import (
    AT_ONCE_SECONDS,
    PLACE_SECONDS,
    PLACE_SOONEST,
    WORTH_SECONDS,
    GiveUp,
    KeyUse,
    Next,
    Reconnect,
    RetryIn,
    key_after_close,
)
from tunnel_client.stuck import is_stuck
from tunnel_client.tally import close_name

log = structlog.get_logger("tunnel_client.link")

CONNECT_SECONDS = 10.0
"""For dialling, the upgrade and the handshake together."""
SILENT_SECONDS = 1.0
"""So long other links wait for a relay that does not answer HELLO."""
_LATER = frozenset((CUT, CloseCode.GOING_AWAY, CloseCode.INTERNAL))
"""How an attempt may end and the next one still resume the link."""


class KeptLink:
    """The link of one slot, at one of the addresses that are its own."""

    def __init__(self, process: Process, slot: int, targets: Sequence[DialTarget]) -> None:
        self._process = process
        self._reconnect = Reconnect()
        self._targets = list(targets)
        self._full: dict[DialTarget, GiveUp] = {}
        """Addresses whose relay has no place for this link."""
        self._target = self._targets[0]
        self._link: ClientLink | None = None
        self._fresh: ClientWebSocket | None = None
        self._ended, self._news = "other", True
        self._told_lost = False
        """The last that the log says of the link is that it was lost."""
        self.slot = slot
        self.made = 0
        self.last_error: str | None = None
        self.retry_at: float | None = None

    @property
    def link(self) -> ClientLink | None:
        """The link, as long as it is not over; it may wait for another connection."""
        link = self._link
        return link if link is not None and not link.driver.lost else None

    async def run(self) -> GiveUp:
        """Keep the link up; returns when there is no point in trying again, or not soon.

        What runs on a link that drains goes on.
        """
        self._dial_full_ones()
        if self._target not in self._targets:
            self._target = self._targets[0]
        while True:
            decision = await self._once()
            if isinstance(decision, GiveUp):
                self._targets.remove(self._target)
                if decision.no_place:
                    self._full[self._target] = decision
                if not self._targets:
                    break
                relay = self._target.relay.authority
                log.error("address given up", relay=relay, reason=decision.reason)
                self._target, decision = self._targets[0], RetryIn(0.0)
            await self._pause(decision)
        if (link := self.link) is not None:
            link.leave()
        return next(iter(self._full.values()), decision)

    def _dial_full_ones(self) -> None:
        """Dial those again in turn that had no place."""
        self._targets += self._full
        self._full.clear()

    async def wait_for_place(self) -> None:
        """Wait until the relay may have a place: a link of ours ended, or much time passed."""
        place, jitter = self._process.place, self._process.jitter()
        seconds = PLACE_SECONDS * (1 + jitter) / 2
        self.retry_at = time.time() + seconds
        with anyio.move_on_after(seconds):
            await place.wait()
            await anyio.sleep(jitter * PLACE_SOONEST)
        self.retry_at = None

    async def _pause(self, decision: RetryIn) -> None:
        """Wait before the next attempt: not for long where calls wait for the link."""
        link = self.link
        if link is not None and link.driver.detached:
            decision = self._reconnect.sooner(decision)
        self.retry_at = time.time() + decision.seconds
        self._process.tally.reconnects[self._ended] += 1
        self._news = self._reconnect.news
        told = log.info if self._news else log.debug
        seconds = round(decision.seconds, 2)
        told("dialling again", seconds=seconds, why=self.last_error, slot=self.slot)
        if link is None or link.driver.detached:
            await anyio.sleep(decision.seconds)
        else:
            with anyio.move_on_after(decision.seconds):
                await link.gone()  # it drained; now its relay may have gone, and another come
                self._reconnect.forget()
                await anyio.sleep(self._process.jitter() * AT_ONCE_SECONDS)
        self.retry_at = None

    async def _once(self) -> Next:
        began: float | None = None
        try:
            with anyio.fail_after(CONNECT_SECONDS):
                link = await self._connect()
            began = anyio.current_time()
            self._reconnect.made()
            ended = await self._until_over(link)
            if ended is None:
                return self._moves(anyio.current_time() - began)
            code, reason = ended
        except LinkLostError as error:
            code, reason = error.code, error.reason
        except TimeoutError as error:
            return self._not_made(error, f"no link within {CONNECT_SECONDS:.0f} s", "timeout")
        except NotSpokenError as error:
            stranger = NotARelayError.at(self._target.relay.authority, error)
            return self._not_made(stranger, str(stranger), "refused")
        except (TunnelError, OSError) as error:
            why = "refused" if isinstance(error, PeerError) else "unreachable"
            return self._not_made(error, str(error), why)
        up_for = anyio.current_time() - began if began is not None else 0.0
        return self._over(code, reason, up_for, made=began is not None)

    def _moves(self, up_for: float) -> Next:
        """Dial while the relay still serves the link that it wants to be rid of."""
        self.last_error = "the relay asks to move"
        self._ended = close_name(CloseCode.GOING_AWAY)
        self._elsewhere()
        return self._reconnect.after_move(up_for=up_for, jitter=self._process.jitter())

    def _not_made(self, error: BaseException, why: str, ended: str) -> Next:
        if why != self.last_error:  # the same again is no news
            events.note("link.failed", relay=self._target.relay.authority, reason=why)
        self.last_error, self._ended = why, ended
        jitter, linked = self._process.jitter(), self._process.linked
        decision = self._reconnect.after_error(error, up_for=0.0, jitter=jitter, linked=linked)
        if not isinstance(decision, GiveUp):
            self._elsewhere()
        return decision

    def _over(self, code: int, reason: str, up_for: float, *, made: bool) -> Next:
        self.last_error = f"link closed: {code} {reason}".rstrip()
        self._ended = close_name(code)
        # One that held is news, whatever came before it.
        news = self._news or up_for >= WORTH_SECONDS
        self._told_lost = self._told_lost or news
        told = log.warning if news else log.debug
        told("link lost", code=code, reason=reason, up_for=round(up_for, 1), slot=self.slot)
        key = self._learn_of_key(code, made=made)
        jitter = self._process.jitter()
        if self.link is not None and code == CUT and made:
            return self._reconnect.after_cut(up_for=up_for, jitter=jitter)
        if self.link is not None and self.link.driver.detached and code not in _LATER:
            self.link.driver.close(code, reason)  # it would not be resumed
        decision = self._reconnect.after_close(code, up_for=up_for, jitter=jitter, key=key)
        if not isinstance(decision, GiveUp) and (not made or code == CloseCode.GOING_AWAY):
            self._elsewhere()
        return decision

    def _learn_of_key(self, code: int, *, made: bool) -> KeyUse:
        process = self._process
        before, process.key_use = process.key_use, key_after_close(process.key_use, code, made=made)
        if process.key_use is KeyUse.CONTESTED is not before:
            log.error("another connection uses this client's key; dialling to show the relay")
        return process.key_use

    def _elsewhere(self) -> None:
        """Dial the next of our addresses: this one has no link for us."""
        place = self._targets.index(self._target) + 1
        self._target = self._targets[place % len(self._targets)]

    async def _connect(self) -> ClientLink:
        process, before = self._process, self.link
        process.check_key()
        if before is not None and not before.driver.detached:
            before = None  # it drains, and serves until another took over
        if before is not None:
            home = [each for each in self._targets if each.relay.authority == before.relay]
            self._target = home[0] if home else self._target
        # Blocks for an fsync, as rarely as links are made.
        counter = process.identity.next_counter()
        fresh, self._fresh = self._fresh, None
        socket = fresh or await self._open()
        try:
            inbox = await socket.opened()
            counter, agreed = await self._shake_hands(socket, inbox, counter, before)
            process.key_use = KeyUse.OURS  # and whoever else had a link has none any more
            process.lease.check(agreed.limits)
            if before is not None and agreed.taken is not None:
                return self._resume(before, socket, inbox, agreed.taken)
            return self._take(socket, inbox, agreed, counter)
        except PeerError as error:
            socket.close(error.close_code, "handshake failed")
            raise
        except BaseException:
            # A proof that arrives when another link was made since would pass for a copied key.
            socket.forget()
            raise

    async def _shake_hands(
        self, socket: ClientWebSocket, inbox: Inbox, counter: int, before: ClientLink | None
    ) -> tuple[int, handshake.Agreed]:
        """Prove who we are; returns the counter that was used, and what was agreed.

        Other links wait for that, but not for a relay that says nothing: without a proof its
        handshake used no counter.
        """
        process = self._process
        async with process.turn:
            process.check_key()
            if counter <= process.proved:  # another link of ours was faster
                counter = process.identity.next_counter()
            if process.key_use is KeyUse.CONTESTED:
                # Ours, and not proved yet: whoever took over must have proved this or a higher one.
                counter = process.proved + 1
            hello = self._hello(counter, before)
            proving = handshake.Proving(
                socket, inbox, hello, process.identity.key, process.relay_key
            )
            with anyio.move_on_after(SILENT_SECONDS) as silent:
                await self._challenged(proving, hello)
            if not silent.cancelled_caught:
                process.proved = counter
                return counter, await proving.ready()
        await self._challenged(proving, hello)
        async with process.turn:
            process.check_key()
            if counter <= process.proved:
                raise LinkLostError(CUT, "another link was made while the relay was silent")
            process.proved = counter
            return counter, await proving.ready()

    async def _challenged(self, proving: handshake.Proving, hello: Hello) -> None:
        """Wait for CHALLENGE; raises LinkLostError where HELLO was not one for this relay.

        An older relay takes no HELLO with a process, and would take a second link for a copied key.
        """
        plain, relay = self._process.plain, self._target.relay.authority
        try:
            knows_links = handshake.LINKS in await proving.challenged()
        except LinkLostError as error:
            if error.code == CloseCode.PROTOCOL:
                (plain.add if hello.process else plain.discard)(relay)
            raise
        if knows_links and not hello.process:
            plain.discard(relay)
            raise LinkLostError(CUT, "this relay can be told more")
        if self.slot and not knows_links:
            raise LinkLostError(CloseCode.TOO_MANY, "this relay takes one link of a client")

    async def _open(self) -> ClientWebSocket:
        """Dial the relay and have it take us for a WebSocket; raises as both."""
        relay, words = self._target.relay, f"MCP-Tunnel {self._process.tunnel}"
        url = f"{relay.scheme}://{relay.authority}/tunnel"
        _, socket = await dial(self._target, lambda: ClientWebSocket(url, words))
        try:
            await socket.opened()
        except BaseException:
            socket.abort()
            raise
        return socket

    async def _until_over(self, link: ClientLink) -> tuple[int, str] | None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._leave_stuck, link)
            ended = await link.over()
            tasks.cancel_scope.cancel()
        return ended

    async def _leave_stuck(self, link: ClientLink) -> None:
        """Leave a connection that carries nothing where a fresh one does.

        After a network was gone TCP tries again only when as much time has passed once more.
        """
        driver = link.driver
        while not driver.lost:
            await anyio.sleep(LOOK_SECONDS)
            if not is_stuck(driver, self._process.busy):
                continue
            with suppress(TunnelError, OSError), anyio.move_on_after(CONNECT_SECONDS):
                fresh = await self._open()
                if not is_stuck(driver, busy=True):
                    fresh.abort()
                    continue
                self._fresh = fresh
                log.info("the connection is stuck and another one works", slot=self.slot)
                driver.give_up("stuck")

    def _take(
        self, socket: ClientWebSocket, inbox: Inbox, agreed: handshake.Agreed, counter: int
    ) -> ClientLink:
        """Begin a link; the one before ends, at once or when nothing runs on it any more."""
        process, relay = self._process, self._target.relay
        if (before := self.link) is not None:
            before.leave()
        link = ClientLink(process, self.slot, relay.authority, counter)
        link.attach(socket, agreed.limits, agreed.link)
        inbox.hand_over(link.driver)
        self._link, process.linked = link, True
        self._dial_full_ones()
        facts = {"relay": relay.authority, "epoch": counter}
        instance = process.identity.instance
        events.note("link.up", link=agreed.link, **facts, instance=instance)
        process.on_link(link)
        link.driver.catalog(sorted(process.upstreams))
        self.made += 1
        self._told_lost = False
        log.info("link up", **facts, slot=self.slot)
        return link

    def _resume(
        self, link: ClientLink, socket: ClientWebSocket, inbox: Inbox, taken: int
    ) -> ClientLink:
        if link.driver.lost:
            raise LinkLostError(CUT, "the link was given up while its relay resumed it")
        link.resume(socket, taken)
        inbox.hand_over(link.driver)
        self._process.tally.resumed += 1
        told = log.info if self._news or self._told_lost else log.debug
        self._told_lost = False
        told("link resumed", relay=link.relay, times=link.resumed, slot=self.slot)
        return link

    def _hello(self, counter: int, before: ClientLink | None) -> Hello:
        relay, process = self._target.relay, self._process
        goes_on = before is not None and before.driver.resumable
        return Hello(
            tunnel=process.tunnel,
            instance=process.identity.instance,
            counter=counter,
            origin=f"{relay.scheme}://{relay.authority}",
            versions=sorted(handshake.VERSIONS),
            features=sorted(handshake.FEATURES),
            time=int(time.time()),
            program=f"tunnel-client/{VERSION}",
            resume=before.driver.link if before is not None and goes_on else "",
            taken=before.driver.taken if before is not None and goes_on else 0,
            process="" if relay.authority in process.plain else process.name,
            slot=self.slot,
        )

    def facts(self) -> list[dict[str, Any]]:
        """Return what `tunnel-client status` shows of a slot; `connected` says if it has a link.

        Behind that come the links that another took over from, as long as calls run on them.
        """
        link = self.link
        shown: dict[str, Any] = {
            "slot": self.slot,
            "relay": self._target.relay.authority,
            "connected": False,
            "draining": False,
            "made": self.made,
            "last_error": self.last_error,
            "retry_at": self.retry_at,
        }
        own = shown if link is None else shown | link.facts()
        left = [
            shown | each.facts() | {"last_error": None, "retry_at": None}
            for each in self._process.links
            if each.slot == self.slot and each is not link
        ]
        return [own, *left]
