"""The commands on users: local accounts, and people that other issuers vouch for."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from pydantic import SecretStr

from tunnel_relay.admin.acting import actor
from tunnel_relay.admin.changes import ChangeUser, EndAdminTokens
from tunnel_relay.admin.checks import changed_meanwhile, check_text, check_user, split_pattern
from tunnel_relay.admin.core import AdminCore
from tunnel_relay.admin.views import user_view
from tunnel_relay.directory import may_open
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.passwords import MIN_LENGTH, acceptable
from tunnel_relay.store.base import Role, Session, StoreError, User

MAX_LISTED = 64
"""Groups, or servers, that an admin gives one user; an issuer may say more groups."""
CHANGEABLE = ("name", "roles", "groups", "servers")

log = structlog.get_logger("tunnel_relay.admin")


class UserCommands(AdminCore):
    """See `tunnel_relay.admin.service.Admin`."""

    async def user_add(
        self,
        user: str,
        name: str | None = None,
        roles: list[str] | None = None,
        groups: list[str] | None = None,
        servers: list[str] | None = None,
        password: SecretStr | None = None,
    ) -> dict[str, Any]:
        """Add a user; without a password there is no login here."""
        key = check_user(user, "the user")
        if key in self.directory.users:
            # Owners of tunnels are known without ever having been added.
            how = "`user change` gives roles and groups, `user password` a login"
            raise RelayError(Code.USER_EXISTS, f"{key} is known already: {how}")
        if password is not None and "#" in key:
            raise RelayError(Code.BAD_REQUEST, "a user of another issuer logs in there")
        made = User(
            key,
            check_text(name, "the name") if name else key.partition("#")[2] or key,
            self.clock(),
            roles=_roles(roles or ()),
            groups=_groups(groups or ()),
            servers=_servers(servers or ()),
            password=await self._hashed(password),
        )
        await self._put(made)
        log.info("user_added", user=key, roles=made.roles, servers=made.servers, by=actor())
        return {"user": user_view(made)}

    async def user_list(self) -> list[dict[str, Any]]:
        """Return all users by key."""
        return [user_view(user) for _, user in sorted(self.directory.users.items())]

    async def user_show(self, user: str) -> dict[str, Any]:
        """Return one user with the sessions that are not over."""
        found = self._user(user)
        sessions = self.sessions.of_user(found.key, self.clock())
        return {**user_view(found), "sessions": [self.view(each) for each in sessions]}

    async def user_change(
        self,
        user: str,
        name: str | None = None,
        roles: list[str] | None = None,
        groups: list[str] | None = None,
        servers: list[str] | None = None,
        was: dict[str, str | list[str]] | None = None,
    ) -> dict[str, Any]:
        """Change what a user is and may; sessions that are no longer allowed end at once.

        `was` says of what is changed how `user_show` told it; it is refused when it is not so now.
        """
        before = self._user(user)
        _still(before, was or {})
        changed = replace(
            before,
            name=before.name if name is None else check_text(name, "the name"),
            roles=before.roles if roles is None else _roles(roles),
            groups=before.groups if groups is None else _groups(groups, before.groups),
            servers=before.servers if servers is None else _servers(servers),
        )
        if changed.roles != before.roles:
            self._may_change_roles(before, changed)
        self.directory.users[before.key] = changed
        lost = [
            each
            for each in self.sessions.of_user(before.key, self.clock())
            if self._opened_by_right(each, before) and not self._opened_by_right(each, changed)
        ]
        report = await self.end_sessions(
            lost, "the user may not use this server any more", ChangeUser(changed)
        )
        log.info("user_changed", user=before.key, by=actor(), **report)
        return {"user": user_view(changed), **report}

    async def user_password(self, user: str, password: SecretStr) -> dict[str, Any]:
        """Set a local user's password."""
        found = self._user(user)
        if "#" in found.key:
            raise RelayError(Code.BAD_REQUEST, "a user of another issuer logs in there")
        hashed = await self._hashed(password)
        changed = await self._change(found.key, lambda now: replace(now, password=hashed))
        log.info("password_set", user=found.key, by=actor())
        return {"user": user_view(changed)}

    async def user_disable(self, user: str, reason: str = "disabled by an admin") -> dict[str, Any]:
        """Refuse a user from now on and end all that is theirs, links of their tunnels included."""
        reason, found = check_text(reason, "the reason"), self._user(user)
        if found.key == actor():
            raise RelayError(Code.NOT_PERMITTED, "you cannot disable yourself")
        self._keep_an_admin(found)
        off = replace(found, disabled=self.clock())
        self.directory.users[found.key] = off
        self.directory.times_off[found.key] += 1
        self.block()
        theirs = [each.name for each in self.tunnels.values() if each.owner == found.key]
        ending = [
            each
            for each in self.sessions.each()
            if each.revoked is None and (each.user == found.key or each.tunnel in theirs)
        ]
        tokens = self.admin_tokens.of_user(found.key)
        self.admin_tokens.drop(tokens)
        also = [EndAdminTokens(tuple(each.id for each in tokens))] if tokens else []
        report = await self.end_sessions(
            ending,
            reason,
            ChangeUser(off),
            *also,
            then_close=lambda: sum(
                self.close_for_now(name, "its owner is disabled") for name in theirs
            ),
        )
        log.info("user_disabled", user=found.key, by=actor(), **report)
        return {"user": user_view(off), **report}

    async def user_enable(self, user: str) -> dict[str, Any]:
        """Let a disabled user in again, unless disabled meanwhile; their sessions ended."""
        since = self._user(user).disabled
        on = await self._change(
            user, lambda now: replace(now, disabled=None) if now.disabled == since else now
        )
        self.block()
        if on.disabled is None:
            log.info("user_enabled", user=on.key, by=actor())
        return {"user": user_view(on)}

    async def note_login(self, user: str) -> None:
        """Remember when a user logged in last; a database that refuses keeps nobody out."""
        found = self.directory.active_user(user)
        if found is None:
            return
        # In memory first and at once: roles that are taken away meanwhile stay away.
        self.directory.users[user] = replace(found, last_login=self.clock())
        try:
            await self.store.put_user(self.directory.users[user])
        except StoreError as error:
            log.warning("login_not_stored", user=user, error=str(error))

    # Inside -------------------------------------------------------------------------------------

    def _user(self, key: str) -> User:
        try:
            return self.directory.users[key]
        except KeyError:
            shown = check_user(key, "the user")
            raise RelayError(Code.USER_UNKNOWN, f"no user is called {shown!r}") from None

    async def _put(self, user: User) -> None:
        async with self.pending.lifting(f"user {user.key}"):
            await self.store.put_user(user)
            found = self.directory.users.setdefault(user.key, user)
            if found is not user:
                # Made by somebody else meanwhile, and perhaps disabled since: that one stays.
                await self.store.put_user(found)
        if found is not user:
            raise RelayError(Code.USER_EXISTS, f"{user.key} was made by somebody else meanwhile")

    async def _change(self, key: str, change: Callable[[User], User]) -> User:
        """Store a change and let it hold, upon what the user is by then."""
        while True:
            before = self._user(key)
            changed = change(before)
            async with self.pending.lifting(f"user {key}"):
                await self.store.put_user(changed)
            if self.directory.users[key] is before:
                self.directory.users[key] = changed
                return changed

    async def _hashed(self, password: SecretStr | None) -> str | None:
        if password is None:
            return None
        if not acceptable(password):
            raise RelayError(Code.WEAK_PASSWORD, f"a password has at least {MIN_LENGTH} characters")
        return await self.passwords.hash(password)

    def _opened_by_right(self, session: Session, user: User) -> bool:
        """Tell whether a user may open this session; one that an admin handed over needs none."""
        tunnel = self.tunnels.get(session.tunnel)
        return tunnel is not None and may_open(user, tunnel, session.upstream)

    def _may_change_roles(self, before: User, changed: User) -> None:
        if before.key == actor():
            raise RelayError(Code.NOT_PERMITTED, "nobody changes their own roles")
        if Role.ADMIN not in changed.roles:
            self._keep_an_admin(before)

    def _keep_an_admin(self, user: User) -> None:
        admins = self.directory.admins()
        if admins and all(each.key == user.key for each in admins):
            raise RelayError(Code.LAST_ADMIN, f"{user.key} is the last admin")


def _roles(roles: Sequence[str]) -> tuple[Role, ...]:
    try:
        wanted = {Role(role) for role in roles} | {Role.USER}
    except ValueError:
        raise RelayError(Code.BAD_REQUEST, f"a role is one of {', '.join(Role)}") from None
    return tuple(role for role in Role if role in wanted)


def _still(user: User, was: Mapping[str, str | list[str]]) -> None:
    """Refuse a change that was made up upon something else than what is so now."""
    shown = user_view(user)
    for what, value in was.items():
        if what not in CHANGEABLE:
            raise RelayError(Code.BAD_REQUEST, f"what it was: one of {', '.join(CHANGEABLE)}")
        if shown[what] != value:
            raise changed_meanwhile(what, user.key)


def _groups(groups: Sequence[str], had: Collection[str] = ()) -> tuple[str, ...]:
    """Return groups in order; those that the user has stay as their issuer writes them."""
    most = max(MAX_LISTED, len(had))
    if len(groups) > most:
        raise RelayError(Code.BAD_REQUEST, f"at most {most} groups")
    return tuple(sorted({each if each in had else check_text(each, "a group") for each in groups}))


def _servers(servers: Sequence[str]) -> tuple[str, ...]:
    if len(servers) > MAX_LISTED:
        raise RelayError(Code.BAD_REQUEST, f"at most {MAX_LISTED} servers")
    return tuple(sorted({split_pattern(each) for each in servers}))
