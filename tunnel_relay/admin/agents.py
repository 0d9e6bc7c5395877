"""The commands on agents: the OAuth clients this relay knows."""

import re
from dataclasses import replace
from typing import Any

import structlog

from shared.ids import AGENT_SECRET_PREFIX, new_token, token_digest
from tunnel_relay.admin.acting import actor
from tunnel_relay.admin.changes import DisableAgent
from tunnel_relay.admin.checks import check_text
from tunnel_relay.admin.core import AdminCore
from tunnel_relay.admin.views import agent_view
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.identity.redirects import is_redirect
from tunnel_relay.store.base import Agent, AgentKind

MAX_REDIRECTS = 10
_AGENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

log = structlog.get_logger("tunnel_relay.admin")


class AgentCommands(AdminCore):
    """See `tunnel_relay.admin.service.Admin`."""

    async def agent_add(
        self, agent: str, redirect_uris: list[str], name: str | None = None, secret: bool = False
    ) -> dict[str, Any]:
        """Register an agent; with `secret` the answer holds the only copy of its client secret."""
        if not _AGENT.fullmatch(agent):
            raise RelayError(Code.BAD_NAME, "an agent is called by letters, digits, '.', '_', '-'")
        if agent in self.directory.agents:
            raise RelayError(Code.AGENT_EXISTS, f"{agent} is known already")
        if not 0 < len(redirect_uris) <= MAX_REDIRECTS or not all(map(is_redirect, redirect_uris)):
            raise RelayError(
                Code.BAD_REQUEST,
                "a redirect URI is https, http on loopback, or of the agent's own scheme",
            )
        made, shown = self.new_agent(agent, name or agent, AgentKind.REGISTERED, redirect_uris)
        text = new_token(AGENT_SECRET_PREFIX) if secret else None
        if text is not None:
            made = replace(made, secret=token_digest(text))
        await self.put_agent(made)
        return {"agent": shown, "secret": text}

    def new_agent(
        self, agent: str, name: str, kind: AgentKind, redirect_uris: list[str]
    ) -> tuple[Agent, dict[str, Any]]:
        """Return an agent, not yet stored, and how it is shown."""
        made = Agent(agent, check_text(name, "the name"), kind, tuple(redirect_uris), self.clock())
        return made, agent_view(made)

    async def put_agent(self, agent: Agent) -> None:
        """Store an agent and know it from now on."""
        while True:
            before = self.directory.agents.get(agent.id)
            await self.store.put_agent(agent)
            now = self.directory.agents.get(agent.id)
            if now is before or now is None:
                break
            agent = replace(agent, disabled=now.disabled)  # switched off while we stored
        self.directory.agents[agent.id] = agent
        log.info("agent_added", agent=agent.id, kind=agent.kind.value, by=actor())

    async def agent_list(self) -> list[dict[str, Any]]:
        """Return all agents by identifier."""
        return [agent_view(agent) for _, agent in sorted(self.directory.agents.items())]

    async def agent_disable(
        self, agent: str, reason: str = "disabled by an admin"
    ) -> dict[str, Any]:
        """Refuse an agent from now on and end its sessions."""
        reason, found = check_text(reason, "the reason"), self._agent(agent)
        at = self.clock()
        off = self.directory.agents[agent] = replace(found, disabled=at)
        ending = [
            each for each in self.sessions.each() if each.agent == agent and each.revoked is None
        ]
        report = await self.end_sessions(ending, reason, DisableAgent(agent, at))
        log.info("agent_disabled", agent=agent, by=actor(), **report)
        return {"agent": agent_view(off), **report}

    async def agent_enable(self, agent: str) -> dict[str, Any]:
        """Let a disabled agent in again, unless it is disabled meanwhile; its sessions ended."""
        before = self._agent(agent)
        async with self.pending.lifting(f"agent {agent}"):
            await self.store.put_agent(replace(before, disabled=None))
        if self.directory.agents[agent] is before:
            self.directory.agents[agent] = replace(before, disabled=None)
            log.info("agent_enabled", agent=agent, by=actor())
        return {"agent": agent_view(self.directory.agents[agent])}

    def _agent(self, agent: str) -> Agent:
        try:
            return self.directory.agents[agent]
        except KeyError:
            raise RelayError(Code.AGENT_UNKNOWN, "no agent has this identifier") from None
