"""The users and agents a relay knows: in memory, so that a verdict costs no wait. Pure."""

from collections import Counter
from collections.abc import Iterable

from tunnel_relay.store.base import Agent, Role, Tunnel, User


class Directory:
    """All users by key, all agents by identifier."""

    def __init__(self, users: Iterable[User] = (), agents: Iterable[Agent] = ()) -> None:
        self.users = {user.key: user for user in users}
        self.agents = {agent.id: agent for agent in agents}
        self.times_off: Counter[str] = Counter()
        """How often each user was disabled since the start: a login of before is over for good."""

    def active_user(self, key: str) -> User | None:
        """Return a user who is not disabled."""
        user = self.users.get(key)
        return None if user is None or user.disabled is not None else user

    def active_agent(self, agent: str) -> Agent | None:
        """Return an agent that is registered and not disabled."""
        found = self.agents.get(agent)
        return None if found is None or found.disabled is not None else found

    def groups_of(self, key: str) -> tuple[str, ...]:
        """Return the groups of a user; none of one that is not known."""
        user = self.users.get(key)
        return () if user is None else user.groups

    def refuses(self, user: str, agent: str) -> bool:
        """Tell whether a user or an agent is switched off; one that is not known is not."""
        found, with_it = self.users.get(user), self.agents.get(agent)
        return (found is not None and found.disabled is not None) or (
            with_it is not None and with_it.disabled is not None
        )

    def owner_is_off(self, tunnel: Tunnel) -> bool:
        """Tell whether the user who answers for a tunnel is disabled."""
        owner = self.users.get(tunnel.owner)
        return owner is not None and owner.disabled is not None

    def admins(self) -> list[User]:
        """Return the users who may do everything and are not disabled."""
        return [
            user for user in self.users.values() if Role.ADMIN in user.roles and not user.disabled
        ]


def may_open(user: User, tunnel: Tunnel, upstream: str) -> bool:
    """Tell whether a user may open a session for a server; what is not written down is denied.

    Owners may use what is theirs.
    """
    if user.disabled is not None:
        return False
    if tunnel.owner == user.key:
        return True
    return any(server_matches(pattern, tunnel.name, upstream) for pattern in user.servers)


def server_matches(pattern: str, tunnel: str, upstream: str) -> bool:
    """Tell whether `tunnel/upstream`, `tunnel/*` or `*` names a server."""
    return pattern in ("*", f"{tunnel}/*", f"{tunnel}/{upstream}")
