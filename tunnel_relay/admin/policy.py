"""Commands about policy: what a user could do, by the rules and the tools that are known now."""

from typing import Any

import anyio.lowlevel

from shared.policy.keeping import PolicyFile
from shared.policy.model import Subject
from shared.policy.permissions import Row, Tool, permission_map
from shared.wire.tools import PinState
from tunnel_relay.admin.checks import MAX_TEXT, check_text, check_user
from tunnel_relay.admin.tools import ToolCommands
from tunnel_relay.directory import may_open
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.policy.load import load_policy
from tunnel_relay.settings import POLICY_FILE
from tunnel_relay.store.base import Session, User
from tunnel_relay.tools import Server, matches

MAX_ROWS = 500
"""Tools of one map, which costs a look at every rule for each."""
MAX_KNOWN = 20_000


class PolicyCommands(ToolCommands):
    """See `shared.policy.permissions`; these ask it about the users of this relay."""

    def held_policy(self) -> PolicyFile:
        """Return the policy in force; of a relay that does not serve, what its file says.

        Raises RelayError in the latter case.
        """
        if self.policy is not None:
            return self.policy
        return load_policy(self.settings.policy or self.settings.state_dir / POLICY_FILE)

    def policy_facts(self) -> dict[str, Any]:
        """Return which policy holds, and what is wrong with its file, as JSON values."""
        try:
            held = self.held_policy()
        except RelayError as error:
            return {"digest": None, "rules": 0, "problem": f"{error.code}: {error.message}"}
        return {
            "digest": held.policy.digest,
            "rules": len(held.policy.rules),
            "problem": held.problem,
        }

    async def policy_known(self, user: str) -> dict[str, Any]:
        """Return what a map of permissions is made of: the user's groups, servers and the tools.

        Of a user nobody knows: no groups, and every server that a client offers now.
        """
        found = self.directory.users.get(check_user(user, "the user"))
        servers = self._servers_of(found)
        tools: list[tuple[str, str, str | None]] = []
        for each in self.tools.all():
            if each.name in servers:
                tools += _callable(each)
            await anyio.lowlevel.checkpoint()
        return {
            "known": found is not None,
            "groups": [] if found is None else list(found.groups),
            "servers": servers,
            "tools": tools[:MAX_KNOWN],
        }

    async def policy_map(
        self,
        user: str,
        agent: str,
        server: str | None = None,
        query: str = "",
        limit: int = 50,
        start: int = 0,
    ) -> dict[str, Any]:
        """Return what a user could do at one server with an agent: policy and sessions together.

        `tools` in the order of names from the one numbered `start`, then `classes` for tools that
        no rule names, and `methods`. In each `open`: a session that lives opens it too.
        """
        if not 0 < limit <= MAX_ROWS or start < 0 or len(query) > MAX_TEXT:
            raise RelayError(
                Code.BAD_REQUEST,
                f"limit is 1 to {MAX_ROWS}, start at least 0, query at most {MAX_TEXT} characters",
            )
        found, agent = self._known_user(user), check_text(agent, "the agent")
        servers = self._servers_of(found)
        chosen = self.known_server(server) if server is not None else next(iter(servers), None)
        answer: dict[str, Any] = {"user": found.key, "agent": agent, "groups": list(found.groups)}
        answer |= {"servers": servers, "server": chosen, "policy": self.policy_facts()}
        if chosen is None:
            nothing: dict[str, Any] = {"tools": [], "classes": [], "methods": [], "sessions": []}
            return answer | nothing | {"total": 0, "clients": 0, "allowed": False}
        book = self.tools.server(chosen)
        wanted = query.strip().lower()
        kept = {tool.name for tool in book.tools if matches(tool, wanted)}
        tools = [each for each in _callable(book) if each[1] in kept]
        sessions = self._sessions_for(found, agent, chosen)
        live = [each for each in sessions if self.sessions.state(each.id, self.clock()) is None]
        page = tools[start : start + limit]
        subject = Subject(found.key, frozenset(found.groups), agent)
        rows = permission_map(self.held_policy().policy, subject, page, [chosen])
        named, others = rows[: len(page)], rows[len(page) :]
        return answer | {
            "tools": [_with_sessions(row, live) for row in named],
            "total": len(tools),
            "clients": book.clients,
            "allowed": may_use(found, self, chosen),
            "classes": [_with_sessions(row, live) for row in others if row.tool_class],
            "methods": [
                row.as_data() | {"open": bool(live)} for row in others if not row.tool_class
            ],
            "sessions": [self.view(each) for each in sessions],
        }

    def _known_user(self, user: str) -> User:
        key = check_user(user, "the user")
        found = self.directory.users.get(key)
        if found is None:
            raise RelayError(Code.USER_UNKNOWN, f"no user is known as {key!r}")
        return found

    def _servers_of(self, user: User | None) -> list[str]:
        """Return the servers there are now that a user may use, and those named in their rights."""
        names = self.tools.names()
        if user is None:
            return names
        named = {each for each in user.servers if "*" not in each}
        return sorted({*(name for name in names if may_use(user, self, name)), *named})

    def _sessions_for(self, user: User, agent: str, server: str) -> list[Session]:
        live = self.sessions.of_user(user.key, self.clock())
        return [each for each in live if (each.agent, each.place) == (agent, server)]


def may_use(user: User, admin: ToolCommands, server: str) -> bool:
    """Tell whether a user may open a session for a server."""
    tunnel, _, upstream = server.partition("/")
    found = admin.tunnels.get(tunnel)
    return found is not None and may_open(user, found, upstream)


def _callable(server: Server) -> list[Tool]:
    """Return what agents can call at a server; of clients that differ in a class, each."""
    return [
        (server.name, tool.name, kind)
        for tool in server.tools
        for kind in sorted(
            {word.kind for _, word in tool.said if word.state is PinState.PINNED}, key=str
        )
    ]


def _with_sessions(row: Row, sessions: list[Session]) -> dict[str, Any]:
    opens = any(not each.classes or row.tool_class in each.classes for each in sessions)
    return row.as_data() | {"open": opens}
