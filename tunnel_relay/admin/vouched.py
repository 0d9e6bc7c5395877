"""Users whom another issuer vouches for: made and changed by what its tokens say of them."""

from dataclasses import replace

import structlog

from tunnel_relay.admin.changes import ChangeUser
from tunnel_relay.admin.users import UserCommands
from tunnel_relay.identity.claims import Person
from tunnel_relay.identity.rights import NOTHING, Rights, Rules
from tunnel_relay.store.base import Role, User

NO_MORE = "the user may not use this server any more"

log = structlog.get_logger("tunnel_relay.admin")


class VouchedUsers(UserCommands):
    """See `tunnel_relay.admin.service.Admin`.

    The issuer has the last word on these users' groups, and the configuration's rules on what
    follows. A newer token replaces what an older one said; of two that are equally old, what
    both allow. Where there are no rules for an issuer (rights of None), admins add its users and
    say what each may; a token then changes nothing.
    """

    def vouched(self, person: Person, rights: Rights | None) -> User | None:
        """Return the user as the directory has them; None when something has to be stored."""
        before = self.directory.users.get(person.key)
        if before is None or rights is None:
            return before
        now = _changed(before, person, rights)
        if now is None:
            return before
        if replace(now, as_of=before.as_of) != before:
            return None
        # Only the time: not worth a write, because an older token says the same.
        self.directory.users[person.key] = now
        return now

    async def vouch(self, person: Person, rights: Rights | None) -> User:
        """Make or change the user as the issuer says; ends what is not allowed any more.

        Raises StoreError when something is to be given and cannot be stored, RelayError where
        only an admin makes users.
        """
        while True:
            before = self.directory.users.get(person.key)
            if rights is None:
                return before or self._user(person.key)
            if before is None:
                made = User(
                    person.key,
                    person.name,
                    self.clock(),
                    rights.roles,
                    rights.groups,
                    rights.servers,
                    as_of=person.said,
                )
                async with self.pending.lifting(f"user {made.key}"):
                    await self.store.put_user(made)
                found = self.directory.users.setdefault(made.key, made)
                if found is made:
                    log.info("user_vouched_for", user=made.key, servers=made.servers)
                    return made
                continue
            changed = _changed(before, person, rights)
            if changed is None:
                return before
            if _takes_away(before, changed):
                return await self._narrow(before, changed)
            async with self.pending.lifting(f"user {changed.key}"):
                await self.store.put_user(changed)
            if self.directory.users[person.key] is before:
                self.directory.users[person.key] = changed
                log.info("user_vouched_for", user=changed.key, servers=changed.servers)
                return changed

    async def apply_rules(self, rules: Rules) -> int:
        """Hold the configuration's rules of today against every such user; returns how many lost.

        Sessions that came about under other rules end.
        """
        lost = 0
        for key in list(self.directory.users):
            # As they are by now: whoever was disabled while another's sessions ended stays that.
            user = self.directory.users[key]
            if user.as_of is None:
                continue
            rights = rules.rights(user.issuer, user.groups)
            if rights is None:
                continue
            changed = replace(user, roles=rights.roles, servers=rights.servers)
            if changed != user:
                lost += _takes_away(user, changed)
                await self._narrow(user, changed)
        return lost

    async def _narrow(self, before: User, changed: User) -> User:
        """Let a change hold at once, end what it forbids, then store it."""
        self.directory.users[changed.key] = changed
        lost = [
            each
            for each in self.sessions.of_user(changed.key, self.clock())
            if self._opened_by_right(each, before) and not self._opened_by_right(each, changed)
        ]
        report = await self.end_sessions(lost, NO_MORE)
        log.info("user_vouched_for", user=changed.key, servers=changed.servers, **report)
        await self.keep(ChangeUser(changed))
        return self.directory.users[changed.key]


def _changed(before: User, person: Person, rights: Rights) -> User | None:
    """Return the user as the issuer says; None when it said the same, or something newer."""
    if before.as_of is not None and person.said < before.as_of:
        return None
    if before.as_of == person.said:
        rights = Rights(
            _both(before.groups, rights.groups),
            _both(before.servers, rights.servers),
            tuple(role for role in Role if role in before.roles and role in rights.roles),
        )
    changed = replace(
        before,
        name=person.name,
        groups=rights.groups,
        servers=rights.servers,
        roles=rights.roles or NOTHING.roles,
        as_of=person.said,
    )
    return None if changed == before else changed


def _both(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each for each in one if each in other)


def _takes_away(before: User, changed: User) -> bool:
    return not (
        set(before.servers) <= set(changed.servers)
        and set(before.groups) <= set(changed.groups)
        and set(before.roles) <= set(changed.roles)
    )
