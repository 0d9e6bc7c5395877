"""What a relay knows for its security report, in one answer; shows no secret."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import anyio.lowlevel
import anyio.to_thread

from shared.policy.classes import ToolClass
from shared.policy.model import Subject
from shared.policy.permissions import ANY, Tool
from shared.version import VERSION
from tunnel_relay.admin import locks
from tunnel_relay.admin.core import in_slices
from tunnel_relay.admin.policy import PolicyCommands
from tunnel_relay.admin.views import (
    admin_token_view,
    instance_view,
    links_by_tunnel,
    tunnel_view,
    user_view,
)
from tunnel_relay.approvals.decide import state_of
from tunnel_relay.errors import RelayError
from tunnel_relay.report.matrix import outlook_of
from tunnel_relay.report.own import file_facts, settings_facts
from tunnel_relay.report.rules import rules_of
from tunnel_relay.store.base import Session, User

MOST = 500
"""Rows of one kind in the answer: what more there is, `left_out` counts."""
MOST_TOOLS = 5000
MOST_NAMED = 200
"""Tools of one server that a row of the map looks at one by one: what calls are judged by remembers
what it was asked, and is to remember calls."""
LONGEST = 5
"""Living sessions that are shown one by one: those that go on for longest."""

Facts = dict[str, Any]


class ReportCommands(PolicyCommands):
    """See `tunnel_relay.report`; this gathers what only the running relay knows."""

    async def report(self) -> Facts:
        """Return everything that the report of this relay is made of."""
        left_out: Counter[str] = Counter()

        def some(kind: str, rows: Iterable[Any], most: int = MOST) -> list[Any]:
            every = list(rows)
            left_out[kind] += max(0, len(every) - most)
            return every[:most]

        links = self.links.links()
        servers = [each async for each in self._servers()]
        tools = [tool for each in servers for tool in each["named"]]
        sessions, opened = await self._sessions_now()
        users = sorted(self.directory.users.values(), key=lambda each: each.key)
        return {
            "relay": await self._relay(),
            "settings": settings_facts(self.settings),
            "files": await anyio.to_thread.run_sync(file_facts, self.settings),
            "audit": self._audit(),
            "tunnels": some("tunnels", [each async for each in self._tunnels(links)]),
            "servers": some("servers", [each["facts"] for each in servers]),
            "tools": some("tools", tools, MOST_TOOLS),
            "users": some("users", (self._person(each) for each in users)),
            "agents": len(self.directory.agents),
            "locks": some("locks", locks.listed(self)),
            "tokens": some(
                "tokens", map(admin_token_view, self.admin_tokens.working(self.clock()))
            ),
            "sessions": sessions,
            "approvals": self._approvals(),
            "policy": self._policy(),
            "map": some("map", [each async for each in self._map(users, tools, opened)]),
            "left_out": dict(+left_out),
        }

    async def _relay(self) -> Facts:
        now = self.clock()
        return {
            "version": VERSION,
            "serving": self.serving,
            "made": now,
            "uptime": now - self.started if self.serving else None,
            "public_url": list(self.settings.public_url),
            "unstored": len(self.pending),
            "store": self.lease.facts(),
        }

    def _audit(self) -> Facts:
        log = self.records.log
        if log is None:
            return {"on": False, "failing": None, "records": 0}
        return {"on": True, "failing": log.failing, "records": log.size}

    async def _tunnels(self, links: list[Facts]) -> Any:
        by_tunnel = links_by_tunnel(links)
        for name, tunnel in sorted(self.tunnels.items()):
            owner = self.directory.users.get(tunnel.owner)
            known = "unknown" if owner is None else "disabled" if owner.disabled else "active"
            instances = await self.store.instances(name)
            mine = by_tunnel.get(name, [])
            shown = [instance_view(each, mine) for each in instances]
            cloned = name in self._admissions.cloned
            view = {**tunnel_view(tunnel, mine), "cloned": cloned}
            yield {**view, "owner_is": known, "instances": shown}

    async def _servers(self) -> Any:
        for each in self.tools.all():
            named = [
                {key: row[key] for key in ("server", "tool", "class", "state", "agreed")}
                for row in (tool.row() for tool in each.tools)
            ]
            classes = {kind.value: len(names) for kind, names in each.by_class().items() if names}
            yield {"facts": {**each.facts(), "classes": classes}, "named": named}
            await anyio.lowlevel.checkpoint()

    def _person(self, user: User) -> Facts:
        shown = user_view(user)
        return {**shown, "passkeys": len(self.passkeys.listed(user.key))}

    async def _sessions_now(self) -> tuple[Facts, dict[tuple[str, str], set[str]]]:
        """Return the numbers, and which agents have a living session of a user at a server."""
        now = self.clock()
        ended: Counter[str] = Counter()
        living: list[Session] = []
        async for ids in in_slices(self.sessions.newest_first()):
            for session, over in self.sessions.look(ids, now):
                if over is None:
                    living.append(session)
                else:
                    ended[over.value] += 1
        opened: dict[tuple[str, str], set[str]] = {}
        for session in living:
            opened.setdefault((session.user, session.place), set()).add(session.agent)
        living.sort(key=lambda each: -each.expires)
        at = Counter(each.place for each in living)
        numbers = {
            "live": len(living),
            "ended": dict(sorted(ended.items())),
            "servers": dict(at.most_common(MOST)),
            "never_idle": sum(each.idle >= each.expires - each.created for each in living),
            "unnarrowed": sum(not each.classes for each in living),
            # As they are now: what `look` gives is what was stored last.
            "longest": [self.view(self.sessions.get(each.id) or each) for each in living[:LONGEST]],
        }
        return numbers, opened

    def _approvals(self) -> Facts:
        now = self.approvals.now()
        every = list(self.approvals.requests)
        states = Counter(state_of(each, now).value for each in every)
        signed = sum(bool(each.keys) for each in every)
        return {"states": dict(sorted(states.items())), "by_keys": signed, "all": len(every)}

    def _policy(self) -> Facts:
        try:
            policy = self.held_policy().policy
        except RelayError:
            return {**self.policy_facts(), "rules": [], "environment": None}
        shown = {"rules": rules_of(policy), "environment": policy.environment}
        return {**self.policy_facts(), **shown}

    async def _map(
        self, users: list[User], tools: list[Facts], opened: dict[tuple[str, str], set[str]]
    ) -> Any:
        try:
            policy = self.held_policy().policy
        except RelayError:
            return
        pinned = [_tool(each) for each in tools if each["state"] == "pinned"]
        made = 0
        for user in users:
            if user.disabled is not None:
                continue
            servers = {*self._servers_of(user), *(at for who, at in opened if who == user.key)}
            for server in sorted(servers):
                here = [each for each in pinned if each[0] == server][:MOST_NAMED]
                for agent in sorted(opened.get((user.key, server), ())) or [ANY]:
                    subject = Subject(user.key, frozenset(user.groups), agent)
                    who = {"user": user.key, "groups": list(user.groups), "agent": agent}
                    row = {**who, "server": server, "live": agent != ANY}
                    made += 1
                    yield {**row, **outlook_of(policy, subject, server, here)}
                    if made > MOST:  # one more than is shown tells that there are more
                        return
                    await anyio.lowlevel.checkpoint()


def _tool(row: Facts) -> Tool:
    kind = row["class"]
    return row["server"], row["tool"], None if kind is None else ToolClass(kind)
