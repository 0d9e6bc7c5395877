"""Finds the agent that a client id names: registered, described by a document, or dynamic.

A stranger may name any URL here, so fetching is bounded: few at a time, few for each address, and
a failure is remembered for a while.
"""

import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import structlog

from shared.ids import new_id
from tunnel_relay.admin.service import Admin
from tunnel_relay.identity.documents import (
    MAX_REDIRECTS,
    DocumentError,
    fetch,
    is_document_url,
    read_document,
)
from tunnel_relay.identity.pending import Held, Kept
from tunnel_relay.identity.redirects import is_redirect
from tunnel_relay.identity.requests import RequestError
from tunnel_relay.quotas import Waiting
from tunnel_relay.ratelimit import RateLimit, address_key
from tunnel_relay.settings import OAuth
from tunnel_relay.store.base import Agent, AgentKind

DOCUMENT_SECONDS = 300.0
"""How long a fetched document is believed."""
FAILURE_SECONDS = 30.0
"""How long one that could not be fetched is not tried again."""
DYNAMIC_SECONDS = 86400.0
"""How long an agent that registered itself may wait for a first consent."""
MAX_DYNAMIC = 5000
DYNAMIC_OF_ONE = 50
"""Of these, the most that come from one address. Those that somebody consented to count no more."""
MAX_CACHED = 1000
FETCHES = 4
"""Documents fetched at a time."""
WAITING_FETCHES = 16
"""Requests that wait for a document; more are turned away."""
WAITING_OF_ADDRESS = FETCHES // 2
"""The same from one address: hosts that are slow on purpose must not hold up everybody else."""
PER_ADDRESS = 20 / 60, 20

log = structlog.get_logger("tunnel_relay.oauth")


class AgentFinder:
    """Knows agents that nobody has consented to yet, too; those are kept in memory alone."""

    def __init__(
        self,
        admin: Admin,
        settings: OAuth,
        trust: Callable[[], ssl.SSLContext] = ssl.create_default_context,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admin = admin
        self._settings = settings
        self._make_trust = trust
        self._trust: ssl.SSLContext | None = None
        self._clock = clock
        self._private_hosts = tuple(host.lower() for host in settings.document_hosts)
        self._documents: Held[Agent] = Held(MAX_CACHED)
        self._failures: Held[str] = Held(MAX_CACHED)
        self._dynamic: Kept[Agent] = Kept(DYNAMIC_SECONDS, MAX_DYNAMIC, DYNAMIC_OF_ONE)
        self._by_address = RateLimit(*PER_ADDRESS)
        self._fetches = anyio.CapacityLimiter(FETCHES)
        self._waiting = Waiting(WAITING_FETCHES, WAITING_OF_ADDRESS)

    def known(self, client_id: str) -> Agent:
        """Return an agent that somebody consented to, or an admin added; raises RequestError."""
        found = self._admin.directory.active_agent(client_id)
        if found is None or not self._taken(found):
            raise RequestError("invalid_client", "this agent is not known here")
        return found

    async def find(self, client_id: str, address: str) -> Agent:
        """Return the agent of a client id that was sent from an address; raises RequestError."""
        known = self._admin.directory.agents.get(client_id)
        if known is not None and (known.disabled is not None or not self._taken(known)):
            raise RequestError("invalid_client", "this agent is switched off")
        if self._settings.metadata_documents and is_document_url(client_id):
            return await self._document(client_id, address)
        found = known or self._dynamic.get(client_id, self._clock())
        if found is None:
            raise RequestError("invalid_client", "this agent is not known here")
        return found

    def _taken(self, agent: Agent) -> bool:
        return agent.kind is not AgentKind.DOCUMENT or self._settings.metadata_documents

    async def _document(self, url: str, address: str) -> Agent:
        remembered = self._remembered(url)
        if remembered is not None:
            return remembered
        peer = address_key(address)
        wait = self._by_address.take(peer, self._clock())
        if wait or not self._waiting.begin(peer):
            raise RequestError("slow_down", "too many agents at once; try again soon", wait or 1.0)
        try:
            async with self._fetches:
                return self._remembered(url) or await self._fetched(url)
        except DocumentError as error:
            log.warning("agent_document_refused", agent=url, reason=error.reason)
            self._failures.put(url, str(error), self._clock() + FAILURE_SECONDS)
            raise RequestError("invalid_client", f"the agent's document: {error}") from None
        finally:
            self._waiting.end(peer)

    def _remembered(self, url: str) -> Agent | None:
        now = self._clock()
        failure = self._failures.get(url, now)
        if failure is not None:
            raise RequestError("invalid_client", f"the agent's document: {failure}")
        return self._documents.get(url, now)

    async def _fetched(self, url: str) -> Agent:
        if self._trust is None:
            # Reading all the authorities there are takes tens of milliseconds.
            self._trust = await anyio.to_thread.run_sync(self._make_trust)
        name, uris = read_document(url, await fetch(url, self._private_hosts, self._trust))
        agent, _ = self._admin.new_agent(url, name, AgentKind.DOCUMENT, uris)
        self._documents.put(url, agent, self._clock() + DOCUMENT_SECONDS)
        return agent

    def register(self, wanted: dict[str, Any], address: str) -> Agent:
        """Register an agent that described itself (RFC 7591) at an address; raises RequestError.

        What it says of its secret is not looked at: every such agent is a public client.
        """
        uris = wanted.get("redirect_uris")
        if (
            not isinstance(uris, list)
            or not 0 < len(uris) <= MAX_REDIRECTS
            or not all(isinstance(uri, str) and is_redirect(uri) for uri in uris)
        ):
            raise RequestError("invalid_redirect_uri", "https, http on loopback, or an own scheme")
        grants = wanted.get("grant_types", ["authorization_code"])
        if not isinstance(grants, list) or "authorization_code" not in grants:
            raise RequestError("invalid_client_metadata", "agents here use authorization_code")
        name = wanted.get("client_name", "an agent without a name")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= 200 or not name.isprintable():
            raise RequestError("invalid_client_metadata", "client_name is unusable")
        agent, _ = self._admin.new_agent(f"dyn-{new_id()}", name, AgentKind.DYNAMIC, uris)
        # In memory until somebody consents: strangers fill no table.
        wait = self._dynamic.put(agent.id, agent, address_key(address), self._clock())
        if wait:
            text = "too many agents that nobody has consented to yet"
            raise RequestError("slow_down", text, wait)
        log.info("agent_registered_itself", agent=agent.id)
        return agent

    async def keep(self, agent: Agent) -> None:
        """Store an agent that a user consented to; raises StoreError."""
        before = self._admin.directory.agents.get(agent.id)
        if before is None:
            await self._admin.put_agent(agent)
            self._dynamic.drop(agent.id)
        elif (before.name, before.redirect_uris) != (agent.name, agent.redirect_uris):
            # What an admin decided about it stays.
            changed = replace(before, name=agent.name, redirect_uris=agent.redirect_uris)
            await self._admin.put_agent(changed)
