"""Commands about tools: what connected clients say of them. Only to look at."""

from typing import Any

import anyio.lowlevel

from tunnel_relay.admin.checks import MAX_TEXT, split_server
from tunnel_relay.admin.core import AdminCore
from tunnel_relay.errors import Code, RelayError
from tunnel_relay.tools import STATES, Server, Tool, matches

MAX_PAGE = 1000
MAX_WITH_DEFINITIONS = 100
"""Tools at a time when their definitions come along."""


class ToolCommands(AdminCore):
    """See `tunnel_relay.tools`; these are its commands."""

    async def tool_list(
        self,
        server: str | None = None,
        query: str = "",
        state: str = "all",
        limit: int = 100,
        start: int = 0,
        definitions: bool = False,
    ) -> dict[str, Any]:
        """Return tools by server and name, from the one numbered `start`, and `next` to go on.

        Of one server, or of all that a client offers now. `query` is found in name or title, or is
        a class or the start of a digest. `servers` counts what each has, whatever is asked for.
        """
        most = MAX_WITH_DEFINITIONS if definitions else MAX_PAGE
        if state not in STATES or not 0 < limit <= most or start < 0 or len(query) > MAX_TEXT:
            raise RelayError(
                Code.BAD_REQUEST,
                f"limit is 1 to {most}, start at least 0, query at most {MAX_TEXT} characters, "
                f"state one of {', '.join(STATES)}",
            )
        servers, found, wanted = [], [], query.strip().lower()
        one = None if server is None else self.tools.server(self.known_server(server))
        for each in self.tools.all() if one is None else [one]:
            servers.append(each.facts())
            found += [tool for tool in each.tools if tool.is_in(state) and matches(tool, wanted)]
            await anyio.lowlevel.checkpoint()
        rows = [_row(tool, definitions) for tool in found[start : start + limit]]
        more = start + limit if start + limit < len(found) else None
        return {"tools": rows, "total": len(found), "next": more, "servers": servers}

    async def tool_show(self, server: str, tool: str) -> dict[str, Any]:
        """Return one tool with every definition that a client told."""
        found = self.tools.server(self.known_server(server))
        for each in found.tools:
            if each.name == tool:
                return _row(each, definitions=True)
        raise RelayError(Code.TOOL_UNKNOWN, _nobody(found))

    def known_server(self, server: str) -> str:
        """Return a server of a tunnel there is, be a client connected or not; raises RelayError."""
        tunnel, _ = split_server(server)
        self.tunnel(tunnel)
        return server

    async def tool_counts(self) -> dict[str, dict[str, int]]:
        """Return for each tunnel how many tools of each state its clients told of."""
        counts: dict[str, dict[str, int]] = {}
        for each in self.tools.all():
            facts = each.facts()
            mine = counts.setdefault(each.name.partition("/")[0], dict.fromkeys(STATES[1:], 0))
            for state in mine:
                mine[state] += facts[state]
            await anyio.lowlevel.checkpoint()
        return counts


def _nobody(server: Server) -> str:
    if not server.clients:
        return f"no client that offers {server.name} is connected"
    return f"no client of {server.name} tells of such a tool"


def _row(tool: Tool, definitions: bool) -> dict[str, Any]:
    return tool.row() | ({"definitions": tool.definitions()} if definitions else {})
