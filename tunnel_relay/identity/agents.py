"""Finds the agent that a client id names: registered, described by a document, or dynamic."""

import ssl
import time
from collections.abc import Callable
from typing import Any

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
from tunnel_relay.identity.pending import Held
from tunnel_relay.identity.redirects import is_redirect
from tunnel_relay.identity.requests import RequestError
from tunnel_relay.settings import OAuth
from tunnel_relay.store.base import Agent, AgentKind

DOCUMENT_SECONDS = 300.0
"""How long a fetched document is believed."""
MAX_CACHED = 1000

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
        self._trust = trust
        self._clock = clock
        self._documents: Held[Agent] = Held(MAX_CACHED)
        self._dynamic: Held[Agent] = Held(MAX_CACHED)

    async def find(self, client_id: str) -> Agent:
        """Return the agent of a client id; raises RequestError."""
        known = self._admin.directory.agents.get(client_id)
        if known is not None and known.disabled is not None:
            raise RequestError("invalid_client", "this agent is switched off")
        if is_document_url(client_id) and self._settings.metadata_documents:
            return await self._document(client_id)
        found = known or self._dynamic.get(client_id, self._clock())
        if found is None:
            raise RequestError("invalid_client", "this agent is not known here")
        return found

    async def _document(self, url: str) -> Agent:
        cached = self._documents.get(url, self._clock())
        if cached is not None:
            return cached
        try:
            document = await fetch(url, self._settings.document_hosts, self._trust())
            name, uris = read_document(url, document)
        except DocumentError as error:
            log.warning("agent_document_refused", agent=url, reason=str(error))
            raise RequestError("invalid_client", f"the agent's document: {error}") from None
        agent, _ = self._admin.new_agent(url, name, AgentKind.DOCUMENT, uris)
        self._documents.put(url, agent, self._clock() + DOCUMENT_SECONDS)
        return agent

    def register(self, wanted: dict[str, Any]) -> Agent:
        """Register an agent that described itself (RFC 7591); raises RequestError."""
        uris = wanted.get("redirect_uris")
        if (
            not isinstance(uris, list)
            or not 0 < len(uris) <= MAX_REDIRECTS
            or not all(isinstance(uri, str) and is_redirect(uri) for uri in uris)
        ):
            raise RequestError("invalid_redirect_uri", "https, http on loopback, or an own scheme")
        if wanted.get("token_endpoint_auth_method", "none") != "none":
            raise RequestError("invalid_client_metadata", "only public clients are registered")
        name = wanted.get("client_name", "an agent without a name")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= 200 or not name.isprintable():
            raise RequestError("invalid_client_metadata", "client_name is unusable")
        agent, _ = self._admin.new_agent(f"dyn-{new_id()}", name, AgentKind.DYNAMIC, uris)
        # In memory until somebody consents: strangers fill no table.
        self._dynamic.put(agent.id, agent, self._clock() + 86400.0)
        log.info("agent_registered_itself", agent=agent.id)
        return agent

    async def keep(self, agent: Agent) -> None:
        """Store an agent that a user consented to; raises StoreError."""
        before = self._admin.directory.agents.get(agent.id)
        if before is None or before.redirect_uris != agent.redirect_uris:
            await self._admin.put_agent(agent)
