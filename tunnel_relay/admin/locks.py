"""Locks: a user, agent, upstream, tunnel or client key that is refused until it is lifted.

A lock ends what lives and refuses what is new. It holds in memory first, then it cuts, then it is
stored (DESIGN: revocation). Sessions are not revoked by it: once it is lifted, those that did not
end meanwhile work again.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import structlog

from shared.errors import CloseCode
from shared.ids import new_id
from tunnel_relay.admin.checks import check_name, check_text, is_instance, split_server
from tunnel_relay.admin.links import Links
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.locks import LockTable
from tunnel_relay.sessions import SessionTable
from tunnel_relay.store.base import Lock, LockKind, Session, Store

CUT_DEADLINE = 5.0
"""Seconds to wait for the links' word on what was cut; it is denied already by then."""
MAX_CUTS = 64
"""Sessions whose clients are waited for at a time."""
MAX_LOCKS = 10_000
MIN_PREFIX = 6

log = structlog.get_logger("tunnel_relay.admin")


class Owner(Protocol):
    """What locks need of the Admin they belong to."""

    store: Store
    sessions: SessionTable
    locks: LockTable
    links: Links
    clock: Callable[[], float]

    def take_back(self, key: str) -> None:
        """Do not store any more what could not be stored so far."""

    async def keep(self, key: str, write: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """Store what memory enforces already; tell whether that worked."""


async def add(
    owner: Owner, kind: LockKind, subject: str, reason: str, ttl: float | None
) -> dict[str, Any]:
    """Refuse a subject from now on, end what lives of it, and report what was cut."""
    now = owner.clock()
    if ttl is not None and not ttl > 0:
        raise RelayError(Code.BAD_DURATION, "a lock lasts longer than that")
    if len(owner.locks) >= MAX_LOCKS:
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
    cut = await _cut(owner, lock)
    stored = await owner.keep(f"lock {lock.id}", lambda: owner.store.add_lock(lock))
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
    owner.take_back(f"lock {lock.id}")
    await owner.store.remove_lock(lock.id)
    owner.locks.drop(lock.id)
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


async def _cut(owner: Owner, lock: Lock) -> dict[str, Any]:
    """End what the lock is about; returns the sum over its sessions and links."""
    now = owner.clock()
    hit = [each for each in owner.sessions.all() if _would_live(owner, each, lock, now)]
    reports: list[dict[str, Any]] = []
    limit = anyio.CapacityLimiter(MAX_CUTS)

    async def cut(session: Session) -> None:
        async with limit:
            reports.append(await owner.links.cut_session(session.id))

    with anyio.move_on_after(CUT_DEADLINE):
        async with anyio.create_task_group() as tasks:
            for session in hit:
                tasks.start_soon(cut, session)
    closed = 0
    # Not with the code for what is gone for good: the client tries again, slowly.
    if lock.kind is LockKind.KEY:
        closed = owner.links.close_instance(lock.subject, CloseCode.POLICY, "this key is locked")
    elif lock.kind is LockKind.TUNNEL:
        closed = owner.links.close_tunnel(lock.subject, CloseCode.POLICY, "the tunnel is locked")
    return {
        "sessions": len(hit),
        "reported": len(reports),
        "streams": sum(report["streams"] for report in reports),
        "links": max((report["links"] for report in reports), default=0),
        "ms": max((report["ms"] for report in reports), default=0.0),
        "silent": sorted({name for report in reports for name in report.get("silent", ())}),
        "closed": closed,
    }


def _would_live(owner: Owner, session: Session, lock: Lock, now: float) -> bool:
    if session.revoked is not None or now >= session.expires:
        return False
    return lock.subject in LockTable.subjects(session).get(lock.kind, ())
