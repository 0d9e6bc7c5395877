"""Tells the relay what the operator decided about tools, whenever that or the link is new."""

from collections.abc import Sequence

import anyio
import structlog

from shared.errors import TooBigError
from shared.wire.tools import PinState, ToolWord
from tunnel_client.catalog.catalog import Catalog, State, ToolState
from tunnel_client.catalog.definitions import Kind
from tunnel_client.client import Client
from tunnel_client.client_link import ClientLink

log = structlog.get_logger("tunnel_client.telling")

LOOK_SECONDS = 1.0
_STATES = {
    State.PINNED: PinState.PINNED,
    State.GONE: PinState.PINNED,
    State.NEW: PinState.NEW,
    State.CHANGED: PinState.CHANGED,
    State.CREDENTIAL: PinState.CHANGED,
}


class Teller:
    """Sends TOOLS for every upstream when a link comes up and when the catalogue moved."""

    def __init__(self, client: Client, catalog: Catalog, upstreams: Sequence[str]) -> None:
        self._client = client
        self._catalog = catalog
        self._upstreams = upstreams
        self._told: dict[ClientLink, int] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            self.look()
            await anyio.sleep(LOOK_SECONDS)

    def look(self) -> None:
        """Tell each link what it was not told yet."""
        self._told = {link: self._told.get(link, -1) for link in self._client.links}
        for link in self._told:
            self.tell(link)

    def tell(self, link: ClientLink) -> None:
        """Tell one link what it was not told yet."""
        now = self._catalog.version
        if self._told.get(link) == now:
            return
        self._told[link] = now
        for upstream in self._upstreams:
            self._tell(link, upstream)

    def _tell(self, link: ClientLink, upstream: str) -> None:
        tools = self._catalog.snapshot(upstream)
        for definitions in (True, False):
            try:
                link.driver.tools(upstream, self._words(upstream, tools, definitions))
            except TooBigError:
                continue
            return
        log.error("too many tools to tell the relay of", upstream=upstream, tools=len(tools))

    def _words(
        self, upstream: str, tools: Sequence[ToolState], definitions: bool
    ) -> list[ToolWord]:
        return [
            ToolWord(
                tool.name,
                tool.tool_class,
                tool.sha256,
                _STATES[tool.state],
                tool.title[:256],
                self._catalog.definition(upstream, Kind.TOOL, tool.name) if definitions else "",
            )
            for tool in tools
        ]
