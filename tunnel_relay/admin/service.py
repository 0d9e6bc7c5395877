"""What admins can do with tunnels and sessions, and what enrolling and connecting clients ask.

One Admin owns the store and the session table of a relay. What takes away holds in memory first
and is stored last (DESIGN: revocation); what gives is stored first.
"""

import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import anyio
import structlog

from shared.errors import CloseCode
from shared.ids import JOIN_PREFIX, SESSION_PREFIX, fingerprint, new_id, new_token, token_digest
from shared.keys import key_fingerprint
from shared.version import VERSION
from tunnel_relay.admin import locks
from tunnel_relay.admin.admission import Admission, Admissions
from tunnel_relay.admin.checks import check_name, check_text, split_server
from tunnel_relay.admin.links import Links, NoLinks
from tunnel_relay.admin.views import SCHEMA_VERSION, instance_view, session_view, tunnel_view
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.sessions import SessionTable
from tunnel_relay.settings import Settings
from tunnel_relay.store.base import (
    ExistsError,
    JoinCode,
    LockKind,
    Session,
    Store,
    StoreError,
    Tunnel,
)

JOIN_CODE_TTL = 3600.0
CUT_DEADLINE = 5.0
"""Seconds to wait for the links' word on what was cut; it is denied already by then."""
MIN_PREFIX = 6
"""Fewest characters by which a session may be named."""

Write = Callable[[], Awaitable[object]]
log = structlog.get_logger("tunnel_relay.admin")


class Admin:
    """Every command; results are JSON values, refusals are RelayError.

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
        self.clock = clock
        self._settings = settings
        self._relay_key = relay_key
        self._serving = serving
        self._started = clock()
        self._tunnels: dict[str, Tunnel] = {}
        # Writes that the store refused after memory had changed; tried again with each flush.
        self._unstored: dict[str, Write] = {}
        self.storing_locks = anyio.Lock()
        self._admissions = Admissions(
            store, clock, lambda: self.links, relay_key, settings.link_origins, self.locks
        )

    async def load(self) -> None:
        """Read tunnels and sessions into memory; raises StoreError."""
        self._tunnels = {tunnel.name: tunnel for tunnel in await self.store.tunnels()}
        for session in await self.store.sessions():
            self.sessions.put(session)
        for lock in await self.store.locks():
            if lock.expires is not None and lock.expires <= self.clock():
                await self.store.remove_lock(lock.id)
            else:
                self.locks.put(lock)
        self._block()

    async def flush_last_used(self) -> None:
        """Write back last uses and what could not be stored before; raises StoreError."""
        for key, write in list(self._unstored.items()):
            if self._unstored.get(key) is write:  # not taken back meanwhile
                await write()
                self._unstored.pop(key, None)
        used = self.sessions.dirty()
        await self.store.touch_sessions(used)
        self.sessions.mark_stored(used)

    # Clients

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

    # Tunnels

    async def tunnel_create(self, name: str, owner: str) -> dict[str, Any]:
        """Register a tunnel; the answer holds the only copy of its join code."""
        check_name(name, "a tunnel")
        tunnel = Tunnel(name, check_text(owner, "the owner"), self.clock())
        code = new_token(JOIN_PREFIX)
        try:
            await self.store.add_tunnel(tunnel, self._join_code(code, name))
        except ExistsError:
            raise RelayError(Code.TUNNEL_EXISTS, f"a tunnel is called {name!r} already") from None
        self._tunnels[name] = tunnel
        log.info("tunnel_created", tunnel=name, owner=owner)
        return {"tunnel": tunnel_view(tunnel, []), **self._joining(code)}

    async def tunnel_list(self) -> list[dict[str, Any]]:
        """Return all tunnels by name."""
        links = self.links.links()
        return [tunnel_view(tunnel, links) for _, tunnel in sorted(self._tunnels.items())]

    async def tunnel_show(self, name: str) -> dict[str, Any]:
        """Return one tunnel with its enrolled clients."""
        links = self.links.links()
        shown = tunnel_view(self._tunnel(name), links)
        instances = await self.store.instances(name)
        return {**shown, "instances": [instance_view(each, links) for each in instances]}

    async def tunnel_disable(self, name: str) -> dict[str, Any]:
        """Refuse links and sessions of a tunnel until it is enabled, and end the live ones."""
        tunnel = self._tunnels[name] = replace(self._tunnel(name), disabled=True)
        self._block()
        closed = self._close(name, "the tunnel was disabled")
        stored = await self.keep(f"tunnel {name}", lambda: self.store.set_disabled(name, True))
        log.info("tunnel_disabled", tunnel=name, closed=closed, **stored)
        return {"tunnel": tunnel_view(tunnel, []), "closed": closed, **stored}

    async def tunnel_enable(self, name: str) -> dict[str, Any]:
        """Let a disabled tunnel work again."""
        tunnel = self._tunnel(name)
        self.take_back(f"tunnel {name}")
        await self.store.set_disabled(name, False)
        tunnel = self._tunnels[name] = replace(tunnel, disabled=False)
        self._block()
        log.info("tunnel_enabled", tunnel=name)
        return {"tunnel": tunnel_view(tunnel, self.links.links())}

    async def tunnel_rotate(self, name: str, drop_instances: bool = False) -> dict[str, Any]:
        """Make a new join code, the only unused one; may also forget the enrolled clients."""
        tunnel = self._tunnel(name)
        code = new_token(JOIN_PREFIX)
        await self.store.replace_join_code(self._join_code(code, name), drop_instances)
        closed = self._close(name, "its keys were dropped") if drop_instances else 0
        log.info("tunnel_rotated", tunnel=name, dropped=drop_instances, closed=closed)
        shown = tunnel_view(tunnel, self.links.links())
        return {"tunnel": shown, "closed": closed, **self._joining(code)}

    async def tunnel_delete(self, name: str) -> dict[str, Any]:
        """Forget a tunnel with its clients and sessions, and end what lives."""
        self._tunnel(name)
        del self._tunnels[name]
        sessions = self.sessions.drop_tunnel(name)
        self._block()
        closed = self._close(name, "the tunnel was deleted")
        stored = await self.keep(f"tunnel {name}", lambda: self.store.delete_tunnel(name))
        log.info("tunnel_deleted", tunnel=name, closed=closed, sessions=len(sessions), **stored)
        return {"deleted": name, "closed": closed, "sessions": len(sessions), **stored}

    # Sessions

    async def session_create(
        self,
        user: str,
        agent: str,
        server: str,
        ttl: float | None = None,
        idle: float | None = None,
    ) -> dict[str, Any]:
        """Grant a user's agent one server; the answer holds the only copy of the token."""
        rules = self._settings.sessions
        ttl = rules.default_ttl if ttl is None else ttl
        idle = min(rules.default_idle, ttl) if idle is None else idle
        if not (0 < ttl <= rules.max_ttl and 0 < idle <= ttl):
            most = f"at most {rules.max_ttl:.0f} s (sessions.max_ttl), and idle no longer than ttl"
            raise RelayError(Code.BAD_DURATION, f"a session lives {most}")
        tunnel, upstream = split_server(server)
        if self._tunnel(tunnel).disabled:
            raise RelayError(Code.BAD_REQUEST, f"the tunnel {tunnel!r} is disabled")
        token, now = new_token(SESSION_PREFIX), self.clock()
        session = Session(
            id=new_id(),
            digest=token_digest(token),
            user=check_text(user, "the user"),
            agent=check_text(agent, "the agent"),
            tunnel=tunnel,
            upstream=upstream,
            created=now,
            expires=now + ttl,
            idle=idle,
            last_used=now,
        )
        if self.locks.locks_session(session, now):
            raise RelayError(Code.LOCKED, "a lock refuses this user, agent or server")
        await self.store.add_session(session)
        self._tunnel(tunnel)  # deleted while we stored: the session went with it
        self.sessions.put(session)
        log.info("session_created", session=fingerprint(session.digest), user=user, server=server)
        url = f"{self._settings.public_url[0]}/t/{tunnel}/{upstream}/mcp"
        offered = tunnel_view(self._tunnel(tunnel), self.links.links())["upstreams"]
        missing = bool(offered) and upstream not in offered
        warning = f"{tunnel} offers {', '.join(offered)} now, not {upstream}" if missing else None
        return {"session": self._view(session), "token": token, "url": url, "warning": warning}

    async def session_list(self, ended: bool = False) -> list[dict[str, Any]]:
        """Return the live sessions, and with `ended` those that are over too, oldest first."""
        views = (self._view(session) for session in self.sessions.all())
        return [view for view in views if ended or view["state"] == "live"]

    async def session_show(self, session: str) -> dict[str, Any]:
        """Return one session; the identifier may be shortened."""
        return self._view(self._session(session))

    async def session_revoke(
        self, session: str, reason: str = "revoked by an admin"
    ) -> dict[str, Any]:
        """End a session for good and report what was cut and whether it is stored."""
        reason = check_text(reason, "the reason")
        now, found = self.clock(), self._session(session)
        revoked = self.sessions.revoke(found.id, now, reason) or found
        cut: dict[str, Any] | None = None
        with anyio.move_on_after(CUT_DEADLINE):
            cut = await self.links.cut_sessions([found.id])
        stored = await self.keep(
            f"session {found.id}",
            lambda: self.store.revoke_session(found.id, now, reason),
        )
        log.info("session_revoked", session=fingerprint(found.digest), cut=cut, **stored)
        return {"session": self._view(revoked), "cut": cut, **stored}

    # Locks

    async def lock_add(
        self, kind: str, subject: str, reason: str, ttl: float | None = None
    ) -> dict[str, Any]:
        """See `locks.add`."""
        if kind not in set(LockKind):
            raise RelayError(Code.BAD_REQUEST, f"a lock is on one of {', '.join(LockKind)}")
        return await locks.add(self, LockKind(kind), subject, reason, ttl)

    async def lock_list(self) -> list[dict[str, Any]]:
        """See `locks.listed`."""
        return locks.listed(self)

    async def lock_remove(self, lock: str) -> dict[str, Any]:
        """See `locks.remove`."""
        return await locks.remove(self, lock)

    async def status(self) -> dict[str, Any]:
        """Return the state of the relay on one screen."""
        now = self.clock()
        states = [self.sessions.state(each.id, now) for each in self.sessions.all()]
        live = states.count(None)
        return {
            "schema_version": SCHEMA_VERSION,
            "version": VERSION,
            "serving": self._serving,
            "uptime": now - self._started if self._serving else None,
            "public_url": list(self._settings.public_url),
            "key": key_fingerprint(self._relay_key),
            "tunnels": len(self._tunnels),
            "disabled": sum(tunnel.disabled for tunnel in self._tunnels.values()),
            "sessions": {"live": live, "ended": len(states) - live},
            "locks": len(self.locks.holding(now)),
            "unstored": len(self._unstored),
            "links": self.links.links(),
        }

    # What these share

    def _tunnel(self, name: str) -> Tunnel:
        try:
            return self._tunnels[name]
        except KeyError:
            shown = check_name(name, "a tunnel")
            raise RelayError(Code.TUNNEL_UNKNOWN, f"no tunnel is called {shown!r}") from None

    def _session(self, start: str) -> Session:
        exact = self.sessions.get(start)
        if exact:
            return exact
        found = [each for each in self.sessions.all() if each.id.startswith(start)]
        if len(start) < MIN_PREFIX or len(found) != 1:
            raise RelayError(
                Code.SESSION_UNKNOWN, f"{len(found)} sessions start with this identifier"
            )
        return found[0]

    def _view(self, session: Session) -> dict[str, Any]:
        return session_view(session, self.sessions.state(session.id, self.clock()))

    def _block(self) -> None:
        self.sessions.block(name for name, each in self._tunnels.items() if each.disabled)

    def _join_code(self, code: str, tunnel: str) -> JoinCode:
        now = self.clock()
        return JoinCode(token_digest(code), tunnel, now, now + JOIN_CODE_TTL)

    def _joining(self, code: str) -> dict[str, Any]:
        command = f"tunnel-client enroll {self._settings.link_origins[0]}"
        if self._settings.dev_authority:
            command += f" --ca-file {shlex.quote(str(self._settings.dev_authority))}"
        return {
            "join_code": code,
            "expires": self.clock() + JOIN_CODE_TTL,
            "command": command,
        }

    def _close(self, tunnel: str, reason: str) -> int:
        return self.links.close_tunnel(tunnel, CloseCode.REVOKED, reason)

    def take_back(self, key: str) -> None:
        """Do not store any more what could not be stored so far."""
        self._unstored.pop(key, None)

    async def keep(self, key: str, write: Write) -> dict[str, Any]:
        """Store what memory already enforces; what fails is kept to be tried again."""
        try:
            await write()
        except StoreError as error:
            self._unstored[key] = write
            log.error("not_stored", code=Code.NOT_YET_STORED, what=key, error=str(error))
            return {"stored": False}
        self._unstored.pop(key, None)
        return {"stored": True}
