"""Pages of tools: what clients say of a server's tools, one server at a time."""

from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from tunnel_relay.approvals import shown
from tunnel_relay.console.paging import PAGE, number_of
from tunnel_relay.console.texts import cut_out
from tunnel_relay.console.visit import Visit
from tunnel_relay.render_tools import next_step
from tunnel_relay.tools import STATES

INLINE = 8 * 1024
"""Characters of a definition that is laid out within the list; a longer one has its own page."""
MAX_LINES = 10_000
"""Lines of all definitions within the list; those after them are on their own pages."""


async def tools(visit: Visit) -> Response:
    """List the tools of one server; a search that htmx makes gets only the rows."""
    server = _server(visit)
    query, state = visit.query("query"), visit.query("state") or "all"
    number = number_of(visit.query("page"))
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
        (visit.piece_much, "_found_tools.html")
        if visit.by_htmx
        else (visit.show_much, "tools.html")
    )
    return await show(
        template,
        server=server,
        here=here,
        tools=await visit.site.beside(lambda: _listed(found["tools"], here)),
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
    here = f"/tunnels/{server.replace('/', '/tools/')}"
    return await visit.show_much(
        "tool.html",
        tool=await visit.site.beside(lambda: _whole(visit, here, found)),
        here=here,
        next_step=next_step(found),
    )


def _server(visit: Visit) -> str:
    path = visit.request.path_params
    return f"{path['name']}/{path['upstream']}"


def _page(here: str, wanted: dict[str, str], number: int) -> str:
    return f"{here}?{urlencode({**wanted, 'page': number})}"


def _listed(rows: list[dict[str, Any]], here: str) -> list[dict[str, Any]]:
    """Lay out what is short, as long as all of it is not too much for one page."""
    room, listed = MAX_LINES, []
    for row in rows:
        row = _marked(row)
        for each in row["definitions"]:
            if len(each["text"]) <= INLINE:
                part = cut_out(shown.laid_out(each["text"]), 1, here, "definition")
                if part.of == 1 and part.total <= room:
                    room -= part.total
                    each["laid_out"] = part
        listed.append(row)
    return listed


def _whole(visit: Visit, here: str, row: dict[str, Any]) -> dict[str, Any]:
    row = _marked(row)
    here = f"{here}/tool?{row['query']}"
    for number, each in enumerate(row["definitions"], 1):
        name = f"definition{number}"
        asked = number_of(visit.query(name))
        each["laid_out"] = cut_out(shown.laid_out(each["text"]), asked, here, name)
    return row


def _marked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of its own that tells where characters are that nobody sees."""
    texts = [
        {**each, "laid_out": None, "hidden": shown.count_hidden(each["text"])}
        for each in row["definitions"]
    ]
    return {
        **row,
        "definitions": texts,
        "query": urlencode({"name": row["tool"]}),
        "hidden": shown.count_hidden(row["tool"] + row["title"])
        or any(each["hidden"] for each in texts),
    }
