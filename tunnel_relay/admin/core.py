"""What every command stands on: the store, memory's view of it, and the order of changes.

One Admin owns the store and the session table of a relay. What takes away holds in memory first
and is stored last (DESIGN: revocation); what gives is stored first.
"""

import shlex
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
import structlog

from shared.audit.events import note
from shared.errors import CloseCode
from shared.ids import new_id, token_digest
from shared.policy.keeping import PolicyFile
from tunnel_relay.admin import changes
from tunnel_relay.admin.acting import actor, confined_to
from tunnel_relay.admin.admission import Admission, Admissions
from tunnel_relay.admin.changes import ChangeUser, EndSessions
from tunnel_relay.admin.checks import check_name, check_user
from tunnel_relay.admin.journal import Journal
from tunnel_relay.admin.links import CUT_WAIT, Links, NoLinks
from tunnel_relay.admin.pending import Pending
from tunnel_relay.admin.views import session_view
from tunnel_relay.admin_tokens import AdminTokens
from tunnel_relay.approvals.desk import Approvals
from tunnel_relay.audit.facts import of_session
from tunnel_relay.audit.keep import Records
from tunnel_relay.audit.purges import Purges
from tunnel_relay.bars import BarTable
from tunnel_relay.directory import Directory
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.passwords import Passwords
from tunnel_relay.identity.throttle import LoginThrottle
from tunnel_relay.lease import Lease
from tunnel_relay.passkeys import Passkeys
from tunnel_relay.sessions import SessionTable
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import JoinCode, Session, Store, StoreError, Tunnel, User
from tunnel_relay.tasks import TaskTable
from tunnel_relay.tools import ToolBook

JOIN_CODE_TTL = 3600.0
CUT_DEADLINE = 5.0
"""Seconds to wait for the links' word on what was cut; it is denied already by then."""
MIN_PREFIX = 6
"""Fewest characters by which a session may be named."""

CUT_TOGETHER = 200
"""Sessions that are ended by time before calls get their turn."""
KEEP_ENDED = 30 * 86400.0
"""Seconds for which a session that ended is still listed."""
CLOCK_TOLERANCE = 5.0
"""Seconds that a clock may be set back before it is worth a word."""
MAX_TOLD = 50
"""Sessions that were cut together and are named in one record."""
SLICE = 2000
"""Sessions looked through before calls get their turn: some 2 ms."""

_Key = TypeVar("_Key", str, bytes)

log = structlog.get_logger("tunnel_relay.admin")


class AdminCore:
    """The state that commands share; results are JSON values, refusals are RelayError.

    `relay_key` is the relay's public key; `links` may be set once the registry of links is there.
    """

    def __init__(
        self,
        store: Store,
        sessions: SessionTable,
        settings: Settings,
        *,
        relay_key: bytes,
        serving: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.sessions = sessions
        self.locks = sessions.locks
        self.links: Links = NoLinks()
        self.issuers: Callable[[], list[dict[str, Any]]] = list
        """How the keys of each external issuer are; set by whoever fetches them."""
        self.clock = clock
        self.settings = settings
        self.relay_key = relay_key
        self.serving = serving
        self.started = clock()
        self.lease = Lease(settings.limits.lease)
        self.directory = Directory()
        self.admin_tokens = AdminTokens()
        self.passkeys = Passkeys()
        self.bars = BarTable()
        self.tasks = TaskTable()
        self.tools = ToolBook(lambda: self.links.tools())
        self.policy: PolicyFile | None = None
        """The policy that calls are held against; set by whoever serves."""
        self.passwords = Passwords()
        self.throttle = LoginThrottle()
        """One for every door that takes a password: at two a guesser would have twice the tries."""
        self.records = Records()
        """The log; set by whoever opens it."""
        self.purges = Purges()
        self.tunnels: dict[str, Tunnel] = {}
        self.pending = Pending(store, Journal(settings.journal))
        self.storing_locks = anyio.Lock()
        self.approvals = Approvals(self)
        self._admissions = Admissions(
            store,
            clock,
            lambda: self.links,
            relay_key,
            settings.link_origins,
            self.locks,
            self.owner_is_off,
        )

    async def load(self) -> None:
        """Read what verdicts are made of into memory; raises StoreError."""
        self.tunnels = {tunnel.name: tunnel for tunnel in await self.store.tunnels()}
        await self._admissions.load()
        self.directory = Directory(await self.store.users(), await self.store.agents())
        self._read_clock(await self.store.latest_time())
        for session in await self.store.sessions():
            self.sessions.reach(max(session.last_used, session.revoked or 0.0))
            self.sessions.put(session)
        self._warn_of_clock()
        for token in await self.store.tokens(self.clock()):
            self.sessions.add_token(token)
        for task in await self.store.tasks():
            began = self.sessions.get(task.session)
            if began is not None:
                self.tasks.put(task, began)
        await self._load_admin_tokens()
        self.passkeys = Passkeys(await self.store.passkeys())
        self.bars = BarTable(await self.store.bars())
        for lock in await self.store.locks():
            if lock.expires is not None and lock.expires <= self.clock():
                await self.store.remove_lock(lock.id)
            else:
                self.locks.put(lock)
        await self.approvals.load()
        self.block()

    def _read_clock(self, stored: float) -> None:
        # Before the sessions come: those that are over need no end any more.
        self.sessions.reach(max(stored, self.clock()))

    def _warn_of_clock(self) -> None:
        behind = self.sessions.mark - self.clock()
        if behind > CLOCK_TOLERANCE:
            log.error("clock_behind", code=Code.CLOCK_BEHIND, seconds=round(behind))

    async def _load_admin_tokens(self) -> None:
        tokens, now = await self.store.admin_tokens(), self.clock()
        await self.store.remove_admin_tokens([each.id for each in tokens if each.expires <= now])
        for token in tokens:
            self.admin_tokens.put(token)

    async def flush_last_used(self) -> None:
        """Write back last uses, tasks and what could not be stored before; raises StoreError."""
        failed = await self.pending.flush()
        if failed is not None:
            raise failed
        self.sessions.forget_tokens(self.clock())
        async for ids in in_slices(self.sessions.newest_first()):
            used = self.sessions.dirty(ids)
            if used:
                await self.store.touch_sessions(used)
                self.sessions.mark_stored(used)
        await self._flush_tasks()
        await self.store.mark_time(self.sessions.reach(self.clock()))

    async def _flush_tasks(self) -> None:
        tasks, gone = self.tasks.unstored()
        for start in range(0, max(len(tasks), len(gone)), SLICE):
            some = slice(start, start + SLICE)
            await self.store.keep_tasks(tasks[some], gone[some])
            self.tasks.mark_stored(tasks[some], gone[some])

    async def purge(self) -> int:
        """Forget sessions that ended so long ago that nobody lists them; raises StoreError."""
        before = self.clock() - KEEP_ENDED
        gone = await self.store.purge_sessions(before)
        async for ids in in_slices(self.sessions.newest_first()):
            self.sessions.forget(ids, before)
        async for digests in in_slices(self.tasks.digests()):
            self.tasks.drop_orphans(digests, lambda each: self.sessions.get(each) is not None)
        await self.approvals.purge()
        return gone

    # Clients ------------------------------------------------------------------------------------

    async def enroll(
        self, join_code: str, public_key: str, instance: str, origin: str, host: Mapping[str, str]
    ) -> dict[str, str]:
        """See `Admissions.enroll`."""
        return await self._admissions.enroll(join_code, public_key, instance, origin, host)

    async def find_key(self, tunnel: str, instance: str) -> bytes | None:
        """See `Admissions.find_key`."""
        return await self._admissions.find_key(tunnel, instance)

    async def admit(self, tunnel: str, instance: str, counter: int) -> Admission:
        """See `Admissions.admit`."""
        return await self._admissions.admit(tunnel, instance, counter)

    def may_connect(self, tunnel: str, instance: str) -> bool:
        """See `Admissions.may_connect`."""
        return self._admissions.may_connect(tunnel, instance)

    # What commands share ------------------------------------------------------------------------

    def tunnel(self, name: str) -> Tunnel:
        """Return a tunnel; raises RelayError TUNNEL_UNKNOWN."""
        try:
            return self.tunnels[name]
        except KeyError:
            shown = check_name(name, "a tunnel")
            raise RelayError(Code.TUNNEL_UNKNOWN, f"no tunnel is called {shown!r}") from None

    def session(self, start: str) -> Session:
        """Return the session whose identifier starts so; raises RelayError SESSION_UNKNOWN."""
        own = confined_to()
        exact = self.sessions.get(start)
        if exact and own in (None, exact.user):
            return exact
        found = self.sessions.starting(start, own) if len(start) >= MIN_PREFIX else []
        if len(found) != 1:
            raise RelayError(
                Code.SESSION_UNKNOWN, f"{len(found)} sessions start with this identifier"
            )
        return found[0]

    def view(self, session: Session) -> dict[str, Any]:
        """Show a session as JSON values."""
        return session_view(session, self.sessions.state(session.id, self.clock()))

    def block(self) -> None:
        """Let the sessions of tunnels that are off rest, and those whose owner is."""
        off = (
            name
            for name, each in self.tunnels.items()
            if each.disabled or self.directory.owner_is_off(each)
        )
        self.sessions.block(off)

    def owner_is_off(self, tunnel: str) -> bool:
        """Tell whether a tunnel's owner is disabled, so that its clients may not connect."""
        found = self.tunnels.get(tunnel)
        return found is not None and self.directory.owner_is_off(found)

    async def person(self, user: str, what: str) -> User:
        """Return the user of this key, made without a login when new; raises RelayError."""
        key = check_user(user, what)
        found = self.directory.users.get(key)
        if found is None:
            made = User(key, key.partition("#")[2] or key, self.clock())
            await self.store.put_user(made)
            # Somebody else may have made them meanwhile: the first in memory stays.
            found = self.directory.users.setdefault(key, made)
            if found is not made:
                await self.store.put_user(found)
                found = self.directory.users[key]
        if found.disabled is not None:
            raise RelayError(Code.USER_DISABLED, f"{key} is disabled")
        return found

    async def end_by_time(self) -> int:
        """Cut what runs of the sessions whose time came since the last look; returns how many."""
        count = 0
        async with anyio.create_task_group() as tasks:
            while over := self.sessions.over(self.clock(), most=CUT_TOGETHER):
                count += len(over)
                for session, why in over:
                    note("session.over", **of_session(session), reason=why.value)
                    log.info("session_ended", session=session.id[:12], why=why.value)
                # Not awaited: a client that is silent must not hold up the others.
                tasks.start_soon(self.links.cut_sessions, [session.id for session, _ in over])
                await anyio.lowlevel.checkpoint()
            if count:
                await self._store_time()
        return count

    async def _store_time(self) -> None:
        """Let a clock that is set back at a restart revive nothing that ended now."""
        try:
            await self.store.mark_time(self.sessions.mark)
        except StoreError as error:
            log.error("time_not_stored", error=str(error))

    async def end_sessions(
        self,
        sessions: Sequence[Session],
        reason: str,
        *also: changes.Known,
        then_close: Callable[[], int] = lambda: 0,
    ) -> dict[str, Any]:
        """End sessions for good: in memory, then what runs, then stored; reports all of it.

        `then_close` closes links once their clients were told; `also` is stored too.
        """
        now, ending = self.clock(), tuple(each.id for each in sessions)
        for each in sessions:
            self.sessions.revoke(each.id, now, reason)
            note("session.revoked", **of_session(each), by=actor(), reason=reason)
        cut = await self.cut(ending)
        closed = then_close()
        if ending:
            also = (*also, EndSessions(new_id(), ending, now, reason))
        stored = await self.keep(*also)
        return {"sessions": len(ending), "cut": cut, "closed": closed, **stored}

    async def cut(self, sessions: Sequence[str], wait: float = CUT_WAIT) -> dict[str, Any]:
        """End what sessions run, here and at every client; reports who did, and who is silent.

        Its `lease` bounds, in seconds, what a silent client can still be doing.
        """
        cut: dict[str, Any] = {"streams": 0, "links": 0, "ms": 0.0, "clients": [], "silent": []}
        if sessions:
            cut["timed_out"] = True
            with anyio.move_on_after(CUT_DEADLINE):
                cut = await self.links.cut_sessions(sessions, wait)
            told = {"streams": cut["streams"], "silent": cut["silent"]}
            for first in range(0, len(sessions), MAX_TOLD):
                some = list(sessions[first : first + MAX_TOLD])
                note("session.cut", sessions=some, count=len(sessions), **told)
        return {**cut, "lease": self.lease.seconds}

    def join_code(self, code: str, tunnel: str) -> JoinCode:
        """Return what is stored of a fresh join code."""
        now = self.clock()
        return JoinCode(token_digest(code), tunnel, now, now + JOIN_CODE_TTL)

    def joining(self, code: str) -> dict[str, Any]:
        """Tell how a client enrols with a fresh join code."""
        command = f"tunnel-client enroll {self.settings.link_origins[0]}"
        if self.settings.dev_authority:
            command += f" --ca-file {shlex.quote(str(self.settings.dev_authority))}"
        return {
            "join_code": code,
            "expires": self.clock() + JOIN_CODE_TTL,
            "command": command,
        }

    def close_tunnel(self, tunnel: str, reason: str) -> int:
        """Close a tunnel's links for good; returns how many."""
        return self.links.close_tunnel(tunnel, CloseCode.REVOKED, reason)

    def close_for_now(self, tunnel: str, reason: str) -> int:
        """Close a tunnel's links with a code that lets its clients try again, slowly."""
        return self.links.close_tunnel(tunnel, CloseCode.POLICY, reason)

    async def keep(self, *enforced: changes.Known) -> dict[str, Any]:
        """Store what memory already enforces, once it is written down; see `Pending.keep`."""
        await self.records.settled()
        reports = [await self._keep(each) for each in enforced]
        failed = [each["journalled"] for each in reports if not each["stored"]]
        return {"stored": False, "journalled": all(failed)} if failed else {"stored": True}

    async def _keep(self, change: changes.Known) -> dict[str, Any]:
        if self._undone(change):
            return {"stored": True}
        if not isinstance(change, ChangeUser):
            return await self.pending.keep(change)
        while True:
            # As they are by now: whoever was disabled meanwhile stays that in the store too.
            now = self.directory.users[change.user.key]
            report = await self.pending.keep(ChangeUser(now))
            if self.directory.users[change.user.key] is now:
                return report

    def _undone(self, change: changes.Known) -> bool:
        """Tell whether what is switched off was switched on, or deleted, while its links ended."""
        if isinstance(change, changes.DisableTunnel):
            tunnel = self.tunnels.get(change.tunnel)
            return tunnel is None or not tunnel.disabled
        if isinstance(change, changes.DisableAgent):
            return self.directory.agents[change.agent].disabled is None
        return False


async def in_slices(ids: Sequence[_Key]) -> AsyncIterator[Sequence[_Key]]:
    """Yield a long list in pieces, and let others run between them."""
    for start in range(0, len(ids), SLICE):
        if start:
            await anyio.lowlevel.checkpoint()
        yield ids[start : start + SLICE]
