"""Locks: a user, agent, upstream, tunnel or client key that is refused until it is lifted.

A lock ends what lives and refuses what is new. It holds in memory first, then it cuts, then it is
stored (DESIGN: revocation). Sessions are not revoked by it: once it is lifted, those that did not
end meanwhile work again.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Protocol

import anyio
import structlog

from shared.audit.events import note
from shared.errors import CloseCode
from shared.ids import new_id
from tunnel_relay.admin.acting import actor
from tunnel_relay.admin.changes import AddLock
from tunnel_relay.admin.checks import check_name, check_text, is_instance, split_server
from tunnel_relay.admin.links import CLOSE_WAIT, CUT_WAIT, Links
from tunnel_relay.admin.pending import Pending
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.locks import SUBJECTS, LockTable
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.base import Lock, LockKind, Session, Store, StoreError

MAX_LOCKS = 10_000
MAX_TTL = 3650 * 86400.0
"""Ten years; what is to hold for longer is lifted by somebody, not by time."""
MIN_PREFIX = 6

log = structlog.get_logger("tunnel_relay.admin")


class Owner(Protocol):
    """What locks need of the Admin they belong to."""

    store: Store
    sessions: SessionTable
    locks: LockTable
    storing_locks: anyio.Lock
    """Held while a lock is stored or removed, so that the two come in order."""
    links: Links
    clock: Callable[[], float]

    pending: Pending

    async def cut(self, sessions: Sequence[str], wait: float = ...) -> dict[str, Any]:
        """End what sessions run and tell their clients; report it."""


async def add(
    owner: Owner, kind: LockKind, subject: str, reason: str, ttl: float | None
) -> dict[str, Any]:
    """Refuse a subject from now on, end what lives of it, and report what was cut."""
    now = owner.clock()
    if ttl is not None and not 0 < ttl <= MAX_TTL:
        most = f"a lock lasts at most {MAX_TTL / 86400:.0f}d, or without a ttl until it is lifted"
        raise RelayError(Code.BAD_DURATION, most)
    if len(owner.locks.holding(now)) >= MAX_LOCKS:
        raise RelayError(Code.BAD_REQUEST, f"there are {MAX_LOCKS} locks already")
    lock = Lock(
        id=new_id(),
        kind=kind,
        subject=_subject(kind, subject),
        reason=check_text(reason, "the reason"),
        created=now,
        expires=None if ttl is None else now + ttl,
    )
    owner.locks.put(lock)
    facts = {"lock": lock.id, "on": kind.value, "subject": lock.subject, "by": actor()}
    note("lock.set", **facts, reason=lock.reason, expires=None if ttl is None else int(now + ttl))
    cut = await _cut(owner, lock)
    stored: dict[str, Any] = {"stored": True}
    async with owner.storing_locks:
        if lock.id in owner.locks:  # else it was lifted while it cut
            stored = await owner.pending.keep(AddLock(lock))
        if stored["stored"]:
            await _purge(owner, now)
    log.info("lock_added", lock=lock.id, kind=kind.value, subject=lock.subject, cut=cut, **stored)
    return {"lock": view(lock), "cut": cut, **stored}


def listed(owner: Owner) -> list[dict[str, Any]]:
    """Return the locks that hold now, oldest first."""
    return [view(lock) for lock in owner.locks.holding(owner.clock())]


async def remove(owner: Owner, start: str) -> dict[str, Any]:
    """Lift a lock; its identifier may be shortened."""
    found = [each for each in owner.locks.all() if each.id.startswith(start)]
    if len(start) < MIN_PREFIX or len(found) != 1:
        raise RelayError(Code.LOCK_UNKNOWN, f"{len(found)} locks start with this identifier")
    lock = found[0]
    # Stored first: what gives must not be forgotten by the store and then come back.
    async with owner.storing_locks:
        try:
            async with owner.pending.lifting(f"lock {lock.id}"):
                await owner.store.remove_lock(lock.id)
        except StoreError:
            await owner.pending.keep(AddLock(lock))  # it holds on, after a restart too
            raise
        owner.locks.drop(lock.id)
    note("lock.lifted", lock=lock.id, on=lock.kind.value, subject=lock.subject, by=actor())
    log.info("lock_removed", lock=lock.id, kind=lock.kind.value, subject=lock.subject)
    return {"lock": view(lock)}


def view(lock: Lock) -> dict[str, Any]:
    """Show a lock as JSON values."""
    return {
        "id": lock.id,
        "kind": lock.kind.value,
        "subject": lock.subject,
        "reason": lock.reason,
        "created": lock.created,
        "expires": lock.expires,
    }


def _subject(kind: LockKind, subject: str) -> str:
    if kind is LockKind.UPSTREAM:
        return "/".join(split_server(subject))
    if kind is LockKind.TUNNEL:
        return check_name(subject, "a tunnel")
    if kind is LockKind.KEY and not is_instance(subject):
        raise RelayError(
            Code.BAD_REQUEST, "a key is named by its client: tunnel-relay tunnel show NAME"
        )
    return check_text(subject, "the subject")


async def _purge(owner: Owner, now: float) -> None:
    """Forget the locks whose time is over; what the store keeps of them refuses nobody."""
    for lock in owner.locks.all():
        if lock.expires is not None and lock.expires <= now:
            owner.locks.drop(lock.id)
            with suppress(StoreError):
                async with owner.pending.lifting(f"lock {lock.id}"):
                    await owner.store.remove_lock(lock.id)


async def _cut(owner: Owner, lock: Lock) -> dict[str, Any]:
    """End what the lock is about, all of it at once; then wait for the clients' word."""
    now = owner.clock()
    hit = _would_live(owner.sessions.each(), lock, now)
    owner.sessions.note_cut(hit, now)  # for clients that are away now
    # Not with the code for what is gone for good: the client tries again, slowly.
    closed = 0
    if lock.kind is LockKind.KEY:
        closed = owner.links.close_instance(lock.subject, CloseCode.POLICY, "this key is locked")
    report = await owner.cut(hit, CLOSE_WAIT if lock.kind is LockKind.TUNNEL else CUT_WAIT)
    if lock.kind is LockKind.TUNNEL:
        # Last: the orders had to go out on these links.
        closed = owner.links.close_tunnel(lock.subject, CloseCode.POLICY, "the tunnel is locked")
    return {"sessions": len(hit), "closed": closed, **report}


def _would_live(sessions: Iterable[Session], lock: Lock, now: float) -> list[str]:
    subject_of = SUBJECTS.get(lock.kind)
    if subject_of is None:
        return []
    return [
        each.id
        for each in sessions
        if subject_of(each) == lock.subject and each.revoked is None and now < each.expires
    ]
