"""The sessions a request is held against: in memory, so that a verdict costs no wait.

Pure but for the `now` that is passed in. Kept true by whoever creates and revokes: the change is
made here first when it takes away, and last when it gives.
"""

import heapq
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from shared.ids import token_digest
from tunnel_relay.locks import LockTable
from tunnel_relay.store.base import Session, Token, TokenKind

KEEP_TOLD_SECONDS = 86400.0
"""For so long it is known at once which sessions ended, for clients that were away."""


class Refusal(StrEnum):
    """Why a token opens nothing; for the audit and the log, never for the caller."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    IDLE = "idle"
    REVOKED = "revoked"
    LOCKED = "locked"
    """By a lock on its user, agent, upstream or tunnel."""
    DISABLED = "disabled"
    """Its tunnel, user or agent is switched off."""


class _Entry:
    __slots__ = ("calls", "dead", "expires", "idle", "last_used", "session", "stored")

    def __init__(self, session: Session) -> None:
        self.session = session
        self.expires = session.expires
        self.idle = session.idle
        self.last_used = session.last_used
        self.stored = session.last_used
        self.calls = session.calls
        # Set once and never cleared, so that a use at the same instant cannot undo it.
        self.dead = session.revoked is not None

    @property
    def ends(self) -> float:
        return min(self.expires, self.last_used + self.idle)

    def current(self) -> Session:
        return replace(self.session, last_used=self.last_used, calls=self.calls)


class _Access:
    """An access token of a session that came by OAuth."""

    __slots__ = ("ends", "entry", "used")

    def __init__(self, entry: _Entry, ends: float) -> None:
        self.entry = entry
        self.ends = ends
        self.used = False


class SessionTable:
    """All sessions by the digest of their token.

    Time never runs backwards here: the latest `now` seen is a high-water mark, so that setting
    the clock back revives nothing.
    """

    def __init__(self, sessions: Iterable[Session] = ()) -> None:
        self.locks = LockTable()
        self._by_digest: dict[bytes, _Entry] = {}
        self._by_id: dict[str, _Entry] = {}
        self._by_user: dict[str, list[_Entry]] = {}
        self._tokens: dict[bytes, _Access] = {}
        self._blocked: frozenset[str] = frozenset()
        self._mark = -math.inf
        # (when to look, session): no later than the session's end by time.
        self._due: list[tuple[float, str]] = []
        # By tunnel, when the sessions ended that did so lately.
        self._ended: dict[str, dict[str, float]] = {}
        for session in sessions:
            self.put(session)

    def put(self, session: Session) -> None:
        """Add a session, or replace it; one that was revoked stays revoked."""
        before = self._by_id.get(session.id)
        if before is not None and before.dead:
            return
        entry = _Entry(session)
        self._by_id[session.id] = self._by_digest[session.digest] = entry
        mine = self._by_user.setdefault(session.user, [])
        if before is not None:
            mine.remove(before)
        mine.append(entry)
        ended = session.revoked if entry.dead else entry.ends
        if ended is None or ended > self._mark:
            heapq.heappush(self._due, (entry.ends, session.id))
        elif ended > self._mark - KEEP_TOLD_SECONDS:
            # Over before it was put, by a restart: nothing runs of it here.
            self._note_ended(session, ended)

    def _note_ended(self, session: Session, when: float) -> None:
        self._ended.setdefault(session.tunnel, {})[session.id] = when

    def add_token(self, token: Token) -> None:
        """Let an access token open its session until it expires; any other kind opens nothing."""
        entry = self._by_id.get(token.session)
        if entry is not None and token.kind is TokenKind.ACCESS:
            self._tokens[token.digest] = _Access(entry, token.expires)

    def take_back(self, digest: bytes) -> bool:
        """Let an access token that was never used open nothing; False when it was used."""
        found = self._tokens.get(digest)
        if found is not None and found.used:
            return False
        self._tokens.pop(digest, None)
        return True

    def forget_tokens(self, now: float) -> None:
        """Let go of access tokens that expired, or whose session is over."""
        now = max(now, self._mark)
        gone = [
            digest
            for digest, token in self._tokens.items()
            if now >= token.ends or now >= token.entry.expires or token.entry.dead
        ]
        for digest in gone:
            del self._tokens[digest]

    def find(self, token: str, now: float) -> Session | None:
        """Return the live session of `token` and count this as a use; None when there is none.

        `last_used` of what is returned is that of the store; `all()` has the newest.
        """
        found = self._look_up(token)
        if found is None:
            return None
        if isinstance(found, _Access):
            found.used = True
            return self._use(found.entry, now, found.ends)
        return self._use(found, now, math.inf)

    def ends(self, token: str) -> float:
        """Return when a token ends by itself, whatever its session does; infinity: never."""
        found = self._look_up(token)
        return found.ends if isinstance(found, _Access) else math.inf

    def _look_up(self, token: str) -> "_Entry | _Access | None":
        try:
            digest = token_digest(token)
        except UnicodeEncodeError:
            return None
        return self._by_digest.get(digest) or self._tokens.get(digest)

    def again(self, session: Session, now: float, ends: float = math.inf) -> Session | None:
        """Return a session found before if it still lives, and the token that found it.

        As `find` does, but for the look-up; `ends` is that of the token.
        """
        entry = self._by_id.get(session.id)
        return None if entry is None else self._use(entry, now, ends)

    def _use(self, entry: _Entry, now: float, ends: float) -> Session | None:
        if entry.dead or entry.session.tunnel in self._blocked:
            return None
        if now > self._mark:
            self._mark = now
        else:
            now = self._mark
        if now >= entry.expires or now >= entry.last_used + entry.idle or now >= ends:
            return None
        if self.locks.locks_session(entry.session, now):
            return None
        entry.last_used = now
        entry.calls += 1
        return entry.session

    def why(self, token: str, now: float) -> Refusal | None:
        """Return why `find` refuses this token, None when it would not; counts as no use."""
        found = self._look_up(token)
        if found is None:
            return Refusal.UNKNOWN
        if not isinstance(found, _Access):
            return self._refusal(found, now)
        over = max(now, self._mark) >= found.ends
        return Refusal.EXPIRED if over else self._refusal(found.entry, now)

    def state(self, session: str, now: float) -> Refusal | None:
        """Return what ended the session of this identifier, None while it lives."""
        entry = self._by_id.get(session)
        return Refusal.UNKNOWN if entry is None else self._refusal(entry, now)

    def get(self, session: str) -> Session | None:
        """Return a session by its identifier, ended or not."""
        entry = self._by_id.get(session)
        return entry.current() if entry else None

    @property
    def mark(self) -> float:
        """The latest time seen: no verdict is made for an earlier one."""
        return self._mark

    def reach(self, now: float) -> float:
        """Note a time; returns it, or the latest before it."""
        self._mark = max(self._mark, now)
        return self._mark

    def keep_in_use(self, session: str, now: float) -> None:
        """Count a call that still runs as use: a session is idle from when its last one ended."""
        entry = self._by_id.get(session)
        if entry is not None and not entry.dead and now < entry.ends:
            entry.last_used = max(entry.last_used, now)

    def over(self, now: float, most: int = sys.maxsize) -> list[tuple[Session, Refusal]]:
        """Return the sessions that ended by time since this was asked last, each once, and why.

        At most so many; ask again for the rest. Their `last_used` and `calls` are those stored.
        """
        ended: list[tuple[Session, Refusal]] = []
        now = self.reach(now)
        while self._due and self._due[0][0] <= now and len(ended) < most:
            _, session = heapq.heappop(self._due)
            entry = self._by_id.get(session)
            if entry is None or entry.dead:
                continue
            if entry.ends > now:
                heapq.heappush(self._due, (entry.ends, session))
            else:
                why = Refusal.EXPIRED if now >= entry.expires else Refusal.IDLE
                self._note_ended(entry.session, entry.ends)
                ended.append((entry.session, why))
        return ended

    def ended_in(self, tunnel: str, since: float, now: float) -> list[str]:
        """Return the sessions of a tunnel that were cut or told by `over` after `since`.

        One that a lock had cut and that lives again is left out. Looks back for
        KEEP_TOLD_SECONDS at most.
        """
        now = max(now, self._mark)
        self._let_go(tunnel, now - KEEP_TOLD_SECONDS)
        found = self._ended.get(tunnel, {})
        lately = [session for session, when in found.items() if since <= when <= now]
        return [session for session in lately if self.state(session, now) is not None]

    def note_cut(self, sessions: Iterable[str], now: float) -> None:
        """Remember that sessions were cut though they are not over, as a lock does."""
        for entry in map(self._by_id.get, sessions):
            if entry is not None:
                self._note_ended(entry.session, max(now, self._mark))

    def _let_go(self, tunnel: str, before: float) -> None:
        lately = {
            session: when for session, when in self._ended.get(tunnel, {}).items() if when >= before
        }
        if lately:
            self._ended[tunnel] = lately
        else:
            self._ended.pop(tunnel, None)

    def forget(self, sessions: Iterable[str], before: float) -> int:
        """Forget those of these sessions that ended for good before; returns how many.

        One that is only idle stays until its absolute end, as in the store.
        """
        gone = []
        for session in sessions:
            entry = self._by_id.get(session)
            if entry is not None and min(entry.session.revoked or math.inf, entry.expires) < before:
                gone.append(entry)
        for entry in gone:
            entry.dead = True
            del self._by_id[entry.session.id], self._by_digest[entry.session.digest]
        for user in {entry.session.user for entry in gone}:
            self._keep_of_user(user)
        for tunnel in {entry.session.tunnel for entry in gone}:
            self._let_go(tunnel, self._mark - KEEP_TOLD_SECONDS)
        return len(gone)

    def _keep_of_user(self, user: str) -> None:
        kept = [entry for entry in self._by_user.get(user, ()) if entry.session.id in self._by_id]
        if kept:
            self._by_user[user] = kept
        else:
            self._by_user.pop(user, None)

    def revoke(self, session: str, now: float, reason: str) -> Session | None:
        """End a session for good; returns it, None when unknown. The first reason stays."""
        entry = self._by_id.get(session)
        if entry is None:
            return None
        if not entry.dead:
            entry.dead = True
            entry.session = replace(entry.session, revoked=now, reason=reason)
            self._note_ended(entry.session, now)
        return entry.current()

    def block(self, tunnels: Iterable[str]) -> None:
        """Refuse the sessions of exactly these tunnels from now on."""
        self._blocked = frozenset(tunnels)

    def drop_tunnel(self, tunnel: str) -> list[Session]:
        """Forget every session of a tunnel; returns them."""
        gone = [entry for entry in self._by_id.values() if entry.session.tunnel == tunnel]
        for entry in gone:
            entry.dead = True
            del self._by_id[entry.session.id], self._by_digest[entry.session.digest]
        for user in {entry.session.user for entry in gone}:
            self._keep_of_user(user)
        self._ended.pop(tunnel, None)
        self._tokens = {key: each for key, each in self._tokens.items() if not each.entry.dead}
        return [entry.session for entry in gone]

    def all(self) -> list[Session]:
        """Return every session with its newest last use, oldest first."""
        return [entry.current() for entry in self._by_id.values()]

    def each(self) -> Iterator[Session]:
        """Yield every session as it was put, or revoked since: 70 times as fast as `all`.

        `last_used` and `calls` are those of the store; nothing may change while this goes on.
        """
        return (entry.session for entry in self._by_id.values())

    def newest_first(self) -> list[str]:
        """Return every identifier, that of the newest session first."""
        return list(reversed(self._by_id))

    def look(self, sessions: Iterable[str], now: float) -> Iterator[tuple[Session, Refusal | None]]:
        """Yield the sessions of these identifiers that are known, and what ended each.

        Cheaper than `all()`: `last_used` and `calls` are those of the store.
        """
        for session in sessions:
            entry = self._by_id.get(session)
            if entry is not None:
                yield entry.session, self._refusal(entry, now)

    def starting(self, start: str, user: str | None = None) -> list[Session]:
        """Return the sessions, of one user or of all, whose identifier starts so."""
        return [
            entry.current()
            for session, entry in self._by_id.items()
            if session.startswith(start) and user in (None, entry.session.user)
        ]

    def of_user(self, user: str, now: float) -> list[Session]:
        """Return the sessions of a user that are not over, oldest first."""
        return [
            entry.current()
            for entry in self._by_user.get(user, ())
            if not entry.dead and now < entry.expires
        ]

    def each_of_user(self, user: str) -> Iterator[Session]:
        """Yield every session of a user that is kept, ended ones too, newest first; see `each`."""
        return (entry.session for entry in reversed(self._by_user.get(user, ())))

    def count_of_user(self, user: str, now: float) -> int:
        """Return how many sessions of a user are alive."""
        return sum(
            not entry.dead and now < entry.expires and now < entry.last_used + entry.idle
            for entry in self._by_user.get(user, ())
        )

    def dirty(self, sessions: Iterable[str] | None = None) -> dict[str, tuple[float, int]]:
        """Return the sessions used since `mark_stored`: identifier -> last use, uses in all.

        Those of all, or of the given ones.
        """
        found = {}
        for session in self._by_id if sessions is None else sessions:
            entry = self._by_id.get(session)
            if entry is not None and entry.last_used > entry.stored:
                found[session] = entry.last_used, entry.calls
        return found

    def mark_stored(self, used: Mapping[str, tuple[float, int]]) -> None:
        """Note that these last uses are in the store now."""
        for session, (at, _) in used.items():
            entry = self._by_id.get(session)
            if entry is not None:
                entry.stored = at

    def _refusal(self, entry: _Entry, now: float) -> Refusal | None:
        now = max(now, self._mark)
        if entry.dead:
            return Refusal.REVOKED
        if now >= entry.expires:
            return Refusal.EXPIRED
        if entry.session.tunnel in self._blocked:
            return Refusal.DISABLED
        if self.locks.locks_session(entry.session, now):
            return Refusal.LOCKED
        return Refusal.IDLE if now >= entry.last_used + entry.idle else None
