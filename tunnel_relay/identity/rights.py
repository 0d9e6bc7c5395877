"""What people may whom an issuer vouches for: the configuration's rules on their groups. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tunnel_relay.settings import Settings
from tunnel_relay.settings_issuers import AllowRule
from tunnel_relay.store.base import Role

MAX_KEPT_GROUPS = 256
"""Groups of one user; those that a rule names come first."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may, and the groups that are kept of them."""

    groups: tuple[str, ...]
    servers: tuple[str, ...]
    roles: tuple[Role, ...]

    def __bool__(self) -> bool:
        """Tell whether they may anything at all."""
        return bool(self.servers) or self.roles != (Role.USER,)


NOTHING = Rights((), (), (Role.USER,))


class Rules:
    """The rules of all issuers; one that stands in two sections has those of both.

    What somebody may must not depend on the door through which they were seen last.
    """

    def __init__(self, settings: Settings) -> None:
        self._servers: dict[str, list[str]] = {}
        self._allow: dict[str, list[AllowRule]] = {}
        for section in settings.issuer:
            self._add(section.url, section.servers, section.allow)
        if settings.oidc is not None:
            self._add(settings.oidc.issuer, settings.oidc.servers, settings.oidc.allow)

    def _add(self, issuer: str, servers: Sequence[str], allow: Sequence[AllowRule]) -> None:
        self._servers.setdefault(issuer, []).extend(servers)
        self._allow.setdefault(issuer, []).extend(allow)

    def rights(self, issuer: str, groups: Iterable[str]) -> Rights | None:
        """Return what a user of an issuer may with these groups; nothing for an unknown issuer.

        None where the configuration has no rule for an issuer: then admins say it of each user.
        """
        if issuer not in self._allow:
            return NOTHING
        if not self._allow[issuer] and not self._servers[issuer]:
            return None
        theirs = set(groups)
        rules = [rule for rule in self._allow[issuer] if rule.group in theirs]
        servers = {*self._servers[issuer], *(each for rule in rules for each in rule.servers)}
        roles = {Role.USER, *(role for rule in rules for role in rule.roles)}
        named = {rule.group for rule in rules}
        kept = [*sorted(named), *sorted(theirs - named)][:MAX_KEPT_GROUPS]
        return Rights(
            tuple(kept), tuple(sorted(servers)), tuple(role for role in Role if role in roles)
        )
