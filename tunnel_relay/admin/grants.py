"""The commands on sessions, and how every session comes about."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import structlog

from shared.audit.events import note
from shared.ids import SESSION_PREFIX, new_id, new_token, token_digest
from tunnel_relay.admin.acting import actor, acts_as_admin, confined_to
from tunnel_relay.admin.changes import AddBar, EndSessions
from tunnel_relay.admin.checks import MAX_TEXT, check_classes, check_text, check_user, split_server
from tunnel_relay.admin.core import MIN_PREFIX, AdminCore, in_slices
from tunnel_relay.admin.views import bar_view, tunnel_view
from tunnel_relay.audit.facts import of_session
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.session_search import ALL, LIVE, STATES, Wanted
from tunnel_relay.store.base import Bar, Door, Session, StoreError, Token, User

MAX_PAGE = 1000
"""Most sessions in one answer."""

log = structlog.get_logger("tunnel_relay.admin")


class SessionCommands(AdminCore):
    """See `tunnel_relay.admin.service.Admin`."""

    async def session_create(
        self,
        user: str,
        agent: str,
        server: str,
        ttl: float | None = None,
        idle: float | None = None,
        classes: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Grant a user's agent one server; the answer holds the only copy of the token."""
        place = split_server(server)
        ttl, idle = self.lifetime(ttl, idle)
        self.tunnel(place[0])
        agent = check_text(agent, "the agent")
        narrowed = check_classes(classes)
        person = await self._grantee(user)
        session = self.new_session(person, agent, place, ttl, idle, classes=narrowed)
        token = new_token(SESSION_PREFIX)
        session = await self.open_session(session, token_digest(token))
        url = self.server_url(*place)
        offered = tunnel_view(self.tunnel(place[0]), self.links.links())["upstreams"]
        missing = bool(offered) and place[1] not in offered
        warning = f"{place[0]} offers {', '.join(offered)} now, not {place[1]}" if missing else None
        return {"session": self.view(session), "token": token, "url": url, "warning": warning}

    async def _grantee(self, user: str) -> User:
        """Return who a session is for: a user there is, or anybody another issuer vouches for.

        A local name that nobody has is a slip of the pen. The session would belong to somebody
        whom no group, no lock and no `user disable` of the right name reaches.
        """
        key = check_user(user, "the user")
        if key not in self.directory.users and "#" not in key:
            how = "`user add` makes one, with --no-password if they need no login of their own"
            raise RelayError(Code.USER_UNKNOWN, f"no user is called {key!r}: {how}")
        return await self.person(key, "the user")

    def server_url(self, tunnel: str, upstream: str) -> str:
        """Return where agents reach a server: its canonical resource URI (RFC 8707)."""
        return f"{self.settings.public_url[0]}/t/{tunnel}/{upstream}/mcp"

    def new_session(
        self,
        user: User,
        agent: str,
        place: tuple[str, str],
        ttl: float | None = None,
        idle: float | None = None,
        *,
        door: Door = Door.TOKEN,
        classes: tuple[str, ...] = (),
        granted_by: str = "",
    ) -> Session:
        """Return a session within the rules, not yet stored; raises RelayError.

        Its digest is that of a secret nobody has, until `open_session` gives it another.
        """
        ttl, idle = self.lifetime(ttl, idle)
        now = self.clock()
        if now + min(ttl, idle) <= self.sessions.mark:
            raise RelayError(Code.CLOCK_BEHIND, "a session made now would be over already")
        return Session(
            id=new_id(),
            digest=token_digest(new_token(SESSION_PREFIX)),
            user=user.key,
            agent=agent,
            tunnel=place[0],
            upstream=place[1],
            created=now,
            expires=now + ttl,
            idle=idle,
            last_used=now,
            door=door,
            classes=classes,
            granted_by=granted_by or actor(),
        )

    def lifetime(self, ttl: float | None, idle: float | None) -> tuple[float, float]:
        """Return how long a session lives, and unused; raises RelayError beyond the rules."""
        rules = self.settings.sessions
        ttl = rules.default_ttl if ttl is None else ttl
        idle = min(rules.default_idle, ttl) if idle is None else idle
        if not (0 < ttl <= rules.max_ttl and 0 < idle <= ttl):
            most = f"at most {rules.max_ttl:.0f} s (sessions.max_ttl), and idle no longer than ttl"
            raise RelayError(Code.BAD_DURATION, f"a session lives {most}")
        return ttl, idle

    async def open_session(
        self, session: Session, digest: bytes | None = None, tokens: Sequence[Token] = ()
    ) -> Session:
        """Store a session and let it be used: by the token of `digest`, or by `tokens`.

        Raises RelayError when a lock or a disabled user, agent or tunnel refuses it, StoreError.
        """
        if digest is not None:
            session = replace(session, digest=digest)
        self._refuse(session)
        await self.store.add_session(session, tokens)
        try:
            self._refuse(session)  # what was true may have changed while we stored
        except RelayError:
            await self.keep(EndSessions(session.id, (session.id,), self.clock(), "refused"))
            raise
        self.sessions.put(session)
        for token in tokens:
            self.sessions.add_token(token)
        note("session.created", **of_session(session), by=session.granted_by)
        log.info(
            "session_created",
            session=session.id[:12],
            user=session.user,
            agent=session.agent,
            server=session.place,
            door=session.door.value,
            by=session.granted_by,
        )
        return session

    def _refuse(self, session: Session) -> None:
        if self.tunnel(session.tunnel).disabled or self.owner_is_off(session.tunnel):
            raise RelayError(Code.BAD_REQUEST, f"the tunnel {session.tunnel!r} is disabled")
        if self.directory.refuses(session.user, session.agent):
            raise RelayError(Code.USER_DISABLED, "the user or the agent is disabled")
        if self.locks.locks_session(session, self.clock()):
            raise RelayError(Code.LOCKED, "a lock refuses this user, agent or server")
        most = self.settings.limits.user_sessions
        if self.sessions.count_of_user(session.user, self.clock()) >= most:
            raise RelayError(Code.TOO_MANY_SESSIONS, f"{session.user} has {most} sessions already")

    async def session_list(
        self,
        ended: bool = False,
        query: str = "",
        user: str | None = None,
        state: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> dict[str, Any]:
        """Return sessions, newest first, and `next` to give as `after` for those that follow.

        Live ones, unless `state` or `ended` asks for others. `query` is found in user, agent and
        server, or is the start of the identifier or fingerprint.
        """
        state = state or (ALL if ended else LIVE)
        if state not in STATES or not 0 < limit <= MAX_PAGE or len(query) > MAX_TEXT:
            raise RelayError(
                Code.BAD_REQUEST,
                f"limit is 1 to {MAX_PAGE}, query at most {MAX_TEXT} characters, "
                f"state one of {', '.join(STATES)}",
            )
        own = confined_to()
        if own is not None:
            user = own if user in (None, own) else ""  # nobody is called so: nothing is found
        wanted, now = Wanted(state, user, query).test(), self.clock()
        found: list[Session] = []
        async for ids in in_slices(self._sessions_after(after)):
            found += [each for each, over in self.sessions.look(ids, now) if wanted(each, over)]
            if len(found) > limit:
                break
        shown = [each for each in (self.sessions.get(one.id) for one in found[:limit]) if each]
        more = found[limit - 1].id if len(found) > limit else None
        return {"sessions": [self.view(each) for each in shown], "next": more}

    def _sessions_after(self, after: str | None) -> list[str]:
        ids = self.sessions.newest_first()
        if after is None:
            return ids
        try:
            return ids[ids.index(after) + 1 :]
        except ValueError:
            raise RelayError(Code.SESSION_UNKNOWN, "the session to go on after is gone") from None

    async def session_show(self, session: str) -> dict[str, Any]:
        """Return one session; the identifier may be shortened."""
        return self.view(self.session(session))

    async def session_revoke(self, session: str, reason: str | None = None) -> dict[str, Any]:
        """End a session for good and report what was cut and whether it is stored."""
        by = "an admin" if acts_as_admin() else "its user"
        reason = check_text(f"revoked by {by}" if reason is None else reason, "the reason")
        now, found = self.clock(), self.session(session)
        if found.user != actor() and not acts_as_admin():
            raise RelayError(Code.ROLE_NEEDED, "only an admin ends the sessions of others")
        revoked = self.sessions.revoke(found.id, now, reason) or found
        note("session.revoked", **of_session(found), by=actor(), reason=reason)
        bar = self._bar(revoked, reason)
        cut = await self.cut([found.id])
        ended = EndSessions(found.id, (found.id,), now, reason)
        stored = await self.keep(*(() if bar is None else (AddBar(bar),)), ended)
        log.info("session_revoked", session=found.id[:12], cut=cut, by=actor(), **stored)
        return {"session": self.view(revoked), "cut": cut, **stored}

    def _bar(self, session: Session, reason: str) -> Bar | None:
        """Keep out the tokens of the login that a session of an issuer's came from."""
        if session.door is not Door.ISSUER:
            return None
        bar = Bar(
            session.id,
            session.user,
            session.agent,
            session.tunnel,
            session.upstream,
            self.clock(),
            reason,
        )
        self.bars.put(bar)
        return bar

    async def session_barred(self) -> list[dict[str, Any]]:
        """Return what keeps issuers' tokens out since their sessions were revoked."""
        return [bar_view(bar) for bar in self.bars.all()]

    async def session_lift(self, session: str) -> dict[str, Any]:
        """Let issuers' tokens open again what was revoked; the identifier may be shortened."""
        found = [bar for bar in self.bars.all() if bar.id.startswith(session)]
        if len(session) < MIN_PREFIX or len(found) != 1:
            raise RelayError(
                Code.SESSION_UNKNOWN, f"{len(found)} barred sessions start with this identifier"
            )
        try:
            async with self.pending.lifting(f"bar {found[0].id}"):
                await self.store.remove_bar(found[0].id)
        except StoreError:
            await self.pending.keep(AddBar(found[0]))  # it holds on, after a restart too
            raise
        self.bars.drop(found[0])
        note("session.lifted", session=found[0].id, user=found[0].user, by=actor())
        log.info("session_lifted", user=found[0].user, agent=found[0].agent, by=actor())
        return {"barred": bar_view(found[0])}
