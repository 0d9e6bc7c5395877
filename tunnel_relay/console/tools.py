"""Pages of tools: what clients say of a server's tools, one server at a time."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from tunnel_relay.approvals import shown
from tunnel_relay.console.paging import PAGE
from tunnel_relay.console.visit import Visit
from tunnel_relay.render_tools import next_step
from tunnel_relay.tools import STATES

INLINE = 8 * 1024
"""Characters of a definition that is laid out within the list; a longer one has its own page."""


async def tools(visit: Visit) -> Response:
    """List the tools of one server; a search that htmx makes gets only the rows."""
    server = _server(visit)
    query, state = visit.query("query"), visit.query("state") or "all"
    number = _number(visit.query("page"))
    asked: dict[str, Any] = {"server": server, "query": query, "state": state}
    asked |= {"limit": PAGE, "definitions": True}
    found = await visit.run("tool_list", **asked, start=(number - 1) * PAGE)
    pages = max(1, -(-found["total"] // PAGE))
    if number > pages:
        number = pages
        found = await visit.run("tool_list", **asked, start=(number - 1) * PAGE)
    wanted = {"query": query, "state": state}
    here = f"/tunnels/{server.replace('/', '/tools/')}"
    show, template = (
        (visit.piece, "_found_tools.html") if visit.by_htmx else (visit.show, "tools.html")
    )
    return show(
        template,
        server=server,
        here=here,
        tools=[_laid_out(each) for each in found["tools"]],
        total=found["total"],
        facts=found["servers"][0],
        wanted=wanted,
        states=STATES,
        number=number,
        pages=pages,
        before=_page(here, wanted, number - 1) if number > 1 else None,
        after=_page(here, wanted, number + 1) if found["next"] else None,
    )


async def tool(visit: Visit) -> Response:
    """Show one tool with every definition; its name may hold anything, so it is no path."""
    server = _server(visit)
    found = await visit.run("tool_show", server=server, tool=visit.query("name"))
    return visit.show(
        "tool.html",
        tool=_laid_out(found, whole=True),
        here=f"/tunnels/{server.replace('/', '/tools/')}",
        next_step=next_step(found),
    )


def _server(visit: Visit) -> str:
    path = visit.request.path_params
    return f"{path['name']}/{path['upstream']}"


def _number(text: str) -> int:
    right = text.isascii() and text.isdigit() and len(text) < 6
    return max(1, int(text)) if right else 1


def _page(here: str, wanted: dict[str, str], number: int) -> str:
    return f"{here}?{urlencode({**wanted, 'page': number})}"


def _laid_out(row: dict[str, Any], whole: bool = False) -> dict[str, Any]:
    texts = []
    for each in row["definitions"]:
        text = each["text"]
        laid_out = None
        if whole or len(text) <= INLINE:
            laid_out = {"lines": shown.lines(text), "facts": shown.facts(text)}
        hidden = sum(map(shown.is_hidden, text))
        texts.append({**each, "laid_out": laid_out, "hidden": hidden})
    odd = any(map(shown.is_hidden, row["tool"] + row["title"]))
    return {
        **row,
        "definitions": texts,
        "query": urlencode({"name": row["tool"]}),
        "hidden": odd or any(each["hidden"] for each in texts),
    }
