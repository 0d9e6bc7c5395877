"""Access tokens of external issuers: verdicts from memory, and the sessions they open.

A token opens the session of its user, agent and server, which is made at the first use; a later
token of the same three opens the same session while it lives. What ended by time is followed by a
new session. What an admin revoked stays shut for every token of the login it came from
(`tunnel_relay/bars.py`), refreshed ones too.

Cheap checks come first. A token that was judged is known by its digest, good or bad, and costs one
look-up after that.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum, auto
from typing import Any, TypeVar

import anyio
import structlog

from shared.ids import fingerprint, token_digest
from tunnel_relay.admin.service import Admin
from tunnel_relay.admin.vouched import NO_MORE
from tunnel_relay.directory import may_open
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.claims import Access, read_access
from tunnel_relay.identity.providers import Provider, Vanished
from tunnel_relay.identity.rights import Rules
from tunnel_relay.identity.signed import TokenError, Unverified, check_signature, looks_signed, read
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.settings_issuers import IssuerSettings
from tunnel_relay.store.base import Door, Session, StoreError, User

MAX_KEPT = 10_000
"""Good tokens, and bad ones, that are known by their digest."""
CHECKS = 1000.0, 1000.0
"""(a second, at once) signatures that are checked: at most a tenth of a core."""
CHECKS_OF_ADDRESS = 250.0, 250.0
"""The same for one address: nobody uses up what all have."""
TOLD = 1.0, 20.0
"""(a second, at once) bad tokens that the log explains."""
TYPES = frozenset(("jwt", "at+jwt"))
_ALL = "all"

V = TypeVar("V")

log = structlog.get_logger("tunnel_relay.issuers")


class No(Enum):
    """Why a token opens nothing now; the caller learns only what its answer says."""

    TOKEN = auto()
    SERVER = auto()
    """Not permitted, or there is none: the same answer."""
    SCOPE = auto()
    SESSIONS = auto()
    """Its user has as many as one may have."""
    LATER = auto()
    """No keys yet, the database refuses, or too much at once."""


class Accepted:
    """A good token for one server; `session` is what it opened, if it did already.

    `good` is cleared when its key vanishes: whoever holds on to this has to look.
    """

    __slots__ = ("access", "good", "issuer", "key", "place", "session")

    def __init__(
        self, access: Access, issuer: "Issuer", key: tuple[str, str], place: tuple[str, str]
    ) -> None:
        self.access = access
        self.issuer = issuer
        self.key = key
        self.place = place
        self.session: Session | None = None
        self.good = True

    @property
    def subject(self) -> tuple[str, str, str, str]:
        """User, agent, tunnel, upstream."""
        return (self.access.person.key, self.access.agent, *self.place)


class Waits:
    """Something has to be waited for: keys (`accepted` is None), or the store."""

    __slots__ = ("accepted", "address", "issuer", "place", "token")

    def __init__(
        self, issuer: "Issuer", token: str, place: str, address: str, accepted: Accepted | None
    ) -> None:
        self.issuer = issuer
        self.token = token
        self.place = place
        self.address = address
        self.accepted = accepted


class Issuer:
    """One configured issuer and its keys."""

    def __init__(self, settings: IssuerSettings, on_change: Callable[[Vanished], None]) -> None:
        self.settings = settings
        self.scopes = frozenset((settings.scope or "").split())
        self.provider = Provider(
            settings.url,
            settings.algorithms,
            jwks_url=settings.jwks_url,
            ca_file=settings.ca_file,
            on_change=on_change,
        )


class Issuers:
    """Judges tokens of external issuers; `run` in a task group. One instance a relay.

    `guesses` counts wrong tokens by address: whoever sent too many gets no signature checked.
    """

    def __init__(self, admin: Admin, guesses: RateLimit | None = None) -> None:
        self._admin = admin
        self._guesses = guesses
        self._rules = Rules(admin.settings)
        self._issuers: dict[str, Issuer] = {}
        for settings in admin.settings.issuer:
            self._issuers[settings.url] = Issuer(settings, self._forget_by(settings.url))
        self._kept: OrderedDict[bytes, Accepted] = OrderedDict()
        self._bad: OrderedDict[bytes, None] = OrderedDict()
        self._checks = RateLimit(*CHECKS)
        self._checks_of = RateLimit(*CHECKS_OF_ADDRESS)
        self._told = RateLimit(*TOLD)
        self._turns = Turns()

    def __bool__(self) -> bool:
        return bool(self._issuers)

    async def run(self) -> None:
        """Keep the keys fresh, until cancelled."""
        async with anyio.create_task_group() as tasks:
            for issuer in self._issuers.values():
                tasks.start_soon(issuer.provider.run)

    def facts(self) -> list[dict[str, Any]]:
        """Return what `status` shows of each issuer; see `Provider.facts`."""
        return [issuer.provider.facts() for issuer in self._issuers.values()]

    # From memory --------------------------------------------------------------------------------

    def judge(self, token: str, place: str, address: str, tick: float) -> Accepted | Waits | No:
        """Judge a token brought to `tunnel/upstream` from an address; counts a use of its session.

        `tick` in the seconds of the clock of `guesses`.
        """
        digest = token_digest(f"{place} {token}")
        kept = self._kept.get(digest)
        if kept is not None:
            session = kept.session
            if session is not None and kept.good:
                now = self._admin.clock()
                if self._admin.sessions.again(session, now, kept.access.ends) is not None:
                    self._kept.move_to_end(digest)
                    return kept
            return self._admit(kept, token, place, address)
        if digest in self._bad:
            return No.TOKEN
        try:
            return self._verify(digest, token, place, address, tick)
        except TokenError as error:
            if error.lasting:
                _remember(self._bad, digest, None)
            # Anybody can send as many of these as they like.
            if not self._told.take(_ALL, tick):
                log.info("token_refused", reason=str(error), token=fingerprint(digest))
            return No.TOKEN

    def _verify(
        self, digest: bytes, token: str, place: str, address: str, tick: float
    ) -> Accepted | Waits | No:
        if not looks_signed(token):
            return No.TOKEN
        said = read(token)
        issuer, access = self._claimed(said, place)
        peer = address_key(address)
        if self._guesses is not None and self._guesses.spent(peer, tick):
            return No.TOKEN
        key = issuer.provider.key(said.kid, said.algorithm)
        if not issuer.provider.ready:
            return No.LATER
        if key is None:
            if issuer.provider.may_look:
                return Waits(issuer, token, place, address, None)
            raise TokenError("signed with a key that is not known", lasting=False)
        if self._checks_of.take(peer, tick) or self._checks.take(_ALL, tick):
            return No.LATER
        check_signature(said, key)
        tunnel, _, upstream = place.partition("/")
        accepted = Accepted(access, issuer, (said.kid, said.algorithm), (tunnel, upstream))
        gone = _remember(self._kept, digest, accepted)
        if gone is not None:
            gone.good = False  # its connection brings it again
        return self._admit(accepted, token, place, address)

    def _claimed(self, said: Unverified, place: str) -> tuple[Issuer, Access]:
        """Return what a token claims, if that would be good; raises TokenError."""
        url = said.claims.get("iss")
        issuer = self._issuers.get(url) if isinstance(url, str) else None
        if issuer is None:
            raise TokenError("of an issuer that is not configured")
        if said.kind not in TYPES or said.algorithm not in issuer.settings.algorithms:
            raise TokenError("of another type, or signed in a way that is not allowed")
        audiences = [f"{url}/t/{place}/mcp" for url in self._admin.settings.public_url]
        if issuer.settings.audience is not None:
            audiences.append(issuer.settings.audience)
        return issuer, read_access(said.claims, issuer.settings, audiences, self._admin.clock())

    def _admit(self, kept: Accepted, token: str, place: str, address: str) -> Accepted | Waits | No:
        """Find the session of a verified token as things stand now."""
        refused = self._refuses(kept)
        if refused is not None:
            return refused
        person, admin = kept.access.person, self._admin
        rights = self._rules.rights(person.issuer, person.groups)
        # Whom no rule gives anything fills no table.
        if not rights and person.key not in admin.directory.users:
            return No.SERVER
        user = admin.vouched(person, rights)
        if user is None:
            return Waits(kept.issuer, token, place, address, kept)
        if not self._may(user, kept):
            return No.SERVER
        session = self._live(kept)
        if session is None:
            return Waits(kept.issuer, token, place, address, kept)
        kept.session = session
        return kept

    def _refuses(self, kept: Accepted) -> No | None:
        admin, access = self._admin, kept.access
        if not kept.good or admin.sessions.reach(admin.clock()) >= access.ends:
            return No.TOKEN
        if admin.directory.refuses(access.person.key, access.agent):
            return No.TOKEN
        if not kept.issuer.scopes <= access.scopes:
            return No.SCOPE
        leeway = kept.issuer.settings.leeway
        return No.TOKEN if admin.bars.bars(kept.subject, access.logged_in, leeway) else None

    def _may(self, user: User, kept: Accepted) -> bool:
        tunnel = self._admin.tunnels.get(kept.place[0])
        return tunnel is not None and may_open(user, tunnel, kept.place[1])

    def _live(self, kept: Accepted) -> Session | None:
        """Return the session of the same user, agent and server, and count a use of it."""
        admin, (user, agent, *place) = self._admin, kept.subject
        for session in admin.sessions.each_of_user(user):
            if session.door is Door.ISSUER and session.agent == agent:
                same = [session.tunnel, session.upstream] == place
                if same and admin.sessions.again(session, admin.clock(), kept.access.ends):
                    return session
        return None

    def _forget_by(self, url: str) -> Callable[[Vanished], None]:
        def forget(vanished: Vanished) -> None:
            # A token that was bad because of its key may be good with a new one.
            self._bad.clear()
            for digest, kept in list(self._kept.items()):
                if kept.issuer.settings.url == url and kept.key in vanished:
                    kept.good = False
                    del self._kept[digest]

        return forget

    # What has to wait ---------------------------------------------------------------------------

    async def settle(self, waits: Waits, tick: Callable[[], float]) -> Accepted | No:
        """Wait for what a token needs: its key, then its session."""
        if waits.accepted is None:
            await waits.issuer.provider.look()
            judged = self.judge(waits.token, waits.place, waits.address, tick())
            if not isinstance(judged, Waits):
                return judged
            if judged.accepted is None:
                return No.TOKEN
            waits = judged
        kept = waits.accepted
        return No.TOKEN if kept is None else await self._open(kept)

    async def _open(self, kept: Accepted) -> Accepted | No:
        person = kept.access.person
        async with self._turns.of(person.key):
            try:
                opened = await self._opened(kept)
            except StoreError as error:
                log.error("session_not_stored", error=str(error))
                return No.LATER
            except RelayError as error:
                log.info("session_refused", user=person.key, code=error.code, reason=error.message)
                return No.SESSIONS if error.code is Code.TOO_MANY_SESSIONS else No.TOKEN
        if isinstance(opened, No):
            return opened
        kept.session = opened
        return kept

    async def _opened(self, kept: Accepted) -> Session | No:
        """Bring the user up to date and return the session, made when there is none."""
        admin, access = self._admin, kept.access
        refused = self._refuses(kept)
        if refused is not None:
            return refused
        person = access.person
        rights = self._rules.rights(person.issuer, person.groups)
        if not self._may(await admin.vouch(person, rights), kept):
            return No.SERVER
        session = self._live(kept)
        if session is not None:
            return session
        user = admin.directory.users[person.key]
        made = admin.new_session(
            user, access.agent, kept.place, door=Door.ISSUER, granted_by=person.issuer
        )
        await admin.open_session(made)
        # While it was stored there was no session that could have ended.
        if not self._may(admin.directory.users[person.key], kept):
            await admin.end_sessions([made], NO_MORE)
            return No.SERVER
        refused = self._refuses(kept)
        if refused is not None:
            await admin.end_sessions([made], "its token opens nothing any more")
            return refused
        return admin.sessions.again(made, admin.clock(), access.ends) or No.TOKEN

    async def apply_rules(self) -> None:
        """Hold the rules of today against the users of issuers, before anybody is served."""
        lost = await self._admin.apply_rules(self._rules)
        if lost:
            log.info("rules_applied", users=lost)


class Turns:
    """One at a time for each key."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[anyio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: str) -> AsyncIterator[None]:
        """Wait for one's turn."""
        lock, waiting = self._locks.get(key, (anyio.Lock(), 0))
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[key]
            if waiting == 1:
                del self._locks[key]
            else:
                self._locks[key] = lock, waiting - 1


def _remember(kept: "OrderedDict[bytes, V]", digest: bytes, value: V) -> V | None:
    """Keep a value; returns the one that had to go for it."""
    kept[digest] = value
    return kept.popitem(last=False)[1] if len(kept) > MAX_KEPT else None
