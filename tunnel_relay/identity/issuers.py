"""External issuers: fetches their keys, and makes sessions of the tokens they gave out.

A token opens the session of its user, agent and server, which is made at the first use. A later
token of the same three opens the same session while it lives. A session that an admin ended is not
opened again by a token that was issued before; one that ended by time is followed by a new one.
"""

import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

import anyio
import structlog

from shared.ids import token_digest
from tunnel_relay.admin.service import Admin
from tunnel_relay.directory import may_open
from tunnel_relay.errors import RelayError
from tunnel_relay.identity.bearers import (
    BearerError,
    Claims,
    IssuerKeys,
    NoKeyError,
    judge,
)
from tunnel_relay.identity.documents import DocumentError, fetch
from tunnel_relay.settings import Issuer
from tunnel_relay.store.base import Door, Session, StoreError, User

REFRESH_SECONDS = 300.0
AGAIN_SECONDS = 10.0
"""The keys are not fetched more often than this, however many unknown ones are named."""
MAX_KNOWN = 50_000
MAX_OPENING = 256

log = structlog.get_logger("tunnel_relay.issuers")


class Busy:
    """No verdict can be given now: no keys were fetched yet, or too many sessions are opening."""


BUSY = Busy()


class Issuers:
    """Judges tokens of external issuers; one instance a relay, `run` in its task group."""

    def __init__(
        self,
        admin: Admin,
        issuers: Sequence[Issuer],
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._admin = admin
        self._issuers = {issuer.url: IssuerKeys(issuer) for issuer in issuers}
        self._trust = trust
        self._known: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._bad: OrderedDict[tuple[bytes, str], float] = OrderedDict()
        self._opening = anyio.Lock()
        self._waiting = 0
        self._wanted = anyio.Event()

    def resource(self, place: str) -> str:
        """Return the canonical URL of `tunnel/upstream`."""
        tunnel, _, upstream = place.partition("/")
        return self._admin.server_url(tunnel, upstream)

    def __bool__(self) -> bool:
        return bool(self._issuers)

    # The hot path -------------------------------------------------------------------------------

    def find(
        self, token: str, resource: str, now: float
    ) -> tuple[Session, float] | Claims | Busy | None:
        """Return the session of a token and when the token ends, or what to open one with.

        Busy when nobody can tell now; None when the token opens nothing.
        """
        digest = token_digest(token)
        known = self._known.get(digest)
        if known is not None:
            session = self._admin.sessions.get_live(known[0], now, known[1])
            if session is not None:
                # For another server it is no audience of it: judged anew, and refused.
                if self._admin.server_url(session.tunnel, session.upstream) == resource:
                    return session, known[1]
            else:
                del self._known[digest]
        if self._bad.get((digest, resource), 0.0) > now:
            return None
        try:
            return judge(token, self._issuers, resource, now)
        except NoKeyError as error:
            self._wanted.set()
            if not error.fetched:
                return BUSY
            return None
        except BearerError as error:
            log.info("token_refused", reason=str(error))
            self._bad[digest, resource] = now + REFRESH_SECONDS
            if len(self._bad) > MAX_KNOWN:
                self._bad.popitem(last=False)
            return None

    # Opening ------------------------------------------------------------------------------------

    async def open(
        self, token: str, claims: Claims, place: tuple[str, str]
    ) -> Session | Busy | None:
        """Return the session that a good token is for, made when there is none.

        None when its user may not open this server, or an admin ended it after the token came.
        """
        if self._waiting >= MAX_OPENING:
            return BUSY
        self._waiting += 1
        try:
            async with self._opening:
                session = await self._open(claims, place)
        except StoreError as error:
            log.error("session_not_stored", error=str(error))
            return BUSY
        except RelayError as error:
            log.info("session_refused", reason=error.message)
            return None
        finally:
            self._waiting -= 1
        if session is not None:
            self._known[token_digest(token)] = session.id, claims.expires
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return session

    async def _open(self, claims: Claims, place: tuple[str, str]) -> Session | None:
        admin, now = self._admin, self._admin.clock()
        user = await self._user(claims)
        tunnel = admin.tunnels.get(place[0])
        if tunnel is None or not may_open(user, tunnel, place[1]):
            return None
        for session in admin.sessions.all_of_user(user.key):
            if (session.agent, session.tunnel, session.upstream) != (claims.agent, *place):
                continue
            if session.door is not Door.ISSUER:
                continue
            if session.revoked is not None and claims.issued <= session.revoked:
                log.warning("token_of_ended_session", user=user.key, server="/".join(place))
                return None
            if admin.sessions.state(session.id, now) is None:
                return admin.sessions.get_live(session.id, now, claims.expires)
        made = admin.new_session(
            user, claims.agent, place, door=Door.ISSUER, granted_by=claims.issuer
        )
        await admin.open_session(made)
        return admin.sessions.get_live(made.id, admin.clock(), claims.expires)

    async def _user(self, claims: Claims) -> User:
        """Keep what the issuer says of a user; servers that are no longer theirs end."""
        admin, issuer = self._admin, self._issuers[claims.issuer].settings
        servers = {*issuer.servers}
        for group in claims.groups:
            servers.update(issuer.groups.get(group, ()))
        before = admin.directory.users.get(claims.user)
        if before is None:
            name = claims.name or claims.subject
            before = User(claims.user, name, admin.clock())
        wanted = replace(before, groups=claims.groups, servers=tuple(sorted(servers)))
        if admin.directory.users.get(claims.user) != wanted:
            await admin.put_user(wanted)
        return wanted

    # Keys ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the keys fresh, until cancelled."""
        while self._issuers:
            began = time.monotonic()
            for known in self._issuers.values():
                await self._refresh(known)
            self._wanted = anyio.Event()
            await anyio.sleep(max(0.0, AGAIN_SECONDS - (time.monotonic() - began)))
            with anyio.move_on_after(REFRESH_SECONDS):
                await self._wanted.wait()

    async def _refresh(self, known: IssuerKeys) -> None:
        url = known.settings.url
        try:
            where = known.settings.jwks_url or await self._discover(url)
            count = known.replace(await self._fetch(where, "application/jwk-set+json"))
        except DocumentError as error:
            log.error("issuer_keys_not_fetched", issuer=url, reason=str(error))
        else:
            log.info("issuer_keys", issuer=url, keys=count)

    async def _discover(self, issuer: str) -> str:
        parts = urlsplit(issuer)
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        for where in (
            f"{origin}{path}/.well-known/openid-configuration",
            f"{origin}/.well-known/oauth-authorization-server{path}",
        ):
            try:
                described = await self._fetch(where)
            except DocumentError:
                continue
            found = described.get("jwks_uri")
            if described.get("issuer") == issuer and isinstance(found, str):
                return _same_kind(found, issuer)
        raise DocumentError("no metadata that names this issuer")

    async def _fetch(self, url: str, *media_types: str) -> dict[str, object]:
        parts = urlsplit(url)
        trust = self._trust() if parts.scheme == "https" else None
        hosts = [parts.hostname or ""]  # the operator named it
        return await fetch(url, hosts, trust, ("application/json", *media_types))


def _same_kind(url: str, issuer: str) -> str:
    """Return the address of a key set: https, or on loopback where the issuer is there too."""
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme, parts.netloc) == urlsplit(issuer)[:2]:
        return url
    raise DocumentError("its key set is not served by https")
